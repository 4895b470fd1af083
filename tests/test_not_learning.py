import math
import re

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import nn

from conftest import SEEDS, run_changed, script

NAME = "not_learning"
FLOOR = math.log(1 + 9 / math.e)
WRONG = {"healthy": "", "other model": "mtn", "softmax": "t", "listed": "cgmt"}
WRONG |= {"silenced": "gmtn", "zeroed": "gmtn", "shuffled": "n", "broadcast": "p"}


def answers(out):
    rows = re.findall(r"^([a-z ]+?) +count (.+)$", out, re.M)
    return {name: [float(cell) for cell in row.split()[::2]] for name, row in rows}


def wrong(row):
    """The first letters of the answers that are wrong."""
    count, first, grad, moved, ten, new, perfect = row
    right = {"c": count == 50890, "f": abs(first - math.log(10)) < 0.1}
    right |= {"g": grad == 4, "m": moved == 4, "t": ten < 0.05, "n": new > 0.3}
    return "".join(k for k, ok in (right | {"p": perfect == 1}).items() if not ok)


@SEEDS
def test_each_mistake_changes_its_answers(lesson, seed):
    run = lesson(NAME, "--seed", seed)
    table = answers(run.out)
    assert "f" in wrong(table.pop("eighth"))
    assert {name: wrong(row) for name, row in table.items()} == WRONG
    assert FLOOR < table["softmax"][4] < FLOOR + 0.3
    assert table["broadcast"][5] > 90
    assert table["broadcast"][6] == 100
    assert run.vars["losses"]["eighth"][0] * 500 == pytest.approx(math.log(10), abs=0.1)


@SEEDS
def test_losses(lesson, seed):
    """Three stay equal to the last bit, the others fall; 30 steps by NumPy."""
    v = lesson(NAME, "--seed", seed).vars
    for name, losses in v["losses"].items():
        constant = name in ("other model", "silenced", "zeroed")
        assert (len(set(losses)) == 1) == constant
        assert (losses[-1] < 0.999 * losses[0]) != constant
    assert min(v["losses"]["softmax"]) > FLOOR
    assert v["losses"]["broadcast"] == v["losses"]["healthy"]
    assert v["losses"]["silenced"] == v["losses"]["zeroed"]
    torch.manual_seed(seed)
    layers = nn.Linear(784, 64), nn.Linear(64, 10)
    a, b, c, d = (p.detach().numpy() for m in layers for p in m.parameters())
    x, y = v["images"][:500].numpy(), np.eye(10)[v["labels"][:500]]
    for loss in v["losses"]["healthy"][:30]:
        h = np.maximum(x @ a.T + b, 0)
        z = h @ c.T + d
        assert loss == pytest.approx(-(y * log_softmax(z, 1)).sum() / 500, 1e-4)
        g = (softmax(z, axis=1) - y) / 500
        k = g @ c * (h > 0)
        a, b = a - 0.07 * k.T @ x, b - 0.07 * k.sum(0)
        c, d = c - 0.07 * g.T @ h, d - 0.07 * g.sum(0)


def test_errors_and_accuracies(lesson):
    v, text = lesson(NAME).vars, script(NAME).read_text("utf-8")
    with pytest.raises(RuntimeError, match="grad") as no_graph:
        v["loss"].detach().backward()
    misspelt = type("Net", (nn.Module,), {"_init_": v["Listed"].__init__})()
    with pytest.raises(ValueError, match="parameter") as no_parameter:
        torch.optim.SGD(misspelt.parameters())
    for error in (no_graph, no_parameter):
        assert f"``{error.value}``" in " ".join(text.replace("\n#", " ").split())
    logits, y = torch.randn(1000, 10), torch.arange(10).repeat(100)
    counts = logits.argmax(1).bincount(minlength=10)
    assert v["broadcast"](logits, y) == (counts * y.bincount()).sum() / 1000
    assert v["accuracy"](logits, y) == np.mean(logits.argmax(1).numpy() == y.numpy())
    assert (logits.argmax(1, keepdim=True) == y).float().mean() == pytest.approx(0.1)
    assert not (logits.max(dim=1)[0] == y).any()


@pytest.mark.slow
def test_try_it(lesson, output):
    table = answers(lesson(NAME, "--hidden", 100, "--epochs", 1).out)
    assert [table["healthy"][0], table["listed"][0]] == [79510, 1010]
    run = run_changed(NAME, output, ("nn.Softmax", "nn.LogSoftmax"))
    assert wrong(answers(run.out)["softmax"]) == ""
    a, b = (run.vars["losses"][name][:3] for name in ("softmax", "healthy"))
    assert a == pytest.approx(b, rel=1e-3)
