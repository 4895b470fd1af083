import re

import numpy as np
import pytest

from conftest import SEEDS, run_changed

NAME = "overfitting"


class Problem:
    """The rows of a run, and each epoch's weights by the eigenvectors of X'X."""

    def __init__(self, v, epochs=2000, rate=0.03):
        self.x, self.y, self.vx, self.vy, self.true = (
            v[name].double().numpy().squeeze()
            for name in ("x", "y", "validation_x", "validation_y", "true_weights")
        )
        self.curvatures, self.axes = np.linalg.eigh(2 * self.x.T @ self.x / len(self.x))
        left = 1 - (1 - rate * self.curvatures) ** np.arange(epochs + 1)[:, None]
        self.path = left * (self.axes.T @ self.ridge(0)) @ self.axes.T

    def ridge(self, alpha):
        a = self.x.T @ self.x + np.diag(np.broadcast_to(alpha, 80))
        return np.linalg.solve(a, self.x.T @ self.y)

    def loss(self, weights):
        return ((weights @ self.x.T - self.y) ** 2).mean(-1)

    def validation(self, weights):
        return ((weights @ self.vx.T - self.vy) ** 2).mean(-1)

    def expected(self, weights):
        return 1 + ((weights - self.true) ** 2).sum(-1)


def weights(model):
    return model.weight.detach().double().numpy()[0]


@SEEDS
def test_curves(lesson, seed):
    v = lesson(NAME, "--seed", seed).vars
    problem = Problem(v)
    assert problem.true @ problem.true == pytest.approx(9)
    assert 0.08 < 0.03 * problem.curvatures[-1] / 2 < 0.13  # a tenth of the limit
    for name, formula in (
        ("losses", problem.loss),
        ("validation_losses", problem.validation),
        ("errors", problem.expected),
    ):
        assert v[name] == pytest.approx(formula(problem.path[:-1]), rel=1e-4)
    assert (np.diff(problem.loss(problem.path)) < 0).all()
    assert v["losses"][-1] < 0.4
    for curve in (v["validation_losses"], v["errors"]):
        assert curve[-1] > min(curve) + 0.2
        assert curve[0] > min(curve) + 2


@SEEDS
def test_cures(lesson, seed):
    """The copy is the best by validation; weight decay is ridge; losses on new rows."""
    run = lesson(NAME, "--seed", seed)
    v, problem = run.vars, Problem(run.vars)
    assert "alias is the last model: True\nbest is the last model: False\n" in run.out
    by_validation = problem.validation(problem.path)
    best = by_validation.argmin() + 1
    assert v["best_epoch"] == pytest.approx(best, abs=5)  # it is flat there
    assert f"stopped in epoch {v['best_epoch'] + 100}; by" in run.out
    assert v["lowest"] == pytest.approx(by_validation.min(), rel=1e-4)
    assert weights(v["stopped"]) == pytest.approx(problem.path[best - 1], abs=5e-3)
    assert weights(v["decayed"]) == pytest.approx(problem.ridge(10), abs=1e-4)
    printed = re.findall(r"expected error (\d.+)$", run.out, re.M)
    models, fresh = (
        (v["stopped"], v["decayed"], v["dropped"][1]),
        v["make_rows"](10_000),
    )
    for text, model in zip(printed, models, strict=True):
        exact = problem.expected(weights(model))
        assert float(text) == pytest.approx(exact, abs=1e-3)
        assert v["loss_on"](*fresh, model) == pytest.approx(exact, rel=0.06)


@SEEDS
def test_dropout(lesson, seed):
    """Losses in train mode have the penalty; predictions have the spread."""
    run = lesson(NAME, "--seed", seed)
    v, problem = run.vars, Problem(run.vars)
    trained, share = weights(v["dropped"][1]), 0.1 / 0.9
    table = re.findall(r"^(train|eval) +(no|yes) +(\w+) +(.+), (.+)", run.out, re.M)
    assert [row[2] for row in table] == ["True", "False"] * 2
    mean = problem.vx[0] @ trained
    spread = (share * (trained * problem.vx[0]) ** 2).sum() ** 0.5
    for row, exact in zip(table, [spread, spread, 0, 0], strict=True):
        assert float(row[3]) == pytest.approx(mean, abs=0.05 * exact + 1e-3)
        assert float(row[4]) == pytest.approx(exact, rel=0.05)
    pattern = r"loss (.+), standard error (.+)\n.*loss (.+), plus .*y (.+)\n.*loss (.+)"
    noisy, error, *rest = map(float, re.search(pattern, run.out).groups())
    w = problem.true
    total = problem.loss(w) + (share * w**2 * (problem.x**2).mean(0)).sum()
    exact = [problem.loss(w), total, problem.validation(w)]
    assert rest == pytest.approx(exact, abs=2e-3)
    assert noisy == pytest.approx(total, abs=5 * error)
    assert error < 0.02
    assert problem.validation(w) < noisy - 0.5
    decayed = problem.ridge(100 * share * (problem.x**2).mean(0))
    assert trained == pytest.approx(decayed, abs=0.15)


@SEEDS
def test_try_it(lesson, output, seed):
    v = lesson(NAME, "--rows", 1000, "--seed", seed).vars
    best = Problem(v).ridge(0)
    assert v["losses"][-1] == pytest.approx(Problem(v).loss(best), rel=1e-3)
    assert v["losses"][-1] == pytest.approx(0.92, abs=0.17)  # four standard errors
    assert v["errors"][-1] == pytest.approx(1.09, abs=0.06)
    for model in v["decayed"], v["dropped"][1]:
        assert Problem(v).expected(weights(model)) > v["errors"][-1]
    run = run_changed(NAME, output, ("\nmodel.eval()\n", "\n"), "--seed", seed)
    pattern = r"eval mode: training loss (.+), plus .*y (.+)\n.*loss (.+)"
    usual, changed = (
        np.array(re.findall(pattern, out), float)
        for out in (lesson(NAME, "--seed", seed).out, run.out)
    )
    assert (changed > usual + 0.2).all()
