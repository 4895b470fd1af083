"""Does a run that was stopped go on as if nothing had happened?"""

import argparse
import errno
import random
import signal
import time

import pytest
import torch
from conftest import Trap
from torch import nn

from snapshots import read_snapshot, restore, save_snapshot

CASE3 = "logistic_regression_case3"


def options(**changes):
    """The options of a run, as `common.options` returns them."""
    values = {"epochs": 9, "lr": 0.1, "resume": True, "device": torch.device("cpu")}
    return argparse.Namespace(**values | changes)


@pytest.fixture
def state():
    """A model and an optimizer that has a state of its own."""

    def make(features=3):
        model = nn.Linear(features, 2)
        return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    return make


def train(model, optimizer):
    """Take a step on random numbers; return its loss."""
    loss = model(torch.randn(8, 3)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.snapshot"


def refused(*args):
    """The message with which `read_snapshot` and `restore` end the program."""
    with pytest.raises(SystemExit) as error:
        restore(read_snapshot(*args[:2]), *args[2:])
    message = error.value.code
    assert message.count("\n") == 0
    return message.partition(": error: ")[2]


# ----------------------------------------------------------------- the shared functions


def test_nothing_is_lost(path, state):
    """Weights, momentum, random numbers, history: seven steps are three and four."""
    model, optimizer = state()
    history = []
    for step in range(7):
        if step == 3:
            save_snapshot(path, options(), history, model, optimizer)
        history.append(train(model, optimizer))

    other, other_optimizer = state()
    snapshot = read_snapshot(path, options(epochs=7, device="another"))
    again = restore(snapshot, other, other_optimizer)
    assert again == history[:3]
    again += [train(other, other_optimizer) for _ in range(4)]
    assert again == history
    assert torch.equal(model.weight, other.weight)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_nothing_is_taken_unasked(path, state):
    model, optimizer = state()
    no = options(resume=False)
    assert read_snapshot(path, no) is None  # there is none
    save_snapshot(path, no, [1.0], model, optimizer, run="a")
    before = torch.get_rng_state()
    assert restore(read_snapshot(path, no), model, optimizer) == []
    assert torch.equal(torch.get_rng_state(), before)
    assert read_snapshot(path, no, run="b") is None
    assert read_snapshot(path, no, run="a")["history"] == [1.0]
    path.write_text("not a snapshot")
    assert read_snapshot(path, no, run="a") is None
    save_snapshot(path, no, [1.0], model, optimizer)
    assert read_snapshot(path, no) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.2}, "was made with --lr 0.1, not 0.2; give the same"),
        ({"seed": 1}, "was made with --seed None, not 1; give the same"),
        ({"batch_size": 1}, "was made with --batch-size None, not 1; give the same"),
        ({"sample": True}, "was made without --sample; give the same"),
        ({"published": False}, "was made with --published; give the same"),
        ({"epochs": 1}, "has 2 epochs behind it, and --epochs 1 is too few; give more"),
    ],
)
def test_other_options(path, state, changes, message):
    model, optimizer = state()
    made = options(sample=False, published=True)
    save_snapshot(path, made, [1.0, 2.0], model, optimizer)
    content = path.read_bytes()
    changes = {"sample": False, "published": True} | changes
    assert message in refused(path, options(**changes), model, optimizer)
    assert path.read_bytes() == content


def test_another_model(path, state):
    save_snapshot(path, options(), [], *state(features=4))
    content = path.read_bytes()
    model, optimizer = state()
    weight = model.weight.clone()
    message = refused(path, options(), model, optimizer)
    there, here = "(2, 4) torch.float32", "(2, 3) torch.float32"
    assert f"'weight' is {there} in the file, {here} here" in message
    assert torch.equal(model.weight, weight)
    assert path.read_bytes() == content


def test_a_snapshot_of_no_tensors(path, state):
    model, optimizer = state()
    save_snapshot(path, options(), [1.0], model, optimizer)
    torch.save(torch.load(path) | {"model": {"weight": 1.0, "bias": 2.0}}, path)
    message = refused(path, options(), model, optimizer)
    assert "'weight' is a float in the file, (2, 3) torch.float32 here" in message


@pytest.mark.parametrize(
    "part",
    [
        {"optimizer": {}},
        {"optimizer": {"state": {}, "param_groups": [{"lr": 0.1, "params": [0, 1]}]}},
        {"optimizer": {"state": {}, "param_groups": 3}},
        {"random state": torch.ones(3)},
        {"random state": torch.ones(3, dtype=torch.uint8)},
    ],
)
def test_a_snapshot_of_other_contents(path, state, part):
    model, optimizer = state()
    save_snapshot(path, options(), [1.0], model, optimizer)
    torch.save(torch.load(path) | part, path)
    message = refused(path, options(), model, optimizer)
    assert message.startswith("the snapshot holds another state (")


def test_another_run_with_the_same_name(path, state):
    """What is told then is what was given: no --resume."""
    model, optimizer = state()
    save_snapshot(path, options(), [1.0], model, optimizer, run="a")
    with pytest.raises(SystemExit, match="give the same options, or take another --rd"):
        read_snapshot(path, options(resume=False, lr=0.2), run="a")


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "model", "list", "code"])
def test_no_snapshot(path, state, kind):
    model, optimizer = state()
    if kind == "model":
        torch.save(model.state_dict(), path)
    elif kind == "list":
        save_snapshot(path, options(), [1.0], model, optimizer)
        torch.save(torch.load(path) | {"model": [1.0]}, path)
    elif kind == "code":
        torch.save({"run": Trap(path.with_name("trap"))}, path)
    elif kind != "missing":
        path.write_text("" if kind == "empty" else "a text")
    content = path.exists() and path.read_bytes()
    message = refused(path, options(), model, optimizer)
    assert str(path) in message
    assert message.endswith("start without --resume")
    assert ("there is no snapshot" in message) == (kind == "missing")
    assert not path.with_name("trap").exists()
    assert content == (path.exists() and path.read_bytes())


def test_damaged_snapshots(path, state):
    """Cut, or with a byte of it changed: refused, or it made no difference."""
    model, optimizer = state()
    train(model, optimizer)
    save_snapshot(path, options(), [1.0], model, optimizer)
    whole, snapshot = path.read_bytes(), read_snapshot(path, options())
    rng = random.Random(0)
    messages = []
    for trial in range(300):
        at = rng.randrange(len(whole))
        end = b"" if trial % 3 == 0 else bytes([whole[at] ^ 255]) + whole[at + 1 :]
        path.write_bytes(whole[:at] + end)
        try:
            read = read_snapshot(path, options())
        except SystemExit as error:
            messages.append(error.code)
            continue
        assert torch.equal(read["random state"], snapshot["random state"]), (trial, at)
        # The other tensors are short enough to be told in full.
        assert str(read) == str(snapshot), (trial, at)
    assert len(messages) > 150
    for message in messages:
        assert str(path) in message
        assert message.count("\n") == 0


@pytest.mark.parametrize("resume", [False, True])
def test_a_snapshot_that_cannot_be_read(path, state, monkeypatch, resume):
    """It may be a good one; to start anew would write over it."""
    model, optimizer = state()
    args = options(resume=resume)
    save_snapshot(path, args, [1.0], model, optimizer, run="a")
    content = path.read_bytes()

    def broken(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("zipfile.ZipFile", broken)
    with pytest.raises(SystemExit, match=r"cannot read .* \(Input/output error\)"):
        read_snapshot(path, args, run="" if resume else "a")
    assert path.read_bytes() == content


def test_numbers_that_are_not_finite_are_no_snapshot(path, state):
    model, optimizer = state()
    path.write_bytes(b"old")
    nn.init.constant_(model.bias, torch.inf)
    with pytest.raises(SystemExit, match=r"bias is not finite, so .* is left alone"):
        save_snapshot(path, options(), [1.0], model, optimizer)
    assert path.read_bytes() == b"old"


# ------------------------------------------------------------------------------- case 3


def results(folder):
    """The files of a run of case 3, but for the log that is in the snapshot."""
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.suffix != ".snapshot"}


def test_killed_again_and_again(run, start, output):
    """Five times ``kill -9``; each time ``--resume`` takes what the last one left."""
    argv = ["--sample", "--epochs", 200]
    rng = random.Random(8)
    snapshot = output / f"{CASE3}.snapshot"
    output.mkdir()
    epochs = [0]
    for _ in range(5):
        resume = ["--resume"] if snapshot.exists() else []
        before = resume and snapshot.stat().st_ino  # each one is a new file
        process = start(CASE3, *argv, *resume)
        deadline = time.monotonic() + 60
        while not snapshot.exists() or snapshot.stat().st_ino == before:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.2))
        process.kill()
        process.communicate()
        seen = torch.load(snapshot, weights_only=True)
        epochs.append(len(seen["history"]))
        for part in output.glob(".*.part"):
            part.unlink()  # a kill in the midst of writing may leave it
    assert epochs == sorted(set(epochs))
    assert epochs[-1] < 200
    resumed = run(CASE3, *argv, "--resume")
    assert resumed.stderr == ""
    assert f"going on after epoch {epochs[-1]}\n" in resumed.stdout
    stopped = results(output)

    for file in output.iterdir():
        file.unlink()
    whole = run(CASE3, *argv)
    assert whole.stderr == ""
    assert results(output) == stopped
    assert set(stopped) == {"logistic.pth"} | {
        f"{CASE3}{end}.png" for end in ("", "_weights", "_confusion", "_pictures")
    }
    last = "test accuracy "
    assert last in whole.stdout
    assert whole.stdout.partition(last)[2] == resumed.stdout.partition(last)[2]


def test_train_longer(lesson, output):
    whole = lesson(CASE3, "--sample", "--epochs", 4)["history"]
    model = (output / "logistic.pth").read_bytes()
    lesson(CASE3, "--sample", "--epochs", 2)
    seen = lesson(CASE3, "--sample", "--epochs", 4, "--resume")
    assert seen["history"] == whole
    assert (output / "logistic.pth").read_bytes() == model
    again = lesson(CASE3, "--sample", "--epochs", 4, "--resume")  # nothing left to do
    assert again["history"] == whole
    assert again["test_loss"] == seen["test_loss"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--lr", "0.01"], "was made with --lr 0.001, not 0.01;"),
        (["--seed", "1"], "was made with --seed 0, not 1;"),
        (["--batch-size", "32"], "was made with --batch-size 64, not 32;"),
        (["--epochs", "1"], "has 2 epochs behind it, and --epochs 1 is too few"),
    ],
)
def test_case3_with_other_options(lesson, output, argv, message):
    lesson(CASE3, "--sample", "--epochs", 2)
    before = {path: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(SystemExit) as error:
        lesson(CASE3, "--sample", "--epochs", 2, *argv, "--resume")
    assert f"{output / CASE3}.snapshot {message}" in error.value.code
    assert {path: path.read_bytes() for path in output.iterdir()} == before


def test_control_c_says_how_to_go_on(start, output):
    process = start(CASE3, "--sample", "--epochs", 1_000_000)
    while not process.stdout.readline().startswith("epoch    3"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert stderr == (
        "interrupted: what was saved before is whole; the same command with --resume "
        "goes on after the last saved epoch, if there is one\n"
    )
    history = torch.load(output / f"{CASE3}.snapshot", weights_only=True)["history"]
    assert len(history) >= 3
