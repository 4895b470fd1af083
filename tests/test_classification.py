"""Classification: each claim of its prose, by NumPy and SciPy, over several seeds."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from scipy.stats import multivariate_normal, norm
from torch import nn

NAME, QUICK = "classification", ("--epochs", 7, "--lr", 0.1)
RUNS = [(), ("--seed", 3)]  # and the slow ones:
RUNS += [pytest.param(("--seed", s), marks=pytest.mark.slow) for s in (1, 2, 7)]
GRID = np.stack(np.meshgrid(*[np.linspace(-6, 6, 201)] * 2), axis=-1)  # (201, 201, 2)
CENTRES = np.array([(2, 2), (-2, -2), (2, -2), (-2, 2)])


def logits(model, x):
    w1, b1, w2, b2 = (p.detach().numpy() for p in model.parameters())
    return np.maximum(x @ w1.T + b1, 0) @ w2.T + b2


def loss_and_accuracy(z, y):
    losses = -log_softmax(z, axis=1)[np.arange(len(y)), y]
    return losses.mean(dtype=float), (z.argmax(axis=1) == y).mean()


@pytest.mark.parametrize("argv", RUNS)
def test_learned_model_beside_the_best(lesson, argv):
    run = lesson(NAME, *argv)
    x, y = (tensor.numpy() for tensor in run.vars["fresh"])
    noise = x - CENTRES[y]
    assert noise.mean(axis=0) == pytest.approx(0, abs=0.01)
    assert np.cov(noise.T) == pytest.approx(np.eye(2), abs=0.01)
    best_z = x @ CENTRES[:2].T
    density = [multivariate_normal(c).logpdf(x[::999]) for c in CENTRES[:2]]
    assert best_z[::999] @ [1, -1] == pytest.approx(density[0] - density[1], abs=1e-4)
    loss, accuracy = loss_and_accuracy(logits(run.vars["model"], x), y)
    best_loss, best = loss_and_accuracy(best_z, y)
    seen = [run.vars[n] for n in ("loss", "accuracy", "best_loss", "best_seen")]
    assert seen == pytest.approx([loss, accuracy, best_loss, best], rel=1e-4)
    bayes = norm.cdf(2 * math.sqrt(2))  # half the distance of the centres
    assert run.vars["best_accuracy"] == pytest.approx(bayes, rel=1e-12)
    assert best == pytest.approx(bayes, abs=2.5e-4)  # five standard errors
    mistakes, excess = (1 - accuracy) / (1 - best), loss / best_loss
    assert f"learned / best: mistakes {mistakes:.1f}, loss {excess:.1f}\n" in run.out
    assert 1 < mistakes < excess
    assert accuracy > 0.99
    *curves, lowest = (line.get_ydata() for line in run.figures[0].axes[0].lines)
    for curve, name in zip(curves, ("losses", "fresh_losses"), strict=True):
        assert list(curve) == run.vars[name]
        assert (np.diff(curve)[-5:] < 0).all()  # still falling
        assert curve[-1] > 5 * lowest[0] == 5 * run.vars["best_loss"]


def test_pauses_change_nothing(lesson):
    run = lesson(NAME, *QUICK)
    torch.manual_seed(0)
    torch.randn(200, 2)  # the points
    model = nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 2))
    optimizer = torch.optim.SGD(model.parameters(), run.vars["args"].lr)
    assert len(run.vars["losses"]) == run.vars["pauses"][-1] == run.vars["args"].epochs
    for seen in run.vars["losses"]:
        loss = nn.functional.cross_entropy(model(run.vars["x"]), run.vars["y"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        assert seen == loss.item()


@pytest.mark.parametrize("argv", RUNS)
def test_regions_and_where_they_are_far_from_the_best(lesson, argv):
    run = lesson(NAME, *argv)
    shown, z = run.vars["frames"][-1], logits(run.vars["model"], GRID)
    assert shown == pytest.approx(softmax(z, axis=-1)[..., 0], abs=1e-5)
    distance = np.linalg.norm(GRID[:, :, None] - run.vars["x"].numpy(), axis=-1)
    best = 1 / (1 + np.exp(-4 * GRID.sum(axis=-1)))
    assert np.abs(shown - best)[distance.min(axis=-1) > 1].max() > 0.5


def test_xor_bayes_accuracy_and_what_a_line_can_do(lesson):
    x = np.stack(np.meshgrid(*[np.arange(-8, 8, 0.05) + 0.025] * 2), -1).reshape(-1, 2)
    a, b, c, d = (multivariate_normal(c).pdf(x) * 0.05**2 / 4 for c in CENTRES)
    zero, one = a + b, c + d  # the probability of each cell and class
    run = lesson(NAME, *QUICK)
    assert run.vars["best_xor"] == pytest.approx(np.maximum(zero, one).sum(), abs=5e-5)
    assert ((zero > one) == (x.prod(axis=1) > 0)).all()
    angles, offsets = np.linspace(0, np.pi, 181), np.linspace(-6, 6, 121)
    distances = CENTRES @ np.array([np.cos(angles), np.sin(angles)])
    a, b, c, d = norm.cdf(distances[:, :, None] - offsets)  # on one side of the line
    right = (a + b + 2 - c - d) / 4
    assert right[:, 60] == pytest.approx(0.5)  # through the middle
    assert 0.65 < max(right.max(), 1 - right.min()) < 0.75
    # The loss is convex, and its gradient is zero where all weights are zero.
    assert (zero - one) @ np.c_[x, np.ones(len(x))] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("argv", RUNS)
def test_xor_needs_the_hidden_layer(lesson, argv):
    run = lesson(NAME, *argv)
    x, y = (tensor.numpy() for tensor in run.vars["xor_fresh"])
    linear, hidden = run.vars["models"].values()
    w, b = (p.detach().numpy() for p in linear.parameters())
    accuracies = [loss_and_accuracy(z, y)[1] for z in (x @ w.T + b, logits(hidden, x))]
    assert list(run.vars["xor"].values()) == pytest.approx(accuracies, abs=1e-5)
    assert 0.45 < accuracies[0] < 0.55
    assert 0.94 < accuracies[1] < 0.957
