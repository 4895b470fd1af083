import os
import time
from argparse import Namespace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from matplotlib.figure import Figure
from torch import nn

from checkpoint import load_checkpoint, save, save_checkpoint
from common import fit, load_state_dict, save_figure, save_state_dict
from conftest import error_line, fails

resource = pytest.importorskip("resource", reason="Windows has no such limits")
ARGS = {"epochs": 9, "lr": 0.1, "resume": True}
PATH, MODEL = Path("model.pth"), nn.Linear(3, 2)


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def save_often(model, times):
    for _ in range(times):
        model.weight.data += 1
        save_state_dict(model, PATH)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # this process has threads
def test_kill_while_saving():
    """After each of 20 kills the file is one whole model, an old one or the next."""
    model = nn.Linear(300, 100)  # large: some kills come in the midst of a write
    nn.init.zeros_(model.weight)
    save_state_dict(model, PATH)
    for kill in range(20):
        process = get_context("fork").Process(target=save_often, args=[model, 9999])
        process.start()
        time.sleep(0.01 * kill)
        process.kill()
        process.join()
        load_state_dict(model, PATH)
        assert model.weight.min() == model.weight.max()
    assert model.weight.max() > 5


@pytest.mark.parametrize("thing", [nn.Linear(99, 9), Figure()], ids=type)
def test_a_file_that_cannot_be_written(capsys, monkeypatch, thing):
    """Neither is the old file touched nor a part of the new one left."""
    write = save_figure if isinstance(thing, Figure) else save_state_dict
    limit, old = resource.RLIMIT_FSIZE, resource.getrlimit(resource.RLIMIT_FSIZE)
    Path("a.png").write_text("old")
    resource.setrlimit(limit, (1000, old[1]))  # bytes in a file
    try:
        fails(capsys, ["a.png", "--output"], write, thing, "a.png")  # a path as text
    finally:
        resource.setrlimit(limit, old)
    monkeypatch.setattr("os.fsync", lambda _: os.write(-1, b""))  # raises an OSError
    fails(capsys, ["a.png", "--output"], write, thing, "a.png")
    assert Path("a.png").read_text() == "old"
    assert os.listdir() == ["a.png"]


def test_two_runs_into_one_folder():
    models = [nn.Linear(300, 100), nn.Linear(300, 100)]
    ends = [model.weight + 200 for model in models]
    process = get_context("spawn").Process
    runs = [process(target=save_often, args=[model, 200]) for model in models]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert [run.exitcode for run in runs] == [0, 0]
    load_state_dict(fresh := nn.Linear(300, 100), PATH)
    assert any(torch.allclose(fresh.weight, end, atol=0.01) for end in ends)
    assert os.listdir() == [str(PATH)]


def test_what_could_not_be_loaded_is_not_saved(capsys):
    PATH.write_text("old")
    for thing in (MODEL, {"weight": Path()}, Figure()):
        fails(capsys, [PATH], save, thing, PATH)
    assert PATH.read_text() == "old"
    assert os.listdir() == [str(PATH)]


@pytest.mark.parametrize("name", ["a", "a.svg", "rate_0.1"])
def test_a_figure(monkeypatch, name):
    """Without a suffix it is a PNG. A window shows it, where there is a screen."""
    at_exit, fig = [], Figure()
    fig.canvas.required_interactive_framework = "qt"
    monkeypatch.setattr("atexit.register", at_exit.append)
    save_figure(fig, name)
    assert [function.__name__ for function in at_exit] == ["show"]
    (left,) = os.listdir()
    assert left == (name if name == "a.svg" else name + ".png")
    assert (Path(left).read_bytes()[:4] == b"\x89PNG") == (name != "a.svg")


def start():
    model = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 2))
    return model, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def resume(**changes):
    run = start()
    return load_checkpoint(PATH, Namespace(**ARGS | changes), *run), *run


@pytest.mark.parametrize("load", [partial(load_state_dict, MODEL, PATH), resume])
def test_a_file_that_holds_something_else(capsys, load):
    """Also in the format before PyTorch 1.6, in which nothing is loaded."""
    fails(capsys, [PATH], load)  # there is no file
    for content in (b"", b"a text", b"PK\3\4"):
        PATH.write_bytes(content)
        fails(capsys, [PATH], load)
    code = type("Code", (), {"__reduce__": lambda _: (os.mkdir, ("trap",))})()
    good, other = nn.Linear(3, 2).state_dict(), nn.Linear(4, 2).state_dict()
    dicts = other, {"weight": good["weight"]}, good | {"bias": 3}, good | {"bias": code}
    for content in (*dicts, {}, 3, "text", [1.0], None):
        torch.save(content, PATH)
        fails(capsys, [PATH], load)
    assert os.listdir() == [str(PATH)]  # the code did not run
    torch.save(good, PATH, _use_new_zipfile_serialization=False)
    fails(capsys, [PATH], load)


def test_damaged_files(capsys):
    """Cut, or with a flipped bit: refused, or loaded as it was."""
    model, fresh = nn.Linear(500, 1), nn.Linear(500, 1)
    save_state_dict(model, PATH)
    whole = PATH.read_bytes()
    for i in range(0, len(whole), 59):
        for rest in (b"", bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :]):
            PATH.write_bytes(whole[:i] + rest)
            try:
                load_state_dict(fresh, PATH)
            except SystemExit:
                error_line(capsys.readouterr().err, PATH)
            else:  # the change was in a date or in padding
                assert torch.equal(fresh.weight, model.weight)


def test_seven_steps_are_three_and_four(capsys):
    """With momentum and dropout; a checkpoint of another run is refused."""
    data = torch.ones(8, 3), torch.zeros(8, 2), nn.MSELoss()
    torch.manual_seed(0)
    model, optimizer = start()
    whole = fit(model, *data, optimizer, 7)
    torch.manual_seed(0)
    model, optimizer = start()
    history = fit(model, *data, optimizer, 3)
    save_checkpoint(PATH, Namespace(**ARGS), history, model, optimizer)
    history, model, optimizer = resume(epochs=7, output="elsewhere", device="cuda")
    assert history + fit(model, *data, optimizer, 4) == whole
    save_checkpoint(PATH, Namespace(**ARGS), [1.0, 2.0], *start())
    assert resume(resume=False)[0] == []  # begins anew
    for change in ({"lr": 0.2}, {"batch_size": 1}, {"epochs": 1}):
        fails(capsys, [PATH, *change], partial(resume, **change))
    good, other = torch.load(PATH), {"model": nn.Linear(4, 2).state_dict()}
    for change in (other, *({part: 3} for part in good if part != "run_id")):
        torch.save(good | change, PATH)
        fails(capsys, [PATH], resume)
