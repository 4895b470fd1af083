import re
from collections import Counter

import pytest

from conftest import NAMES, ROOT

pytest.importorskip("polib", reason="`make install-docs` installs it")
import polib
from sphinx_gallery.py_source_parser import split_code_and_text_blocks

from alternatives import TEXTS
from figures import WORDS
from lessons import GLOSSARY, LESSONS, ROWS
from translate import CATALOGUE, extract_messages, translate_script

ENTRIES = polib.pofile(str(CATALOGUE))
LONG = [e.msgid for e in ENTRIES if " " in e.msgid and e.msgid != e.msgstr]
TRANSLATED = [entry for entry in ENTRIES if entry.msgstr]
# What must be the same on both sides: literals, roles, maths, references.
TOKEN = re.compile(r"``.+?``|:[\w:]+:`.+?`|(?<![:`\w])`[^`]+`_*(?!`)")
LINK_TEXT = re.compile(r"`[^`<]+ (<[^`]+>`)")  # the words of a link are translated
HAN = "\u4e00-\u9fff"


def test_every_message_is_translated():
    """If this fails: CONTRIBUTING.md, "Chinese"."""
    wanted = [entry.msgid for entry in extract_messages()]
    assert wanted == [entry.msgid for entry in TRANSLATED]
    assert ENTRIES.obsolete_entries() == ENTRIES.fuzzy_entries() == []


def test_code_maths_and_figures_are_the_same():
    for entry in TRANSLATED:
        english, chinese = (
            set(re.findall(r"\d+\.\d+", text)) for text in (entry.msgid, entry.msgstr)
        )
        assert english == chinese, entry.msgid
        english, chinese = (
            Counter(TOKEN.findall(LINK_TEXT.sub(r"`\1", text)))
            for text in (entry.msgid, entry.msgstr)
        )
        assert english == chinese, entry.msgid
        assert re.search(f"[{HAN}]", entry.msgstr) or entry.msgstr == entry.msgid
        assert entry.msgid.endswith("::") == entry.msgstr.endswith("\uff1a ::")


def test_characters():
    """Full width beside Han characters, which have no italics for emphasis."""
    narrow = rf"[{HAN}\0] ?[,;:?!](?!\w|:)|[{HAN}\0]\.(?!\w)|[{HAN}”][(\"]|[)\"][{HAN}]"
    for entry in TRANSLATED:
        text = TOKEN.sub("\0", entry.msgstr)
        assert re.search(rf"[{HAN}\0]|\\", text), text  # or a formula alone
        assert not re.search(rf"[{HAN}]\0|\0[{HAN}\uff08]", text), text
        assert not re.search(narrow, text, re.ASCII), text
        assert not re.search(rf"\*[^*]*[{HAN}][^*]*\*", text), text


def test_glossary():
    assert len(GLOSSARY) == len(set(GLOSSARY.values())) > 40
    used = set()
    for entry in TRANSLATED:
        text = TOKEN.sub("", entry.msgid)
        for english, chinese in GLOSSARY.items():
            if re.search(rf"\b{english}(s|es|d)?\b", text, re.IGNORECASE):
                assert chinese in entry.msgstr, (english, entry.msgid)
                used.add(english)
    assert used == set(GLOSSARY)


def test_words_of_the_pages():
    """Those that stand in Python and templates: sphinx.po has them all."""
    words = {row.label for row in ROWS.values()}
    for texts in [*WORDS.values(), TEXTS]:
        words |= set(texts.values())
    for path in [*ROOT.glob("docs/_templates/**/*.html"), *ROOT.glob("docs/*.py")]:
        words |= set(re.findall(r'\b_\("(.+?)"\)', path.read_text("utf-8")))
    done = polib.pofile(str(CATALOGUE.with_name("sphinx.po")))
    assert words - {entry.msgid for entry in done.translated_entries()} == set()


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)
def test_code_cells_are_equal(tmp_path, lesson):
    english, chinese = (
        split_code_and_text_blocks(str(path))[1]
        for path in (lesson, translate_script(lesson, tmp_path))
    )
    assert [block.type for block in english] == [block.type for block in chinese]
    for ours, theirs in zip(english, chinese, strict=True):
        text = " ".join(theirs.content.split())
        if ours.type == "code":
            assert ours.content.strip("\n") == theirs.content.strip("\n")
        else:
            assert re.search(f"[{HAN}]", text)
            assert [m for m in LONG if m in text] == []


def test_readme():
    texts = [(ROOT / f"README{tag}.md").read_text("utf-8") for tag in ("", ".zh-CN")]
    for pattern in (
        r"^(?:make|python|pip|source|torchrun) [^#\n]*",
        r"\d+(?:\.\d+)?",
        r"\]\(([^)#]+)\)|src=\"([^\"]+)\"",
    ):
        english, chinese = (Counter(re.findall(pattern, t, re.M)) for t in texts)
        if "src" in pattern:  # and each leads to the other
            del english["README.zh-CN.md", ""], chinese["README.md", ""]
        assert english == chinese
    assert "(README.zh-CN.md)" in "".join(texts[0].splitlines()[:3])
    assert "(README.md)" in "".join(texts[1].splitlines()[:3])
