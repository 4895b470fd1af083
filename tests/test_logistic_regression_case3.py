"""Logistic regression 3: its runs by NumPy, and what its prose says."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss

from checkpoint import load
from conftest import ROOT, run_changed, script

NAME = "logistic_regression_case3"
SAMPLE, SLOW = ("--sample", "--seed"), pytest.mark.slow
LATE = [(*SAMPLE, seed) for seed in (2, 3, 7)] + [("--seed", seed) for seed in (0, 1)]
LATE = [pytest.param(argv, marks=SLOW) for argv in LATE]


@pytest.fixture(params=[(*SAMPLE, 0), (*SAMPLE, 1), *LATE], ids=str)
def seen(lesson, request):
    run = lesson(NAME, *request.param)
    run.seed, run.full = request.param[-1], len(request.param) == 2
    run.data = [run.vars[f"{a}_{b}"].numpy() for a in ("train", "test") for b in "xy"]
    return run


def sgd(start, x, y, lr, parts):
    """Softmax regression by its formula; yields logits, w and b after each step."""
    w, b = (p.detach().numpy().copy() for p in start.parameters())
    for rows in (part.numpy() for part in parts):
        logits = x[rows] @ w.T + b
        error = softmax(logits, axis=1) - np.eye(10, dtype="f4")[y[rows]]
        w -= lr * error.T @ x[rows] / len(rows)
        b -= lr * error.mean(axis=0)
        yield logits, w, b


def epochs(n, number):
    return [torch.randperm(n).split(64) for _ in range(number)]


def test_first_epochs_and_the_references(seen):
    (x, y, *test), history = seen.data, np.array(seen.vars["history"])
    torch.manual_seed(seen.seed)
    start, parts = torch.nn.Linear(784, 10), epochs(len(x), 3)
    steps = sgd(start, x, y, 1e-3, sum(parts, ()))
    for row, part in zip(history[:3], parts, strict=True):
        logits, (*_, w), (*_, b) = zip(*(next(steps) for _ in part), strict=True)
        of_test = (test[0] @ w.T + b, test[1])
        sets = (np.concatenate(logits), y[torch.cat(part)]), of_test
        metrics = [
            (log_loss(k, softmax(z.astype(float), axis=1)), (z.argmax(1) == k).mean())
            for z, k in sets
        ]
        atol = [0, 1.1e-3] * 2  # accuracies: an image of 1,000
        assert np.allclose(row, np.ravel(metrics), rtol=1e-5, atol=atol)
    assert ("\npublished " in seen.out) == (seen.full and seen.seed == 0)
    assert history[0, 0] > history[0, 2]
    assert history[-1, 2] > max(history[-1, 0], seen.full * 0.4492 + 0.05)
    assert history[-1, 2] < history[-11, 2]
    if seen.full and seen.seed == 0:
        fit = LogisticRegression(tol=1e-6, max_iter=10_000).fit(x, y)
        best = [
            (log_loss(k, fit.predict_proba(z)), fit.score(z, k))
            for z, k in ((x, y), test)
        ]
        assert seen.vars["converged"] == pytest.approx(np.ravel(best), abs=0.0005)


def test_validation_chooses_a_rate_of_a_tenth(seen):
    """At rate 1 rounding grows, so that only an order is sure."""
    run, (x, y, *_) = seen.vars, seen.data
    held_out, kept = run["held_out"].numpy(), run["kept"].numpy()
    assert len(held_out) == len(x) // 6
    assert sorted([*held_out, *kept]) == list(range(len(x)))
    torch.manual_seed(seen.seed)
    parts, mean, swing = sum(epochs(len(kept), 5), ()), {}, {}
    for lr in (0.001, 0.01, 0.1, 1.0):
        curve = []
        steps = sgd(run["untrained"], x[kept], y[kept], lr, parts)
        for step, (_, w, b) in enumerate(steps, 1):
            if step % -(-len(parts) // 100) == 0 or step == len(parts):
                right = (x[held_out] @ w.T + b).argmax(1) == y[held_out]
                curve.append(right.mean())
        mean[lr], swing[lr] = np.mean(curve[-20:]), np.ptp(curve[-20:])
        assert lr == 1 or run["means"][lr] == pytest.approx(mean[lr], abs=1e-3)
    assert run["best_lr"] == max(mean, key=mean.get) == 0.1
    assert mean[0.001] < mean[0.01] < mean[0.1]
    assert swing[0.1] > max(0.01, swing[0.01])
    assert swing[1.0] > swing[0.1]
    torch.manual_seed(seen.seed)
    *_, (_, w, b) = sgd(run["untrained"], x, y, 0.1, sum(epochs(len(x), 5), ()))
    assert run["chosen"].weight.detach().numpy() == pytest.approx(w, abs=1e-3)


def test_weights_and_metrics_of_the_saved_model(seen):
    run, (x, _, test_x, test_y) = seen.vars, seen.data
    w, b = (v.double().numpy() for v in load(seen.output / "logistic.pth").values())
    p = softmax(test_x @ w.T + b, axis=1)
    assert run["test_accuracy"] == accuracy_score(test_y, p.argmax(1))
    assert run["test_loss"] == pytest.approx(log_loss(test_y, p), rel=1e-5)
    confusion = confusion_matrix(test_y, p.argmax(1))
    assert (run["confusion"] == confusion).all()
    errors = confusion - np.diag(np.diag(confusion))
    tops = [0, 2, 4, 6]  # T-shirt/top, pullover, coat and shirt
    assert errors[np.ix_(tops, tops)].sum() > errors.sum() / 2
    assert w[1].reshape(28, 28)[14:, 13:15].mean() < 0  # between the trouser legs
    corners = [0, 27, 28 * 27, 28 * 28 - 1]
    assert (x[:, corners] > 0).mean(axis=0).max() < 1 / 200
    change = abs(w - run["untrained"].weight.detach().numpy())
    assert change[:, corners].mean() < change.mean() / 20


def test_try_it_2_a_batch_of_all_images(lesson):
    options = [], ["--batch-size", 4000], ["--batch-size", 4000, "--lr", 0.063]
    runs = [lesson(NAME, *SAMPLE, 0, *argv).vars["history"] for argv in options]
    usual, low, scaled = (history[-1][3] for history in runs)
    assert low < 0.5 < scaled == pytest.approx(usual, abs=0.01)


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(s, marks=SLOW) for s in (1, 2, 3, 7))]
)
def test_try_it_3_a_rate_that_falls_to_zero(lesson, output, seed):
    line = "part = steps[i : i + every]\n"
    more = 'optimizer.param_groups[0]["lr"] = lr * (1 - i / len(steps))'
    assert f"``{more}``" in script(NAME).read_text("utf-8")
    options, change = (*SAMPLE, seed), (line, f"{line}        {more}\n")
    usual = lesson(NAME, *options).vars["curves"]
    falling = run_changed(NAME, output, change, *options, "--epochs", 1).vars
    before, after = (np.ptp(c[0.1][-20:]) for c in (usual, falling["curves"]))
    assert after < before / 2
    assert falling["best_lr"] == 1


@SLOW
def test_the_model_that_comes_with_the_next_lesson_is_that_of_this_run(lesson):
    given = torch.load(ROOT / "data/fashion_mnist_linear.pth", weights_only=True)
    trained = lesson(NAME, "--seed", 0).vars["chosen"].state_dict()
    for name, value in trained.items():
        assert torch.allclose(given[name], value, atol=1e-3)
