"""What if the input is bad? One line that says what to do; nothing is lost."""

from common import save_state_dict

import pytest
import torch
from conftest import NAMES, QUICK

NAME = "linear_regression_case3"


def failure(done):
    """The one line that a failed run leaves."""
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith(f"{NAME}.py: error: ")
    return lines[0].partition(": error: ")[2]


NO_COUNT = "is not a whole number from 1 to 1000000000"
NO_RATE = "is not a number between 0 and 3.4e+38, like 0.01"
COMMAND_LINES = [
    (["--epochs", "0"], f"argument --epochs: '0' {NO_COUNT}"),
    (["--epochs", "-3"], f"argument --epochs: '-3' {NO_COUNT}"),
    (["--epochs", "ten"], f"argument --epochs: 'ten' {NO_COUNT}"),
    (["--epochs", "1" * 26], f"argument --epochs: '{'1' * 26}' {NO_COUNT}"),
    (["--lr", "0"], f"argument --lr: '0' {NO_RATE}"),
    (["--lr", "-1"], f"argument --lr: '-1' {NO_RATE}"),
    (["--lr", "nan"], f"argument --lr: 'nan' {NO_RATE}"),
    (["--lr", "inf"], f"argument --lr: 'inf' {NO_RATE}"),
    (["--lr", "1e300"], f"argument --lr: '1e300' {NO_RATE}"),
    (["--lr", "fast"], f"argument --lr: 'fast' {NO_RATE}"),
    (["--lr"], "argument --lr: expected one argument"),
    (["--seed", "-1"], "argument --seed: '-1' is not a whole number from 0 to"),
    (["--seed", "4294967296"], "argument --seed: '4294967296' is not a whole number"),
    (["--device", "gpu"], "argument --device: PyTorch knows no device 'gpu'"),
    (["--fast"], "unknown option '--fast'; --help lists the options"),
    (["--epoch", "3"], "unknown option '--epoch'; --help lists the options"),
    (["linear.pth"], "unknown option 'linear.pth'; --help lists the options"),
]


@pytest.mark.parametrize(("argv", "message"), COMMAND_LINES)
def test_command_line(lesson, capsys, output, argv, message):
    with pytest.raises(SystemExit) as error:
        lesson(NAME, *argv)
    assert error.value.code == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err.count("\n") == 1
    assert streams.err.startswith(f"{NAME}.py: error: {message}")
    assert not output.exists()


def test_command_line_as_a_process(run):
    done = run(NAME, "--epochs", "ten")
    assert done.returncode == 2
    assert "'ten' is not a whole number" in failure(done)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_without_cuda(run):
    done = run(NAME, "--device", "cuda")
    assert done.returncode == 2
    assert "no cuda device is available here; try auto or cpu" in failure(done)


def test_output_that_is_a_file(run, output):
    output.write_text("mine")
    done = run(NAME)
    assert done.returncode == 1
    assert f"cannot write to {output} (" in failure(done)
    assert output.read_text(encoding="utf-8") == "mine"
    assert done.stdout == ""


@pytest.mark.parametrize("case", [1, 2, 3])
def test_learning_rate_that_blows_up(lesson, capsys, output, case):
    """It stops where it happens, says what to try, and leaves older files alone."""
    output.mkdir()
    (output / "linear.pth").write_bytes(b"the model of an earlier run")
    with pytest.raises(SystemExit) as error:
        lesson(f"linear_regression_case{case}", "--lr", "1e3")
    assert "the learning rate 1000 is too large" in error.value.code
    assert error.value.code.endswith("try --lr 100")
    assert error.value.code.count("\n") == 0
    assert "nan" not in capsys.readouterr().out
    assert [path.name for path in output.iterdir()] == ["linear.pth"]
    assert (output / "linear.pth").read_bytes() == b"the model of an earlier run"


def test_learning_rate_that_blows_up_as_a_process(run):
    done = run(NAME, "--lr", "1e3")
    assert done.returncode == 1
    assert "is too large for this model and data; try --lr 100" in failure(done)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,0\n3,x,1\n", "line 2, column 2: 'x' is not a number"),
        ("1,2,0\n3,4_0,1\n", "line 2, column 2: '4_0' is not a number"),
        ('a,"b\nc",d\n1,2,0\n3,x,1\n', "line 4, column 2 (b c): 'x' is not a number"),
        ("1,2,0\n3,4,1\n5,6,1\n", "four rows of each label are needed"),
    ],
)
def test_own_data(lesson, tmp_path, output, text, message):
    path = tmp_path / "own.csv"
    path.write_text(text)
    with pytest.raises(SystemExit) as error:
        lesson("logistic_regression_case2", "--data", path)
    assert str(path) in error.value.code
    assert message in error.value.code
    assert error.value.code.count("\n") == 0
    assert list(output.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_loss_that_is_not_finite(lesson, output, name):
    output.mkdir()
    with pytest.raises(SystemExit, match=r"the loss is (nan|inf) in epoch .* try --lr"):
        lesson(name, *QUICK[name], "--lr", "3e38", "--epochs", 30)
    assert not list(output.glob("*.pth"))


@pytest.mark.parametrize(
    ("name", "saved"),
    [
        ("linear_regression_case2", None),
        ("linear_regression_case3", "linear.pth"),
        ("classification", None),
        ("logistic_regression_case3", "logistic.pth"),
        ("distributed_logistic_regression", "distributed_logistic_regression.pth"),
        ("faster_training", None),
    ],
)
def test_loss_that_is_not_finite_after_the_last_step(lesson, output, name, saved):
    """Before the only step the loss was finite, and the parameters still are."""
    output.mkdir()
    (output / str(saved)).write_bytes(b"old")
    argv = [*QUICK[name], "--epochs", 1, "--lr", "1e38"]
    if "--sample" in argv:
        argv += ["--batch-size", 4000]
    with pytest.raises(SystemExit, match=r"the loss is (nan|inf) in epoch 1: .* try"):
        lesson(name, *argv)
    assert (output / str(saved)).read_bytes() == b"old"
    assert [path.suffix for path in output.iterdir()] in ([".pth"], [""])


def test_parameters_that_are_not_finite_are_not_saved(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(b"old")
    model = torch.nn.Linear(1, 1)
    torch.nn.init.constant_(model.bias, torch.nan)
    with pytest.raises(SystemExit, match=r"bias is not finite, so .* is left alone"):
        save_state_dict(model, path)
    assert path.read_bytes() == b"old"
