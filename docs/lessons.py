"""What the lessons are, and what their scripts say: all that needs no library."""

import csv
import re
import textwrap
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"


class Row(NamedTuple):
    """A row of README.md, which has one per lesson, in reading order."""

    part: str
    label: str  # the lesson's name in prose
    name: str  # of its file
    about: str  # what you can do afterwards
    result: str
    minutes: str
    builds_on: str  # labels, with commas between


_ROW = re.compile(
    r"\| <img .+> \[(.+)\]\(examples/(\w+)\.py\)"
    r" \| (.+) \| (.+) \| (\d+) \| (.*?) ?\|$"
)
ROWS, _part = {}, ""
for _line in (ROOT / "README.md").read_text("utf-8").splitlines():
    if _title := re.match(r"\| \*\*(.+)\*\* \|", _line):
        _part = _title[1]
    elif _row := _ROW.match(_line):
        ROWS[_row[2]] = Row(_part, *_row.groups())
LESSONS = [EXAMPLES / f"{name}.py" for name in ROWS]
# Programs that a lesson prints, and that a reader may copy: LESSON_*.py.
PROGRAMS = {name: [*EXAMPLES.glob(f"{name}_*.py")] for name in ROWS}
MODULES = sorted({*EXAMPLES.glob("*.py")} - {*LESSONS}.union(*PROGRAMS.values()))


class Cell(NamedTuple):
    """A cell of a lesson: the title above it, its prose in reST, its code."""

    section: str
    prose: str
    code: str


def cells(lesson):
    """Return the cells of a script, the first of which is its docstring."""
    found, section = [], ""
    first, *rest = re.split(r"^# %%\n", lesson.read_text("utf-8"), flags=re.M)
    blocks = [(first.split('"""')[1], "")]
    for text in rest:
        prose = re.match(r"(?:#.*\n)*", text)[0]
        blocks.append((re.sub(r"^# ?", "", prose, flags=re.M), text[len(prose) :]))
    for prose, code in blocks:
        if title := re.match(r"\s*(.+)\n([=-])\2+\n", prose):
            section, prose = title[1], prose[title.end() :]
        found.append(Cell(section, prose.strip("\n"), code))
    return found


def section(lesson, title):
    """Return the prose of a section, or "" if the lesson has none with that title."""
    return "\n\n".join(c.prose for c in cells(lesson) if c.section == title)


def paragraphs(prose):
    """Return paragraphs and list items, each on a line; no code, no formula."""
    found, skip = [], False
    for chunk in re.split(r"\n\s*\n", prose):
        if chunk.startswith(".. "):
            skip = not chunk.startswith(".. guess::")
        elif not (skip and chunk.startswith(" ")):
            skip = chunk.endswith("::")
            items = re.split(r"^(?:\d+\.|-) ", textwrap.dedent(chunk), flags=re.M)
            found += [" ".join(item.split()) for item in items if item.strip()]
    return found


def count_minutes(lesson):
    """Return how long a lesson takes, tasks included."""
    read = [cell for cell in cells(lesson) if cell.section != "Answers"]
    words = sum(len(cell.prose.split()) for cell in read)
    lines = sum(len(re.findall(r"^.*\S", cell.code, re.M)) for cell in read)
    tasks = len(re.findall(r"^\d+\. ", section(lesson, "Try it"), re.M))
    return round(words / 150 + lines / 12 + tasks * 5)


def in_short(lesson):
    """Return the list under "In short", as it is in the script."""
    return section(lesson, "In short").partition("\n\nNext: ")[0]


with open(ROOT / "docs/locale/zh_CN/glossary.csv", encoding="utf-8") as _file:
    GLOSSARY = {row["English"]: row["Chinese"] for row in csv.DictReader(_file)}


def mentions(term):
    """Return a pattern of a term of the glossary, and of the words made from it."""
    stem = re.sub("[ey]$", "", term)
    return rf"(?<![\w-])(?:{term}(?:s|es|d|ed|ting|ing)?|{stem}(?:ies|ing))(?![\w-])"


def introduced(term):
    """Return the pattern of a term in italics, as where it is introduced."""
    return rf"(?<!\*)\*{mentions(term)}\*(?!\*)"


def introductions():
    """Return ``{term: (lesson, paragraph, sentence)}``, where it is in italics."""
    found = {}
    for lesson in LESSONS:
        for paragraph in paragraphs("\n\n".join(c.prose for c in cells(lesson))):
            for sentence in re.split(r"(?<=[.?!]) (?=[^a-z])", paragraph):
                for term in GLOSSARY.keys() - found.keys():
                    if re.search(introduced(term), sentence, re.I):
                        found[term] = lesson.stem, paragraph, sentence
    return found
