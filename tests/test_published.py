"""Does `--published` print the published run, digit for digit?

The tutorial's figures are float32 numbers. They were printed years ago, by another
PyTorch on another machine, so the last of their digits may differ: 1e-5, relative.
"""

import re
import shutil

import pytest
from conftest import NAMES, QUICK, environment


def printed_losses(text):
    """The loss lines of a lesson: ``{epoch: loss}``."""
    lines = re.findall(r"^epoch +(\d+)  loss (\S+)$", text, re.MULTILINE)
    return {int(epoch): float(loss) for epoch, loss in lines}


@pytest.mark.parametrize(
    "name",
    [
        "linear_regression_case1",
        "linear_regression_case3",
        "logistic_regression_case1",
    ],
)
def test_losses(lesson, capsys, published, name):
    lesson(name, "--published")
    losses = printed_losses(capsys.readouterr().out)
    expected = {int(k): v for k, v in published[name]["loss_by_epoch"].items()}
    assert expected.keys() <= losses.keys()
    assert {epoch: losses[epoch] for epoch in expected} == pytest.approx(
        expected, rel=1e-5
    )


def test_prediction_of_linear_regression_case1(lesson, capsys):
    lesson("linear_regression_case1", "--published")
    assert "prediction for 4: 7.690391 " in capsys.readouterr().out


def test_predictions_of_logistic_regression_case1(lesson, capsys, published):
    lesson("logistic_regression_case1", "--published")
    out = capsys.readouterr().out
    for x, expected in published["logistic_regression_case1"]["predictions"].items():
        printed = float(re.search(rf"P\(y = 1 \| x = {x}\) = (\S+)", out)[1])
        assert printed == pytest.approx(expected, abs=1e-9)


def test_fixed_data_of_linear_regression_case3(lesson, published):
    seen = lesson("linear_regression_case3", "--epochs", 1)
    for name, key in (("x", "inputs"), ("y", "targets")):
        expected = published["linear_regression_case3"][key]
        assert seen[name].flatten().tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        "linear_regression_case1",
        "linear_regression_case2",
        "linear_regression_case3",
        "logistic_regression_case1",
        "logistic_regression_case2",
    ],
)
def test_same_seed_same_run(lesson, capsys, name):
    runs = []
    for seed in (0, 0, 1):
        losses = lesson(name, "--epochs", 20, "--seed", seed)["losses"]
        runs.append((losses, capsys.readouterr().out))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize(
    "name", [n for n in NAMES if n != "faster_training"]
)  # draws times
def test_same_seed_same_files(lesson, output, name):
    contents = []
    for _ in range(2):
        lesson(name, *QUICK[name])
        contents.append({path: path.read_bytes() for path in output.iterdir()})
        shutil.rmtree(output)
    assert contents[0]
    assert contents[0] == contents[1]


@pytest.mark.parametrize(
    ("name", "argv"),
    [
        ("linear_regression_case3", ["--epochs", 400]),
        ("logistic_regression_case2", ["--epochs", 400]),
        ("logistic_regression_case3", ["--epochs", 20, "--sample"]),
    ],
)
def test_two_threads_agree_with_one(run, name, argv):
    """In another process, with another number of threads: to 1e-4."""
    figures = []
    for threads in "12":
        done = run(name, *argv, env=environment(OMP_NUM_THREADS=threads))
        stdout = re.sub(r"  \d+\.\d\d s$", "", done.stdout, flags=re.MULTILINE)  # times
        figures.append([float(x) for x in re.findall(r"-?\d+\.\d+", stdout)])
    assert len(figures[0]) > 10
    assert figures[1] == pytest.approx(figures[0], rel=1e-4, abs=1e-4)
