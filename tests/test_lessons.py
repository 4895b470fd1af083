import re

import pytest

from conftest import NAMES, ROOT
from lessons import (
    GLOSSARY,
    LESSONS,
    ROWS,
    cells,
    count_minutes,
    in_short,
    introduced,
    introductions,
    mentions,
    paragraphs,
)


def test_builds_on_earlier_lessons():
    table, earlier = (ROOT / "README.md").read_text("utf-8"), {""}
    assert len(ROWS) == table.count("\n| <img")
    for row in ROWS.values():
        assert set(row.builds_on.split(", ")) <= earlier
        earlier.add(row.label)


@pytest.mark.parametrize("lesson", LESSONS, ids=NAMES)
def test_minutes(lesson):
    minutes = int(ROWS[lesson.stem].minutes)
    assert minutes == pytest.approx(count_minutes(lesson), rel=0.2)
    bullets = re.split(r"^- |\n\n", in_short(lesson), flags=re.M)
    assert len(bullets) in (1, 4)  # three, or no list
    text = lesson.read_text("utf-8")  # whose headings each begin a cell
    assert re.findall(r"(.*)\n# .+\n# --", text) == text.count("\n# --") * ["# %%"]


def test_terms_are_introduced_before_they_are_used():
    """In the prose after Setup; literals, formulas and names of lessons apart."""
    found = paragraphs("Text, and code::\n\n    x\n\n- One,\n  longer.")
    assert found == ["Text, and code::", "One, longer."]
    apart = "|".join(["`.+?`", *(row.label for row in ROWS.values())])
    known, early = set(), {}
    for lesson in LESSONS:
        title = cells(lesson)[0].section
        for cell in cells(lesson):
            for text in paragraphs(cell.prose):
                text = re.sub(apart, "", text.replace("``", "`"), flags=re.I)
                for term in GLOSSARY.keys() - known:
                    first = re.search(introduced(term), text, re.I)
                    use = re.search(mentions(term), text, re.I)
                    before = use and not (first and first.start() < use.start())
                    if before and cell.section not in (title, "Setup"):
                        early.setdefault(term, f"{lesson.stem}: {text}")
                    known |= {term} if first else set()
    assert known == introductions().keys() == GLOSSARY.keys()
    assert early == {}
