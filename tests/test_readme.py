"""Is the README true? Its commands run, its numbers come out of runs."""

import re
import shlex
import shutil

import pytest

from conftest import NAMES, ROOT, script
from lessons import ABOUT

README = (ROOT / "README.md").read_text("utf-8")
ROWS = dict(
    re.findall(r"^\| .*\(examples/(\w+)\.py\) \| (.+) \|$", README, re.MULTILINE)
)


def results(name):
    """The decimal numbers in the last column of a lesson's row."""
    return re.findall(r"\d+\.\d+", ROWS[name].split(" | ")[1])


# Where a lesson prints (or, after #, writes) the numbers of its row, in their order.
NUMBERS = r"""
linear_regression_case1: prediction for 4: (.+) \(
linear_regression_case2: learned: +weight (.+), bias .+, loss (.+)
linear_regression_case2: scikit-learn: weight (.+), bias .+, loss (.+)
linear_regression_case3: learned: +loss (.+),
linear_regression_case3: scikit-learn: loss (.+),
linear_regression_case3: loss (.+), best
logistic_regression_case1: penalty: weight (.+),
logistic_regression_case1: scikit-learn: weight (.+),
logistic_regression_case2: loss (.+), baseline (.+)
logistic_regression_case2: scikit-learn's .* loss (.+)
use_saved_model: trousers.png: Dress (.+?),
use_saved_model: black between .* (.+)
classification: accuracy on .* (.+), best possible (.+)
classification: one layer: accuracy (.+),
data_loading: losses from files: .*, (.+)]
data_loading: losses from memory: .*, (.+)]
activation_functions: none .*sigmoid (.+?),
activation_functions: 1/4 times 1/4 is (.+)
overfitting: expected error .* epoch (.+)
overfitting: stopped in .* error (.+)
overfitting: expected error +lowest (.+?),
model_selection: chosen model: (.+), interval (.+) to (.+)
model_selection: scikit-learn: (.+?),
model_selection: baseline: (.+?),
logistic_regression_case3: test loss .* accuracy (.+)
logistic_regression_case3: # accuracy of (.+?);
convolution: chosen: convolution, .* accuracy (.+)
convolution: # .* a hidden layer with 100 units (.+?),
convolution: # and of the best method, .*, (.+)\.
error_messages: RuntimeError: expected (?:.*\n)+? +mended: (.+), must be (.+)
not_learning: softmax .* ten (.+?) new
not_learning: # .* fall below log.* = (.+)\.
not_learning: healthy .* ten (.+?) new
distributed_logistic_regression: epoch   10 .* accuracy (.+)
distributed_logistic_regression: one process: accuracy (.+?),
published_runs: prediction for 4: (.+) (.+)
"""
NUMBERED = [name for name in NAMES if f"\n{name}: " in NUMBERS]
ARGV = {"published_runs": ["--sample"]}
SLOW = [f"logistic_regression_case{case}" for case in (2, 3)]
SLOW += ["convolution", "distributed_logistic_regression"]


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in NUMBERED]
)
def test_results(lesson, name):
    """As printed; on another machine the last digit may differ by one."""
    text = lesson(name, *ARGV.get(name, [])).out + script(name).read_text("utf-8")
    expected = []
    for pattern in re.findall(f"^{name}: (.+)", NUMBERS, re.M):
        expected += re.search(f"^{pattern}", text, re.M).groups()
    for shown, number in zip(results(name), expected, strict=True):
        digits = len(shown.partition(".")[2])
        assert float(shown) == pytest.approx(float(number), abs=1.5 * 10**-digits)


def test_speed_is_that_of_the_benchmarks():
    text = (ROOT / "benchmarks/README.md").read_text("utf-8")
    (factor,) = re.findall(r"\d+", ROWS["faster_training"])  # rounded
    row = re.search(r"^\| metrics at the end \| [\d.]+ \| ([\d.]+) \|", text, re.M)
    assert float(row[1]) == pytest.approx(float(factor), rel=0.3)


def test_the_table_is_that_of_the_examples():
    assert list(ROWS) == NAMES
    assert {name: row.split(" | ")[0] for name, row in ROWS.items()} == ABOUT


@pytest.mark.parametrize("path", ["README.md", "examples/README.md", "data/README.md"])
def test_links_lead_to_files(path):
    text = (ROOT / path).read_text("utf-8")
    links = re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", text)
    files = {a or b for a, b in links if not (a or b).startswith("https://")}
    folder = (ROOT / path).parent
    assert [file for file in files if not (folder / file).is_file()] == []


@pytest.mark.parametrize(
    "command",
    sorted(set(re.findall(r"^python (examples/.+)$", README, re.MULTILINE))),
)
def test_commands(lesson, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "data/diabetes.csv", tmp_path / "table.csv")
    shutil.copy(ROOT / "data/images/tshirt.png", tmp_path / "shirt.jpg")
    name, *argv = shlex.split(command, comments=True)
    argv += ["--epochs", 2] * ("--data" in argv)  # a minute otherwise
    lesson(name.removeprefix("examples/").removesuffix(".py"), *argv)
