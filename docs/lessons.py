"""Which files of `examples/` are lessons, in what order, and which their modules."""

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Lessons are read in this order of their first words, and then by name.
ORDER = ["linear", "logistic", "classification", "activation", "faster", "distributed"]


def place(name):
    """Return the sort key of the lesson with that file name."""
    return ORDER.index(name.removesuffix(".py").partition("_")[0]), name


SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
MODULES = [path for path in SCRIPTS if "\n# %%\n" not in path.read_text()]
LESSONS = sorted(set(SCRIPTS) - set(MODULES), key=lambda path: place(path.name))
