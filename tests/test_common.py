"""Is the shared module right?"""

import random
import sys

from common import (
    ROOT,
    fit,
    load_state_dict,
    options,
    pick_device,
    save_state_dict,
    show,
    write_file,
)
from endings import let_interrupt_end

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import nn

DOC = "A title\n=======\n\nProse."


@pytest.fixture
def command_line(monkeypatch):
    """Set the command line that `options` reads."""
    return lambda *argv: monkeypatch.setattr(sys, "argv", ["x.py", *map(str, argv)])


def last_line(error, capsys):
    """The exit code of a `SystemExit` and the one line that it leaves on stderr."""
    code, text = error.value.code, capsys.readouterr().err
    if isinstance(code, str):  # sys.exit(message): the interpreter prints it, exits 1
        code, text = 1, text + code + "\n"
    assert text.count("\n") == 1
    return code, text.strip()


def test_options_have_the_lesson_s_defaults(command_line, output):
    command_line("--output", output)
    args = options(DOC, epochs=7, lr=0.5, published=False)
    assert vars(args) == {
        "epochs": 7,
        "lr": 0.5,
        "published": False,
        "seed": 0,
        "device": torch.device("cpu"),
        "output": output,
    }
    assert output.is_dir()


def test_options_are_read(command_line, output):
    command_line("--epochs", 3, "--lr", 1e-3, "--published", "--output", output)
    args = options(DOC, epochs=7, lr=0.5, published=False)
    assert (args.epochs, args.lr, args.published) == (3, 1e-3, True)


def test_default_output_does_not_depend_on_the_folder(
    command_line, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    command_line()
    assert options(DOC).output == ROOT / "outputs"


def test_options_seed_every_generator(command_line, output):
    def draws(seed):
        command_line("--seed", seed, "--output", output)
        options(DOC)
        return random.random(), np.random.rand(), torch.rand(1).item()  # noqa: NPY002

    first, again, other = draws(5), draws(5), draws(6)
    assert first == again
    assert all(a != b for a, b in zip(first, other, strict=True))


def test_one_thread_unless_the_environment_asks_for_more(
    command_line, output, monkeypatch
):
    before = torch.get_num_threads()
    try:
        command_line("--output", output)
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        options(DOC)
        assert torch.get_num_threads() == 2
        monkeypatch.delenv("OMP_NUM_THREADS")
        options(DOC)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


class Accelerators:
    """Stands in for `torch.accelerator` on a machine with that many CUDA devices."""

    def __init__(self, count):
        self.device_count = lambda: count
        self.is_available = lambda: count > 0
        self.current_accelerator = lambda: torch.device("cuda")


@pytest.mark.parametrize(
    ("count", "name", "expected"),
    [
        (0, "auto", "cpu"),
        (0, "cpu", "cpu"),
        (2, "auto", "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_pick_device(monkeypatch, count, name, expected):
    monkeypatch.setattr(torch, "accelerator", Accelerators(count))
    assert pick_device(name) == torch.device(expected)


@pytest.mark.parametrize(
    ("count", "name", "message"),
    [
        (0, "cuda", "no cuda device is available here; try auto or cpu"),
        (2, "mps", "no mps device is available here; try auto or cpu"),
        (2, "cuda:2", "there is no cuda:2; the last one is cuda:1"),
        (2, "banana", "PyTorch knows no device 'banana'; try auto or cpu"),
    ],
)
def test_pick_device_says_what_is_wrong(monkeypatch, count, name, message):
    monkeypatch.setattr(torch, "accelerator", Accelerators(count))
    with pytest.raises(ValueError, match=f"^{message}$"):
        pick_device(name)


def test_fit_is_gradient_descent(capsys):
    x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [5.0]])
    model = nn.Linear(1, 1)
    w, b = model.weight.item(), model.bias.item()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = fit(model, x, y, nn.MSELoss(), optimizer, epochs=5, log_every=2)
    expected = []
    for _ in range(5):  # by hand: the loss before the step, then the step
        errors = [w * 1 + b - 3, w * 2 + b - 5]
        expected.append(sum(e**2 for e in errors) / 2)
        w, b = (
            w - 0.1 * sum(2 * e * v for e, v in zip(errors, (1, 2), strict=True)) / 2,
            b - 0.1 * sum(2 * e for e in errors) / 2,
        )
    assert losses == pytest.approx(expected, rel=1e-5)
    assert model.weight.item() == pytest.approx(w, rel=1e-5)
    assert capsys.readouterr().out == (
        f"epoch    2  loss {losses[1]:#.6g}\nepoch    4  loss {losses[3]:#.6g}\n"
    )


def test_fit_counts_from_where_it_is_told(capsys):
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.ones(1, 1)
    losses = fit(model, x, x, nn.MSELoss(), optimizer, 3, log_every=2, first=0)
    assert capsys.readouterr().out == (
        f"epoch    0  loss {losses[0]:#.6g}\nepoch    2  loss {losses[2]:#.6g}\n"
    )


def test_fit_stops_when_the_loss_is_not_finite(capsys):
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e30)
    x = torch.ones(1, 1)
    with pytest.raises(SystemExit) as error:
        fit(model, x, 2 * x, nn.MSELoss(), optimizer, 100)
    code, line = last_line(error, capsys)
    assert code == 1
    assert "in epoch 2: the learning rate 1e+30 is too large" in line
    assert line.endswith("try --lr 1e+29")


def test_save_and_load(tmp_path):
    model, fresh = nn.Linear(3, 2), nn.Linear(3, 2)
    save_state_dict(model, tmp_path / "model.pth")
    load_state_dict(fresh, tmp_path / "model.pth")
    assert torch.equal(model.weight, fresh.weight)
    assert torch.equal(model.bias, fresh.bias)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (
            nn.Linear(4, 2),
            "'weight' is (2, 4) torch.float32 in the file, (2, 3) torch.float32 here",
        ),
        (
            nn.Linear(3, 2, bias=False),
            "'bias' is missing in the file, (2,) torch.float32 here",
        ),
        (
            nn.Sequential(nn.Linear(3, 2)),
            "'weight' is missing in the file, (2, 3) torch.float32 here",
        ),
    ],
)
def test_load_of_another_model(tmp_path, capsys, saved, message):
    path = tmp_path / "model.pth"
    torch.save(saved.state_dict(), path)
    model = nn.Linear(3, 2)
    before = model.weight.clone()
    with pytest.raises(SystemExit) as error:
        load_state_dict(model, path)
    code, line = last_line(error, capsys)
    assert code == 1
    assert str(path) in line
    assert message in line
    assert torch.equal(model.weight, before)


@pytest.mark.parametrize(
    ("weight", "message"),
    [
        (torch.full((2, 3), torch.nan), "holds a 'weight' that is not finite"),
        (torch.ones(2, 3, dtype=torch.int64), "'weight' is (2, 3) torch.int64 in the"),
        (torch.ones(2, 3, device="meta"), "torch.float32 torch.strided meta in the"),
    ],
)
def test_load_of_what_a_weight_cannot_be(tmp_path, weight, message):
    """Refused before the first of its tensors is copied."""
    path = tmp_path / "model.pth"
    torch.save({"bias": torch.ones(2), "weight": weight}, path)
    model = nn.Linear(3, 2)
    before = model.bias.clone()
    with pytest.raises(SystemExit) as error:
        load_state_dict(model, path)
    assert str(path) in error.value.code
    assert message in error.value.code
    assert torch.equal(model.bias, before)


def test_load_of_a_missing_file(tmp_path, capsys):
    with pytest.raises(SystemExit) as error:
        load_state_dict(nn.Linear(1, 1), tmp_path / "none.pth")
    code, line = last_line(error, capsys)
    assert code == 1
    assert f"there is no file {tmp_path / 'none.pth'}" in line


def test_a_failed_write_leaves_the_old_file(tmp_path, capsys, monkeypatch):
    path = tmp_path / "model.pth"
    path.write_bytes(b"old")

    def disk_full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", disk_full)
    with pytest.raises(SystemExit) as error:
        write_file(path, b"new")
    code, line = last_line(error, capsys)
    assert code == 1
    assert f"cannot write {path} (No space left on device)" in line
    assert path.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


def test_show_saves_the_figure(tmp_path, capsys):
    fig, _ = plt.subplots()
    show(fig, tmp_path / "figure.png")
    plt.close(fig)
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"saved {tmp_path / 'figure.png'}\n"


def test_show_opens_a_window_where_there_is_a_screen(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(plt, "show", lambda **kwargs: calls.append(kwargs))
    monkeypatch.setattr(plt, "pause", lambda seconds: calls.append("pause"))
    monkeypatch.setattr("atexit.register", lambda function: calls.append(function))
    fig, _ = plt.subplots()
    monkeypatch.setattr(fig.canvas, "required_interactive_framework", "qt")
    show(fig, tmp_path / "figure.png")
    plt.close(fig)
    # At once and without blocking; at the end of the script until it is closed. (What
    # is registered last comes first: Ctrl-C then closes it.)
    assert calls == [{"block": False}, "pause", plt.show, let_interrupt_end]
