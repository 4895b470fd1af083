"""Which files of `examples/` are lessons, in what order, and which their modules."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"

# examples/README.md has a row per lesson, in reading order: its file, what it shows.
_ROW = re.compile(r"^\| \[.+?\]\((\w+)\.py\) \| (.+) \|$", re.MULTILINE)
ABOUT = dict(_ROW.findall((EXAMPLES / "README.md").read_text(encoding="utf-8")))
LESSONS = [EXAMPLES / f"{name}.py" for name in ABOUT]
MODULES = sorted(set(EXAMPLES.glob("*.py")) - set(LESSONS))
