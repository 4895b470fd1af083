import re
import shlex
import shutil
from types import SimpleNamespace

import pytest

from conftest import ROOT
from lessons import ROWS

README = (ROOT / "README.md").read_text("utf-8")
TEXTS = [README, (ROOT / "examples/README.md").read_text("utf-8")]
TEACHING = " ".join((ROOT / "docs/teaching.rst").read_text("utf-8").split())


def printed(seen, start, first, end):
    (line,) = re.findall(rf"^{start}.*", seen.out, re.M)
    return [float(text) for text in re.findall(r"\d\.\d+", line)[first:end]]


NUMBERS = {  # of a row, in their order
    "linear_regression_case1": lambda v: [v.weight * 4 + v.bias],
    "linear_regression_case2": lambda v: [v.weight, v.final_loss, v.w, v.best_loss],
    "linear_regression_case3": lambda v: [v.loss, v.best_loss, v.raw_losses[-1]],
    "logistic_regression_case1": lambda v: (
        printed(v, "penal", 0, 1) + printed(v, "sci", 0, 1)
    ),
    "logistic_regression_case2": lambda v: (
        printed(v, "loss", 0, 2) + printed(v, "sci", 0, 1)
    ),
    "use_saved_model": lambda v: [
        v.probability[3, 0].item(),
        *printed(v, "black between", 0, 1),
    ],
    "classification": lambda v: [
        *(v.accuracy, v.best_accuracy),
        *printed(v, "one layer", 0, 1),
    ],
    "data_loading": lambda v: [losses[-1] for losses in v.losses.values()],
    "activation_functions": lambda v: [v.shares["sigmoid"], 1 / 16],
    "overfitting": lambda v: [v.errors[-1], v.expected_error(v.stopped), min(v.errors)],
    "model_selection": lambda v: (
        printed(v, "chosen m", 0, 3) + printed(v, "sci", 0, 1) + printed(v, "bas", 0, 1)
    ),
    "logistic_regression_case3": lambda v: [v.test_accuracy, 0.844],
    "convolution": lambda v: [v.test_accuracy, 0.871, 0.897],
    "error_messages": lambda v: (
        [v.loss_fn(v.model(v.x), v.floats.long()).item(), v.loss.item()]
    ),
    "not_learning": lambda v: [
        *(*printed(v, "softmax  ", 1, 2), 1.461),
        *printed(v, "healthy  ", 1, 2),
    ],
    "distributed_logistic_regression": lambda v: [
        v.history[-1][2],
        v.single_history[-1][2],
    ],
    "published_runs": lambda v: [v.prediction, v.prediction_2018],
}
ARGV = {"published_runs": ["--sample"]}
SLOW = [f"logistic_regression_case{case}" for case in (2, 3)]
SLOW += ["convolution", "distributed_logistic_regression"]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in NUMBERS]
)
def test_results(lesson, name):
    """As printed; on another machine the last digit may differ by one."""
    run = lesson(name, *ARGV.get(name, []))
    expected = NUMBERS[name](SimpleNamespace(**run.vars | {"out": run.out}))
    shown = re.findall(r"\d+\.\d+", ROWS[name].result)
    for text, number in zip(shown, expected, strict=True):
        digits = len(text.partition(".")[2])
        assert float(text) == pytest.approx(float(number), abs=1.5 * 10**-digits)


def test_minutes_of_paths():
    """Two hours, without two tasks of each lesson, of five minutes; ninety minutes."""
    text = (ROOT / "docs/index.rst").read_text("utf-8").partition("Two hours")[2]
    path = re.findall(":doc:`(.+?)`", text.partition("- **")[0])
    assert 100 <= sum(int(ROWS[name].minutes) - 10 for name in path) <= 120
    sessions = re.split(r"Session \d:", TEACHING.partition(" To go on")[0])[1:]
    for session in sessions:
        steps = re.findall(r"- (\d+) min(?:, :doc:`(\w+)`)?", session)
        assert sum(int(minutes) for minutes, _ in steps) == 90
        for minutes, name in steps:
            assert int(minutes) >= int(ROWS[name].minutes if name else 0)
    assert len(sessions) == 4


@pytest.mark.parametrize("path", ["README.md", "examples/README.md", "data/README.md"])
def test_links_lead_to_files(path):
    text = (ROOT / path).read_text("utf-8")
    links = re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", text)
    files = {a or b for a, b in links if not (a or b).startswith("https://")}
    folder = (ROOT / path).parent
    assert [file for file in files if not (folder / file).is_file()] == []


COMMANDS = set(re.findall("^python (examples/.+)", "\n".join(TEXTS), re.M))
SHOWN = set(re.findall(r"``python (examples/[^ `]+ [^`]+)``", TEACHING)) - COMMANDS
SLOWER = [pytest.param(command, marks=pytest.mark.slow) for command in sorted(SHOWN)]


@pytest.mark.parametrize("command", [*sorted(COMMANDS), *SLOWER])
def test_commands(lesson, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "data/diabetes.csv", tmp_path / "table.csv")
    shutil.copy(ROOT / "data/images/tshirt.png", tmp_path / "shirt.jpg")
    name, *argv = shlex.split(command, comments=True)
    argv += ["--epochs", 2] * ("--data" in argv)  # a minute otherwise
    lesson(name.removeprefix("examples/").removesuffix(".py"), *argv)


def test_one_version():
    paths = ("pyproject.toml", "CITATION.cff", "CHANGELOG.md")
    version = r'^(?:version(?: =|:) "|## )(\d[\d.]*)'
    found = [re.search(version, (ROOT / p).read_text("utf-8"), re.M)[1] for p in paths]
    assert len(set(found)) == 1
