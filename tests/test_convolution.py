import re
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import correlate2d
from torch import nn

from checkpoint import load
from common import train_epoch
from conftest import environment, script
from lesson_data import load_fashion_mnist, read_files

NAME, SLOW = "convolution", pytest.mark.slow
FULL = pytest.param((1,), marks=SLOW)  # 0: the row of the README
LATE = [pytest.param((seed, "--sample"), marks=SLOW) for seed in (2, 3, 7)]


@pytest.fixture(params=[(0, "--sample"), (1, "--sample"), *LATE, FULL], ids=str)
def seen(lesson, request):
    seed, *argv = request.param
    run = lesson(NAME, "--seed", seed, *argv)
    run.seed, run.full = seed, not argv
    return run


def logits(state, x):
    weights = [p.numpy().astype(float) for p in state.values()]
    x = x.reshape(-1, 1, 28, 28).numpy().astype(float)
    for w, b in zip(weights[::2], weights[1::2], strict=True):
        if w.ndim == 4:
            x = np.pad(x, ((0, 0), (0, 0), (2, 2), (2, 2)))
            windows = sliding_window_view(x, (5, 5), axis=(2, 3))[:, :, ::2, ::2]
            x = np.einsum("nchwij,ocij->nohw", windows, w, optimize=True)
            z = x + b[:, None, None]
        else:
            z = x.reshape(len(x), -1) @ w.T + b
        x = np.maximum(z, 0)
    return z


def test_the_convolution_wins_and_loses_most(seen):
    """It wins on all images only: on the sample that is too close."""
    lost = seen.vars["lost"]
    assert abs(lost["hidden layer"]) < 0.02
    assert lost["convolution"] > lost["hidden layer"] + 0.02
    held_out, kept = (seen.vars[name].tolist() for name in ("held_out", "kept"))
    assert sorted(held_out + kept) == list(range(len(seen.vars["images"])))
    assert len(held_out) == len(seen.vars["images"]) // 6
    losses = {name: run[-1] for name, run in seen.vars["runs"].items()}
    assert losses[seen.vars["best"]] == min(losses.values())
    if seen.full:
        assert losses["convolution"] + 0.02 < losses["hidden layer"]
        assert losses["hidden layer"] + 0.02 < losses["linear"]
        assert seen.vars["best"] == "convolution"
        assert 0.871 < seen.vars["test_accuracy"] < 0.91
    _, _, x, y = load_fashion_mnist(not seen.full, "cpu")
    state = seen.vars["models"][seen.vars["best"]].state_dict()
    z = np.concatenate([logits(state, part) for part in x.split(1000)])
    right = z.argmax(1) == y.numpy()
    assert seen.vars["test_accuracy"] == pytest.approx(right.mean(), abs=2e-4)


def test_runs_by_other_code(lesson):
    """Those on mixed pixels start the same, and see the same rows in the same order."""
    v = lesson(NAME, "--seed", 0, "--sample").vars
    pixels = v["mixed"].flatten(1).T
    old, new = (
        sorted(map(bytes, a.numpy())) for a in (v["images"].flatten(1).T, pixels)
    )
    assert old == new
    for name, inputs, expected in (
        ("convolution", v["images"], v["runs"]["convolution"]),
        ("hidden layer", v["mixed"], v["mixed_run"]),
    ):
        x, y = inputs[v["kept"]], v["labels"][v["kept"]]
        torch.manual_seed(0)
        first = [nn.Flatten(), nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10)]
        if name == "convolution":
            torch.manual_seed(0)
            first = [nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2)]
            first += [nn.ReLU(), nn.Flatten(), nn.Linear(1568, 10)]
        model, loss_fn = nn.Sequential(*first), nn.CrossEntropyLoss()
        optimizer = torch.optim.Adam(model.parameters())
        torch.manual_seed(0)
        for loss in expected:
            parts = torch.randperm(len(x)).split(64)
            train_epoch(model, x, y, loss_fn, optimizer, parts)
            with torch.no_grad():
                z, held_y = model(inputs[v["held_out"]]), v["labels"][v["held_out"]]
            assert loss_fn(z, held_y).item() == pytest.approx(loss, rel=1e-3)


def test_kernels_parameters_and_schedule(lesson):
    run = lesson(NAME, "--seed", 0, "--sample")
    shoe, edges = run.vars["shoe"][0, 0].numpy(), run.vars["edges"][0].numpy()
    kernel = np.array([[-1, 0, 1]] * 3)
    for turned, edge in zip((kernel, kernel.T), edges, strict=True):
        np.testing.assert_allclose(edge, correlate2d(shoe, turned, "same"), atol=1e-6)
    first, second = nn.Conv2d(1, 16, 3, 2, 1), nn.Conv2d(16, 32, 3, 2, 1)  # answer 1
    x = first(torch.zeros(1, 1, 28, 28))
    assert (*x.shape, *second(x).shape) == (1, 16, 14, 14, 1, 32, 7, 7)
    sizes = [sum(p.numel() for p in m.parameters()) for m in (first, second)]
    assert sizes == [160, 4640]
    assert edges[0].argmax() % 28 < edges[0].argmin() % 28
    assert edges[1].argmax() // 28 < edges[1].argmin() // 28
    assert "top left: 0.0\none to the right: 3.0" in run.out
    assert re.findall(r"(\d+) parameters", run.out) == [
        *("416", "0", "12832", "0", "0", "15690")
    ]
    assert "(1, 16, 14, 14)" in run.out
    assert "(1, 32, 7, 7)" in run.out
    models = run.vars["models"].values()
    counts = [sum(p.numel() for p in model.parameters()) for model in models]
    assert sorted(counts) == [7850, 28_938, 79_510]
    # A step too early, the first rate of the answer is left out; the last is 0.
    optimizer, rates = torch.optim.Adam([torch.zeros(1, requires_grad=True)]), []
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1, 0, 5)
    with pytest.warns(UserWarning, match="lr_scheduler.step"):
        schedule.step()
    for _ in range(5):
        rates += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([8e-4, 6e-4, 4e-4, 2e-4, 0])


@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=SLOW)])
def test_killed_and_resumed(lesson, start, output, kills):
    argv = [NAME, "--sample", "--epochs", kills + 3]
    path, epochs = output / f"{NAME}.checkpoint", 0
    for _ in range(kills):
        process = start(*argv, *["--resume"] * (epochs > 0))
        while not path.exists() or len(load(path)["history"]) == epochs:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
        process.communicate()
        epochs = len(load(path)["history"])
    assert epochs < kills + 3
    assert start(*argv, "--resume").communicate()[1] == ""
    whole = {p.name: p.read_bytes() for p in lesson(*argv).output.iterdir()}
    assert {f"{NAME}.checkpoint", f"{NAME}.png"} == whole.keys()
    assert {name: (output / name).read_bytes() for name in whole} == whole


def test_the_whole_program(tmp_path):
    shutil.copy(script("convolution_program"), tmp_path)
    (raw := tmp_path / "data/FashionMNIST/raw").mkdir(parents=True)
    for name, content in read_files(sample=True).items():
        (raw / name).write_bytes(content)
    command = [sys.executable, "-I", "-W", "error", "convolution_program.py"]
    env = environment(OMP_NUM_THREADS="1")
    out = subprocess.check_output(command, cwd=tmp_path, env=env, text=True)
    *epochs, test = map(float, re.findall(r": .*?(\d\.\d{4})$", out, re.M))
    assert len(epochs) == 5
    _, _, x, y = load_fashion_mnist(True, "cpu")
    right = logits(load(tmp_path / "model.pth"), x).argmax(1) == y.numpy()
    assert test == pytest.approx(right.mean(), abs=2e-3)
    assert min(epochs[-1], test) > 0.75
