import re

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit
from scipy.stats import entropy, zscore
from sklearn.metrics import log_loss
from torch import nn

from conftest import ROOT, SEEDS, run_changed

ONE, TWO = "logistic_regression_case1", "logistic_regression_case2"
X, Y = np.array([0.6, 1, 3.5, 4]), np.array([0, 0, 1, 1])
AX = np.stack([X, np.ones(4)])


def descend(w, b, lr, epochs):
    losses = []
    for _ in range(epochs):
        z = w * X + b
        losses.append((np.logaddexp(0, z) - Y * z).mean())
        w = w - lr * (expit(z) - Y) @ X / 4
        b = b - lr * (expit(z) - Y).mean()
    return w, b, np.array(losses)


def numbers(text):
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


@SEEDS
def test_case1_arrives(lesson, seed):
    """All four points are right, as NumPy says; with the penalty, as SciPy says."""
    torch.manual_seed(seed)
    w, b, _ = descend(*(p.item() for p in nn.Linear(1, 1).parameters()), 0.1, 1000)
    run, z = lesson(ONE, "--seed", seed), w * X + b
    assert ((z > 0) == Y).all()
    assert "accuracy 1.00, of scikit-learn's LogisticRegression 1.00\n" in run.out
    rows = run.out.partition("epoch 1000")[2].partition("accuracy")[0]
    rows = np.reshape(numbers(rows)[1:], (4, 4))
    assert rows == pytest.approx(np.c_[X, z, expit(z), Y], abs=2e-3)
    loss, twice = ((np.logaddexp(0, z) - Y * z).mean() for z in (z, 2 * z))
    text = run.out.partition("\nloss ")[2].partition("500 epochs")[0]
    best = minimize(
        lambda p: np.sum(np.logaddexp(0, p @ AX) - Y * (p @ AX)) + p[0] ** 2 / 2,
        (1, -2),
    ).x
    assert numbers(text) == pytest.approx([loss, twice, w, b, *best, *best], abs=1e-3)


def test_case1_the_loss(lesson):
    run, out = lesson(ONE), lesson(ONE).out
    printed = numbers(out.partition("0.9933])")[2].partition("saved")[0])
    assert printed == pytest.approx(-np.log([0.99, 0.5, 0.25, 0.01]), abs=1e-4)
    gradients = np.reshape(numbers("".join(re.findall("^logit .*", out, re.M))), (2, 3))
    slopes = expit([2, 20])
    assert gradients[:, 2] == pytest.approx(slopes, abs=0.01)
    assert gradients[:, 1] == pytest.approx([slopes[0], 0], abs=0.01)
    assert expit(np.float32(20)) == np.float32(0.99999999) == 1
    z, y = torch.randn(4, 2), torch.tensor(np.c_[Y, 1 - Y]).float()
    columns = [nn.BCEWithLogitsLoss()(z[:, i], y[:, i]).item() for i in range(2)]
    assert nn.BCEWithLogitsLoss()(z, y).item() == pytest.approx(np.mean(columns))
    lone = {}
    for ax, (epochs, rate) in zip(
        run.figures[-1].axes, [(500, 0.01), (1000, 0.01), (500, 0.1)], strict=True
    ):
        w, b, losses = descend(-1, 0, rate, epochs)
        assert (np.diff(losses) < 0).all()
        wrong = X[(w * X + b > 0) != Y]
        text = f"{epochs} epochs at {rate}: {4 - len(wrong)} of 4 right, "
        text += f"loss {losses[-1]:.2f}, falls each time: True\n"
        assert text in run.out
        assert ax.lines[2].get_xdata() == pytest.approx(wrong)
        lone[epochs, rate] = [*wrong, np.logaddexp(0, w + b)]  # of the point at 1 hour
        assert ax.texts[0].get_text() == f"loss {lone[epochs, rate][-1]:.2f}"
        if rate == 0.01 and epochs == 500:
            assert losses[[0, -1]] == pytest.approx([2.07, 0.41], abs=0.005)
    first, *others = lone.values()
    assert first[0] == 1
    assert first[1] > np.log(2) > max(loss for (loss,) in others)


@SEEDS
def test_case1_answers(lesson, output, seed):
    argv, usual = ("--seed", seed), lesson(ONE, "--seed", seed)
    run = lesson(ONE, "--epochs", 10_000, *argv)
    losses = [float(re.findall("epoch .* (.+)", r.out)[-1]) for r in (usual, run)]
    assert losses == pytest.approx([0.034, 0.0035], rel=0.05)
    weights = [float(re.search(r"\nweight (.+),", r.out)[1]) for r in (usual, run)]
    assert weights == pytest.approx([2.5, 4.2], abs=0.05)
    line = "losses = fit(model, x, y, loss_fn, optimizer, args.epochs, log_every=200)"
    change = line, line.replace("model", "nn.Sequential(model, nn.Sigmoid())")
    run = run_changed(ONE, output, change, *argv)
    floors = np.log1p(np.exp(-1)), np.log(2)  # at z = 1 for label 1, at 0 for 0
    assert [*floors, np.mean(floors)] == pytest.approx(
        [0.3133, 0.6931, 0.5032], abs=1e-4
    )
    losses = re.findall("epoch .* (.+)", run.out)
    assert min(map(float, losses)) > np.mean(floors)


SIGMOID = (1, 1, 0)  # s, k and c of the activation s sigmoid(k z) - c
RUNS = {  # activation, rate, and how many of ten starts leave the baseline
    "sigmoid": (SIGMOID, 0.01, 0),
    "tanh": ((2, 2, 1), 0.01, 10),
    "sigmoid, rate 1": (SIGMOID, 1, 10),
    "rate 0.16": (SIGMOID, 0.16, 10),
    "Adam": (SIGMOID, 0.01, 10),
}


@pytest.fixture(scope="module")
def table():
    raw = np.loadtxt(ROOT / "data/diabetes.csv", delimiter=",", skiprows=1)
    x, y = zscore(raw[:, :8]), raw[:, 8:]
    return x, y, entropy([y.mean(), 1 - y.mean()])


def backprop(table, seed, row, epochs=2000, starts=slice(1, 11)):
    """Train the lesson's network, or its ten starts, by the chain rule."""
    torch.manual_seed(seed)
    p = [[] for _ in range(6)]  # weights and biases, in turn
    for i, shape in enumerate([(8, 6), (6, 4), (4, 1)] * 11):
        for j, drawn in enumerate(nn.Linear(*shape).parameters()):
            p[i % 3 * 2 + j].append(drawn.detach().double().numpy())
    p = [np.stack(drawn[starts]) for drawn in p]
    (x, y, _), ((s, k, c), rate, _), m, v = table, RUNS[row], [0] * 6, [0] * 6
    losses = []
    for t in range(1, epochs + 1):
        h = [x]
        for w, b in zip(p[::2], p[1::2], strict=True):
            z = h[-1] @ w.swapaxes(1, 2) + b[:, None]
            h.append(s * expit(k * z) - c)
        losses.append((np.logaddexp(0, z) - y * z).mean(axis=(1, 2)))
        error = (expit(z) - y) / len(x)
        for i in (4, 2, 0):
            gradients = error.swapaxes(1, 2) @ h[i // 2], error.sum(axis=1)
            error = error @ p[i] * (h[i // 2] + c) * (s - c - h[i // 2]) * k / s
            for j, g in enumerate(gradients, i):
                if row == "Adam":
                    m[j], v[j] = 0.9 * m[j] + 0.1 * g, 0.999 * v[j] + 0.001 * g**2
                    g = m[j] / (1 - 0.9**t) / (np.sqrt(v[j] / (1 - 0.999**t)) + 1e-8)
                p[j] = p[j] - rate * g
    return np.transpose(losses), expit(z)


def curves(run, panel):
    return np.array(
        [line.get_ydata() for line in run.figures[0].axes[panel].lines[:10]]
    )


@pytest.mark.slow
def test_case2_by_the_chain_rule(lesson, table):
    run, (x, _, baseline) = lesson(TWO), table
    assert run.vars["x"].numpy() == pytest.approx(x, abs=1e-5)
    losses, p = backprop(table, 0, "sigmoid", starts=slice(1))
    printed = numbers(run.out.partition("same outputs: True\n")[2].partition("sig")[0])
    logged = [*losses[0, 399::400], losses[0, -1], baseline, p.min(), p.max()]
    assert [*printed[:7], *printed[8:]] == pytest.approx(logged, abs=2e-3)
    for panel, row in enumerate(list(RUNS)[:3]):
        seen, (losses, _) = curves(run, panel), backprop(table, 0, row, 100)
        assert seen[:, :100] == pytest.approx(losses, rel=1e-3)
        assert (seen.min(axis=1) < baseline - 0.02).sum() == RUNS[row][2]
        assert f"\n{row}: {RUNS[row][2]} of 10 starts" in run.out


def test_case2_baseline(lesson, table):
    run, (_, y, baseline) = lesson(TWO, "--epochs", 2), table
    for p in (0.1, y.mean(), 0.5):
        assert f"\n{p:.3f} for all: loss {log_loss(y, y * 0 + p):.3f}\n" in run.out
        assert log_loss(y, y * 0 + p) >= baseline - 1e-9
    assert run.vars["baseline"] == pytest.approx(baseline)


@pytest.mark.slow
@pytest.mark.parametrize("row", RUNS)
def test_case2_holds_for_many_seeds(table, row):
    for seed in (0, 1, 2, 3, 7):
        losses, predictions = backprop(table, seed, row, starts=slice(11))
        assert (losses[1:].min(axis=1) < table[2] - 0.02).sum() == RUNS[row][2]
        if row == "sigmoid":
            assert (np.diff(losses[0]) < 0).all()
            assert losses[0, -1] == pytest.approx(table[2], abs=0.01)
            assert predictions[0] == pytest.approx(table[1].mean(), abs=0.05)


def test_case2_answers(lesson, output, table):
    line = "optimizer = torch.optim.SGD(model.parameters(), lr=rate)"
    adam, few = (line, line.replace("SGD", "Adam")), ("--epochs", 100)
    runs = (lesson(TWO, "--lr", 0.16, *few), run_changed(TWO, output, adam, *few))
    for run, row in zip(runs, ("rate 0.16", "Adam"), strict=True):
        losses, _ = backprop(table, 0, row, 100)
        assert curves(run, 0) == pytest.approx(losses, rel=1e-3)


@pytest.mark.parametrize("n", [200, 40_000])
def test_case2_runs_on_an_own_table_with_a_constant_column(lesson, tmp_path, n):
    x = np.random.default_rng(0).normal(size=n)
    rows = np.c_[np.cos(99 * x), 50 + 9 * x, np.full(n, 3), x > 0]
    np.savetxt(tmp_path / "own.csv", rows, delimiter=",")
    run = lesson(TWO, "--data", tmp_path / "own.csv", "--epochs", 2)
    assert ("\n40000 rows, 3 columns: " in run.out) == (n == 40_000)
    expected = np.c_[zscore(rows[:, :2]), np.zeros(n)]
    assert run.vars["x"].numpy() == pytest.approx(expected, abs=1e-5)
