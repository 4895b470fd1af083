"""Does each mistake change its answers, and do the errors and cures hold?"""

import math
import re

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import nn

from conftest import run_changed, script

NAME = "not_learning"
SLOW = [pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 7)]
SEEDS = pytest.mark.parametrize("seed", [0, 3, *SLOW])
FLOOR = math.log(1 + 9 / math.e)
CHECKS = ("count", "first", "grad", "moved", "ten", "new", "perfect")
WRONG = {
    "healthy": set(),
    "other model": {"moved", "ten", "new"},
    "softmax": {"ten"},
    "listed": {"count", "grad", "moved", "ten"},
    "silenced": {"grad", "moved", "ten", "new"},
    "zeroed": {"grad", "moved", "ten", "new"},
    "shuffled": {"new"},
    "broadcast": {"perfect"},
    "eighth": {"first"},
}


def answers(out):
    """The table of a run: the answers of each copy, by check."""
    rows = re.findall(r"^([a-z ]+?) +(\d+(?: +[\d.]+){6})$", out, re.M)
    return {a: dict(zip(CHECKS, map(float, b.split()), strict=True)) for a, b in rows}


def wrong(row, hidden=64):
    """The answers that are wrong, by the numbers alone."""
    right = {
        "count": row["count"] == 784 * hidden + hidden + hidden * 10 + 10,
        "first": abs(row["first"] - math.log(10)) < 0.1,
        "grad": row["grad"] == 4,
        "moved": row["moved"] == 4,
        "ten": row["ten"] < 0.05,
        "new": row["new"] > 0.35,
        "perfect": row["perfect"] == 1,
    }
    return {check for check in right if not right[check]}


@SEEDS
def test_each_mistake_changes_its_answers(lesson, seed):
    run = lesson(NAME, "--seed", seed)
    table = answers(run.out)
    assert {name: wrong(row) for name, row in table.items() if name[0] != "k"} == WRONG
    known = re.search(r"^known answer +(.+?) +0 +> 0.1 +1.0$", run.out, re.M)
    assert known[1].split() == ["50890", "2.303", "4", "4"]
    assert table["listed"]["count"] == 650
    assert table["softmax"]["ten"] > FLOOR
    assert table["broadcast"]["perfect"] == 100
    assert table["broadcast"]["new"] > 90
    assert max(row["new"] for row in table.values() if "new" in wrong(row)) < 0.2
    for name in ("healthy", "eighth"):
        divided = 50 if name == "eighth" else 1
        assert table[name]["first"] * divided == pytest.approx(math.log(10), abs=0.1)


@SEEDS
def test_losses(lesson, seed):
    """Three stay equal to the last bit, four fall; that of 3 epochs by NumPy."""
    v = lesson(NAME, "--seed", seed).vars
    losses = v["losses"]
    for name in ("other model", "silenced", "zeroed"):
        assert len(set(losses[name])) == 1
    for name in ("healthy", "softmax", "listed", "shuffled", "broadcast", "eighth"):
        assert losses[name][-1] < losses[name][0] - 0.2
    assert min(losses["softmax"]) > FLOOR
    assert losses["broadcast"] == losses["healthy"]
    torch.manual_seed(seed)
    for _ in range(3):  # one start for each part of `examine`
        layers = nn.Linear(784, 64), nn.Linear(64, 10)
    a, b, c, d = (p.detach().numpy() for m in layers for p in m.parameters())
    x, y = v["images"][:500].numpy(), np.eye(10)[v["labels"][:500]]
    for loss in losses["healthy"][:3]:
        for rows in torch.randperm(500).numpy().reshape(10, 50):
            h = np.maximum(x[rows] @ a.T + b, 0)
            g = (softmax(h @ c.T + d, axis=1) - y[rows]) / 50
            k = g @ c * (h > 0)
            a, b = a - 0.1 * k.T @ x[rows], b - 0.1 * k.sum(0)
            c, d = c - 0.1 * g.T @ h, d - 0.1 * g.sum(0)
        logits = np.maximum(x @ a.T + b, 0) @ c.T + d
        assert loss == pytest.approx(-(y * log_softmax(logits, 1)).sum() / 500, 1e-4)


def test_errors_and_their_cures(lesson):
    """The prose names the messages; a ModuleList is found."""
    v, text = lesson(NAME).vars, script(NAME).read_text("utf-8")
    loss = v["loss_fn"](v["model"](v["train_x"]).detach(), v["train_y"])
    with pytest.raises(RuntimeError) as no_graph:
        loss.backward()
    misspelt = type("Net", (nn.Module,), {"_init_": v["Listed"].__init__})
    listed = nn.Module()
    listed.layers = [nn.Linear(2, 1)]
    for model in (misspelt(), listed):
        with pytest.raises(ValueError, match="parameter list") as no_parameter:
            torch.optim.SGD(model.parameters())
    text = " ".join(text.replace("\n#", " ").split())
    assert f"``{no_graph.value}``" in text
    assert f"``{no_parameter.value}``" in text
    model = v["Listed"]()
    model.layers = nn.ModuleList(model.layers)
    assert sum(p.numel() for p in model.parameters()) == 50890


def test_accuracies(lesson):
    """Broadcast it is a sum over classes, with ``mean()`` 0.1, and of logits 0."""
    v = lesson(NAME).vars
    logits, y = torch.randn(1000, 10), torch.arange(10).repeat(100)
    counts = logits.argmax(1).bincount(minlength=10)
    assert v["broadcast"](logits, y) == (counts * y.bincount()).sum() / 1000
    assert v["accuracy"](logits, y) == np.mean(logits.argmax(1).numpy() == y.numpy())
    assert (y[:, None] == y).float().mean() == pytest.approx(0.1)
    assert not (logits.max(dim=1)[0] == y).any()


def test_a_sum_of_losses_keeps_their_graphs(lesson):
    run = lesson(NAME)
    nodes, kept = [run.vars["total"].grad_fn], 0
    while nodes:
        node = nodes.pop()
        kept += node.name() == "NllLossBackward0"
        nodes += [n for n, _ in node.next_functions if n and "Nll" not in node.name()]
    assert f"total keeps {kept} graphs; number is a float\n" in run.out
    assert kept == 50
    assert run.vars["number"] == pytest.approx(run.vars["total"].item())


@pytest.mark.parametrize("seed", [0, *SLOW])
def test_try_it(lesson, output, seed):
    few = ["--epochs", 1, "--seed", seed]
    table = answers(lesson(NAME, "--hidden", 100, *few).out)
    assert table["healthy"]["count"] == 79510
    assert table["listed"]["count"] == 1010
    run = run_changed(NAME, output, ("nn.Softmax", "nn.LogSoftmax"), "--seed", seed)
    assert wrong(answers(run.out)["softmax"]) == set()
    losses = run.vars["losses"]
    assert losses["softmax"][:3] == pytest.approx(losses["healthy"][:3], rel=1e-3)
