"""Make the notebook and the zip file of a lesson: both run alone in an empty folder."""

import base64
import json
import re
import textwrap
import zipfile
import zlib

from sphinx.locale import _
from sphinx_gallery.gen_gallery import DEFAULT_GALLERY_CONF
from sphinx_gallery.notebook import add_code_cell, jupyter_notebook
from sphinx_gallery.py_source_parser import split_code_and_text_blocks

from lessons import EXAMPLES, MODULES, PROGRAMS, ROOT
from translate import load_catalogue

KINDS = {".csv", ".json", ".png", ".pth"}
DATA = sorted(path for path in ROOT.glob("data/**/*") if path.suffix in KINDS)
LITERAL = re.compile(r"^(?!\.\. )(?P<before>.*)::\n\n(?P<code>(?: +.*\n?|\n)+)", re.M)
TITLE = '# @title {} {{ display-mode: "form" }}\n'
MODULE_CELL = """\
from pathlib import Path

FILES = {}  # written beside the notebook, unless they are there
"""
WRITE_MODULES = """\
for name, text in FILES.items():
    if not Path(name).exists():
        Path(name).write_text(text + "\\n", encoding="utf-8")
    elif Path(name).read_text(encoding="utf-8") != text + "\\n":
        print(name, "is another one here; if an import fails, use an empty folder")
"""
DATA_CELL = """\
import base64
import zlib
from pathlib import Path

DATA = {}
"""
WRITE_DATA = """\
for name, text in DATA.items():
    if not Path(name).exists():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(zlib.decompress(base64.b64decode(text)))
"""


def modules_of(lesson):
    """Return the modules that a lesson and they import, and the programs it prints."""
    found, todo = {EXAMPLES / "lessons.mplstyle", *PROGRAMS[lesson.stem]}, [lesson]
    while todo:
        text = todo.pop().read_text("utf-8")
        names = re.findall(r"^(?:from|import) (\w+)", text, re.M)
        new = {path for path in MODULES if path.stem in names} - found
        found |= new
        todo += new
    return sorted(found)


def data_of(lesson):
    """Return the small files in data/ that a lesson names, by constant or file name."""
    text = lesson.read_text("utf-8")
    return [p for p in DATA if p.stem.upper() in text or f'"{p.name}"' in text]


def notebook(lesson):
    """Return the notebook of a lesson, as JSON."""
    blocks = split_code_and_text_blocks(str(lesson))[1]
    for i, block in enumerate(blocks):
        if block.type == "text":
            blocks[i] = block._replace(content=to_markdown(block.content))
    content = jupyter_notebook(blocks, DEFAULT_GALLERY_CONF, EXAMPLES)
    brought = [module_cell(modules_of(lesson))]
    if data := data_of(lesson):
        brought.append(data_cell(data))
    for place, source in enumerate(brought, 1):  # after the title
        add_code_cell(content, source)
        cell = content["cells"].pop()
        cell["metadata"] = {"cellView": "form", "jupyter": {"source_hidden": True}}
        content["cells"].insert(place, cell)
    return json.dumps(content, indent=1, ensure_ascii=False)


def to_markdown(text):
    """Write in Markdown what Sphinx-Gallery leaves: guesses, code, answers in folds."""
    text = re.sub(r"^\.\. interactive::.*\n*", "", text, flags=re.M)
    text = re.sub(r"^\.\. guess::\s+", f"**{_('Guess first')}:** ", text, flags=re.M)
    title, line, answers = (*text.split("\n", 2), "", "")[:3]
    if title in ("Answers", load_catalogue()["Answers"]):
        before, *answers = re.split(r"^\d+\. ", answers, flags=re.M)
        text = f"{title}\n{line}\n{before}"
        for i, answer in enumerate(answers, 1):
            body = textwrap.dedent(f"   {answer}").strip()
            summary = f"<summary>{_('Answer %d') % i}</summary>"
            text += f"\n<details>{summary}\n\n{body}\n\n</details>\n"
    return re.sub(LITERAL, as_fence, text)


def as_fence(block):
    code = textwrap.dedent(block["code"]).strip("\n")
    before = re.sub(r"(?<=\S)$", ":", block["before"]).rstrip()  # "text ::" has none
    return f"{before}\n\n```\n{code}\n```\n\n".lstrip("\n")


def module_cell(paths):
    """Return the source of a cell that writes these modules, in plain text."""
    source = (
        TITLE.format("Run this cell first: the modules that this lesson imports")
        + MODULE_CELL
    )
    for path in paths:
        source += f"FILES[{path.name!r}] = r'''{path.read_text('utf-8').rstrip()}'''\n"
    return source + WRITE_MODULES


def data_cell(paths):
    """Return the source of a cell that writes these files, packed."""
    source = TITLE.format("Run next: the data that it reads") + DATA_CELL
    for path in paths:
        packed = base64.encodebytes(zlib.compress(path.read_bytes(), 9)).decode()
        source += f'DATA["{path.relative_to(ROOT).as_posix()}"] = """\n{packed}"""\n'
    return source + WRITE_DATA


def save_downloads(lesson, folder):
    """Write script, notebook and zip file of a lesson into ``folder``."""
    text, content = lesson.read_text("utf-8"), notebook(lesson)
    (folder / lesson.name).write_text(text, "utf-8")
    (folder / f"{lesson.stem}.ipynb").write_text(content, "utf-8")
    with zipfile.ZipFile(
        folder / f"{lesson.stem}.zip", "w", zipfile.ZIP_DEFLATED
    ) as archive:
        archive.writestr(f"{lesson.stem}.py", text)
        archive.writestr(f"{lesson.stem}.ipynb", content)
        archive.write(ROOT / "requirements.txt", "requirements.txt")
        for path in modules_of(lesson):
            archive.write(path, path.name)
        for path in [*data_of(lesson), *sample_of(lesson)]:
            archive.write(path, path.relative_to(ROOT))


def sample_of(lesson):
    """Return the sample of Fashion-MNIST, for a lesson that may read it."""
    reads = "load_fashion_mnist(" in lesson.read_text("utf-8")
    return sorted(ROOT.glob("data/*_sample/*.gz")) if reads else []
