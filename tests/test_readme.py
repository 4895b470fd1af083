"""Is the README true? Its commands are run, its table is held against a run."""

import re
import shlex

import pytest
import torch
from conftest import LESSONS, QUICK, ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = sorted(
    {
        line.partition(" #")[0].strip()
        for block in re.findall(r"```bash\n(.*?)```", README, re.DOTALL)
        for line in block.splitlines()
        if line.startswith("python examples/")
    }
)


def mean(values):
    return sum(values) / len(values)


FULL_DATA = "logistic_regression_case3"
# The figures in the cells "ours" and "held against" of each row, from a run.
RUNS = {
    "linear_regression_case1": (
        ["--published"],
        lambda seen: ([seen["prediction"]], [8]),
    ),
    "linear_regression_case2": (
        [],
        lambda seen: ([seen["final_loss"]], [seen["best_loss"]]),
    ),
    "linear_regression_case3": (
        ["--published"],
        lambda seen: ([seen["losses"][-1]], [seen["best_loss"].item()]),
    ),
    "logistic_regression_case1": (
        ["--published"],
        lambda seen: ([seen["low"].item(), seen["high"].item()], [0, 1]),
    ),
    "logistic_regression_case2": (
        [],
        lambda seen: [
            [mean(seen["test_losses"][name]), mean(seen["accuracies"][name])]
            for name in ("deep, tanh, Adam, decay", "scikit-learn")
        ],
    ),
    FULL_DATA: (  # the best takes minutes: see benchmarks/peers.py
        [],
        lambda seen: ([seen["history"][i][3] for i in (0, 2, 99)], []),
    ),
    "classification": (
        [],
        lambda seen: ([seen["scores"]["learned", "fresh"][1]], [seen["best_accuracy"]]),
    ),
    "activation_functions": (
        ["--epochs", "1"],
        lambda seen: ([seen["derivative"](torch.sigmoid, torch.zeros(1))], [0.25]),
    ),
    "distributed_logistic_regression": (
        [],
        lambda seen: ([seen["history"][-1][3]], [seen["single_history"][-1][3]]),
    ),
}


def table():
    """The rows of the table of lessons: ``{script: [cell, ...]}``."""
    rows = re.findall(r"^\| .*\(examples/(\w+)\.py\) (\|.*)\|$", README, re.MULTILINE)
    return {name: [cell.strip() for cell in row.split("|")[1:]] for name, row in rows}


def numbers(cell):
    return [float(text) for text in re.findall(r"\d+(?:\.\d+)?", cell)]


def test_the_table_has_every_lesson():
    assert list(table()) == [path.stem for path in LESSONS]  # in reading order


def test_every_link_leads_to_a_file():
    links = re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", README)
    files = {a or b for a, b in links if not (a or b).startswith("https://")}
    assert len(files) > 10
    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * ("--sample" in QUICK[name]))
        for name in RUNS
    ],
)
def test_table(lesson, name):
    """Each figure as printed; its last digit may differ by one on another machine."""
    argv, figures = RUNS[name]
    ours, best = table()[name][-2:]
    for cell, expected in zip((ours, best), figures(lesson(name, *argv)), strict=True):
        shown = re.findall(r"\d+(?:\.\d+)?", cell)[: len(expected)]
        for text, figure in zip(shown, expected, strict=True):
            digits = len(text.partition(".")[2])
            assert float(text) == pytest.approx(figure, abs=1.5 * 10**-digits)


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        ("linear_regression_case1", lambda run: [run["predictions"]["4.0"], 4]),
        ("linear_regression_case3", lambda run: [run["loss_by_epoch"]["2000"]]),
        (
            "logistic_regression_case1",
            lambda run: [n for x, p in run["predictions"].items() for n in (p, x)],
        ),
        (
            "logistic_regression_case2",
            lambda run: [
                run["loss_by_epoch"]["1950"],
                run["prediction_after_training"],
            ],
        ),
    ],
)
def test_published_column(published, name, figures):
    shown = re.findall(r"\d+(?:\.\d+)?", table()[name][1])
    for text, figure in zip(shown, figures(published[name]), strict=True):
        digits = len(text.partition(".")[2])
        assert float(text) == round(float(figure), digits)


def test_speed():
    """What it says of time, and the best accuracy, come from the benchmarks' tables."""
    text = (ROOT / "benchmarks/README.md").read_text(encoding="utf-8")
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.partition("## Beside its peers")[2].splitlines()
        if line.startswith("| ")
    ]
    seconds = {
        row[0]: float(row[1]) for row in rows if len(row) == 6 and row[5][:1] == "0"
    }
    published = seconds["published loop, one thread"]
    lesson = seconds["our lesson, `logistic_regression_case3.py`"]
    top = seconds.pop("our fastest rung, `pixels as bytes`")
    shown = re.findall(r"(\S+) times(?: faster than|, ahead)", " ".join(README.split()))
    assert shown == [f"{published / other:.1f}" for other in (lesson, top)]
    assert top < min(seconds.values())
    (best,) = [row[2] for row in rows if "tol=1e-6" in row[0]]
    assert table()[FULL_DATA][-1].startswith(f"{float(best):.3f}, scikit-learn")
    script = (ROOT / f"examples/{FULL_DATA}.py").read_text(encoding="utf-8")
    (told,) = re.findall(r"(\S+)\)}  scikit-learn", script)
    assert float(told) == pytest.approx(float(best), abs=5e-4)

    startup = re.findall(r"^\| `\w+` \| \S+ \| \S+ \| (\S+) \|$", text, re.MULTILINE)
    (limit,) = re.findall(r"at most (\S+) times a process", " ".join(README.split()))
    assert len(startup) == 3
    assert max(map(float, startup)) <= float(limit)


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(run, command):
    _, script, *argv = shlex.split(command)
    done = run(script.removeprefix("examples/").removesuffix(".py"), *argv)
    assert (done.returncode, done.stderr) == (0, "")


def test_ci_runs_the_make_commands():
    script = (ROOT / ".ci/run").read_text(encoding="utf-8")
    for command in ("make run", "make test"):
        assert f"\n{command}" in README
        assert f"\n{command}" in script
