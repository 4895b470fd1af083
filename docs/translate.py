"""The Chinese edition: the prose of a lesson from the catalogue, its code as it is.

``make translations`` runs this file: it brings the catalogue in step with the English
pages, and lists what is to be translated.
"""

import difflib
import functools
import re
import subprocess
import sys
import tempfile
import textwrap
from itertools import pairwise
from pathlib import Path

import polib
from sphinx.search.en import SearchEnglish
from sphinx_gallery.py_source_parser import split_code_and_text_blocks

DOCS = Path(__file__).resolve().parent
CATALOGUE = DOCS / "locale/zh_CN/LC_MESSAGES/lessons.po"


@functools.cache
def load_catalogue():
    """Return the translations: ``{English message: Chinese one}``."""
    return {entry.msgid: entry.msgstr for entry in polib.pofile(str(CATALOGUE))}


def translate_script(lesson, folder):
    """Write a lesson with its prose in Chinese into ``folder``; return its path."""
    catalogue, cells = load_catalogue(), []
    for i, block in enumerate(split_code_and_text_blocks(str(lesson))[1]):
        if block.type == "code":
            cells.append(block.content.strip("\n"))
        elif i == 0:
            cells.append(f'r"""\n{translate_prose(block.content, catalogue)}\n"""')
        else:
            lines = ["%%", *translate_prose(block.content, catalogue).split("\n")]
            cells.append("\n".join(f"# {line}".rstrip() for line in lines))
    path = folder / lesson.name
    path.write_text("\n\n".join(cells) + "\n", "utf-8")
    return path


def translate_prose(text, catalogue):
    """Translate the titles, paragraphs and list items of a cell; directives stay."""
    done = []
    for chunk in re.split(r"\n\s*\n", text.strip("\n")):
        lines = chunk.split("\n")
        if len(lines) > 1 and re.fullmatch(r"([=-])\1+", lines[1]):
            title = _look_up(lines[0], catalogue)
            line = lines[1][0] * 2 * len(title)  # a Han character takes two columns
            done.append(f"{title}\n{line}")
            lines = lines[2:]
            if lines:
                done[-1] += "\n" + _translate_chunk(lines, catalogue)
        else:
            done.append(_translate_chunk(lines, catalogue))
    return "\n\n".join(done)


def _translate_chunk(lines, catalogue):
    """Translate a paragraph, or a list whose items follow each other."""
    if lines[0].startswith(".. "):
        return "\n".join(lines)
    if indent := re.match(" *", lines[0])[0]:  # code is not in the catalogue
        lines = textwrap.dedent("\n".join(lines)).split("\n")
        return textwrap.indent(_translate_chunk(lines, catalogue), indent)
    items = re.split(r"\n(?=(?:\d+\.|-) )", "\n".join(lines))
    parts = [re.fullmatch(r"((?:\d+\.|-) |)(.*)", item, re.DOTALL) for item in items]
    return "\n".join(part[1] + _look_up(part[2], catalogue) for part in parts)


def _look_up(text, catalogue):
    return catalogue.get(" ".join(text.split())) or text


class ChineseSearch(SearchEnglish):
    """Index Chinese by characters and pairs of them; English words as in English.

    Sphinx's own class loads a stemmer that does not exist (sphinx issue 14229).
    """

    lang = "zh"
    js_splitter_code = r"""
function splitQuery(query) {
  const pairs = (run) => [...run.slice(1)].map((c, i) => run[i] + c);
  return (query.match(/[\u4e00-\u9fff]+|\w+/g) || []).flatMap((run) =>
    run < "\u4e00" || run.length == 1 ? [run] : pairs(run)
  );
}
"""

    def split(self, text):
        words = re.findall(r"[a-zA-Z0-9_]+", text)
        for run in re.findall("[\u4e00-\u9fff]+", text):
            words += [*run, *map("".join, pairwise(run))]
        return words


def extract_messages():
    """Return the messages of the pages as they are now, in English; runs no lesson."""
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder, "source"), Path(folder, "out")
        source.mkdir()
        sphinx = [sys.executable, "-m", "sphinx", "-q", "-b", "gettext", "-c", DOCS]
        sphinx += ["-D", "plot_gallery=0", source, out]
        subprocess.run(sphinx, check=True, capture_output=True)
        return polib.pofile(str(out / "lessons.pot"))


def update_catalogue():
    """Add new messages, remove old ones; print what is untranslated, and was before."""
    old, catalogue = polib.pofile(str(CATALOGUE)), extract_messages()
    done = {entry.msgid: entry.msgstr for entry in old if entry.translated()}
    catalogue.metadata, catalogue.metadata_is_fuzzy = old.metadata, False
    catalogue.header = old.header
    for entry in catalogue:
        entry.msgstr = done.get(entry.msgid, "")
        if not entry.msgstr:
            print(textwrap.shorten(entry.msgid, 100))
            for before in difflib.get_close_matches(entry.msgid, done, n=1):
                print("  before:", done[before])
    catalogue.save(str(CATALOGUE))


if __name__ == "__main__":
    update_catalogue()
