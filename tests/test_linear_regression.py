"""Is every claim of the linear regression lessons true, by NumPy and scikit-learn?"""

import re

import numpy as np
import pytest
import torch
from sklearn.datasets import make_regression
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from conftest import ROOT, fails, run_changed, script

CASE1, CASE2, CASE3 = (f"linear_regression_case{case}" for case in (1, 2, 3))
SEEDS = pytest.mark.parametrize("seed", [0, 1, 2, 3, 7])


class Problem:
    """A line to be fitted: its best parameters, curvatures and gradient descent."""

    def __init__(self, x, y, mean=True):
        x, self.y = np.ravel(x).astype(float), np.ravel(y).astype(float)
        self.A, self.n = np.column_stack([x, np.ones_like(x)]), len(x) if mean else 1
        self.best = np.linalg.lstsq(self.A, self.y, rcond=None)[0]
        curvatures, self.directions = np.linalg.eigh(2 * self.A.T @ self.A / self.n)
        self.flat, self.steep = curvatures

    def loss(self, points):
        return ((points @ self.A.T - self.y) ** 2).sum(-1) / self.n

    def path(self, start, rate, steps):
        path = [np.array(start)]
        for _ in range(steps):
            errors = self.A @ path[-1] - self.y
            path.append(path[-1] - rate * 2 * self.A.T @ errors / self.n)
        return np.array(path)

    def losses(self, start, rate, steps):
        return self.loss(self.path(start, rate, steps))

    def distances(self, points):  # along the flat and the steep direction
        return ((points - self.best) @ self.directions).T


THREE = Problem([1, 2, 3], [2, 4, 6], mean=False)


def tasks(name):
    """Return the commands, the replacements and the answers of "Try it"."""
    _, _, end = script(name).read_text(encoding="utf-8").partition("# Try it\n")
    task, _, answer = re.sub(r"\s*\n#? *", " ", end).partition("Answers")
    commands = re.findall(rf"``python examples/{name}\.py (.*?)``", task)
    changes = re.findall(r"[Rr]eplace ``(.+?)`` by ``(.+?)``", task)
    return [command.split() for command in commands], changes, answer


def start_of(run):
    start = run.vars["start"]
    values = start.values() if isinstance(start, dict) else start
    return np.array([value.item() for value in values])


def learned(run):
    return [run.vars["weight"], run.vars["bias"]]


def test_case1_published(lesson, published):
    expected, run = published[CASE1], lesson(CASE1, "--published")
    losses = list(expected["loss_by_epoch"].values())
    printed = [float(loss) for loss in re.findall(r"epoch .* loss (.+)", run.out)]
    assert printed == pytest.approx(losses, rel=1e-5)
    assert f"{run.vars['prediction']:.6f}" == "7.690391"


@SEEDS
def test_case1_loop_and_gradient(lesson, seed):
    run = lesson(CASE1, "--seed", seed)
    start = start_of(run)
    assert np.abs(start).max() < 1
    assert start[0] != start_of(lesson(CASE1, "--seed", seed + 1))[0]
    path, h = THREE.path(start, 0.01, 50), np.array([1e-6, 0])
    assert run.vars["losses"] == pytest.approx(THREE.loss(path[:50]), rel=1e-4)
    assert learned(run) == pytest.approx(path[50], rel=1e-4)
    assert run.vars["prediction"] == pytest.approx(path[50] @ [4, 1], rel=1e-4)
    slope = (THREE.loss(start + h) - THREE.loss(start - h)) / 2e-6
    printed = re.search("weight.grad: (.+), by the formula: (.+)", run.out).groups()
    assert [float(number) for number in printed] == pytest.approx([slope] * 2, rel=1e-4)


@SEEDS
def test_case1_falls_fast_and_then_crawls(lesson, seed):
    run = lesson(CASE1, "--seed", seed)
    curvatures = run.vars["flat"], run.vars["steep"]
    assert curvatures == pytest.approx((THREE.flat, THREE.steep), rel=1e-4)
    for rate in (0.008, 0.01, 0.015):
        path = THREE.path(start_of(run), rate, 50)
        losses, (flat, steep) = THREE.loss(path), THREE.distances(path)
        assert losses[5] < losses[0] / 10
        assert losses[49] > 0.75 * losses[40]
        assert abs(steep[40]) < 0.01 * abs(flat[40])  # it crawls without the steep part
    assert 1 - 0.01 * THREE.steep == pytest.approx(2 / 3, abs=1e-3)
    assert 0.99 < 1 - 0.01 * THREE.flat < 1


@SEEDS
def test_case1_limit_and_advice(lesson, seed):
    limit, start = 2 / THREE.steep, start_of(lesson(CASE1, "--seed", seed))
    assert (np.diff(THREE.losses(start, 0.999 * limit, 50)) < 0).all()
    assert THREE.losses(start, 1.001 * limit, 2000)[-1] > THREE.loss(start)
    assert 0.055 < limit < 1.1 * 0.055
    assert (np.diff(THREE.losses(start, 0.061, 50)) > 0).all()  # the loss that rises
    for rate in (0.03, 0.02):  # a half and a third of that
        losses = THREE.losses(start, rate, 50)
        assert (np.diff(losses) < 0).all()
        assert losses[50] < THREE.losses(start, 0.01, 50)[50] / 1.5


@SEEDS
def test_case1_four_rates(lesson, seed):
    run = lesson(CASE1, "--seed", seed)
    rates = run.vars["rates"]
    paths = [THREE.path(start_of(run), rate, 50) for rate in rates]
    losses = np.array([THREE.loss(path) for path in paths])
    for rate, path, curve in zip(rates, paths, losses, strict=True):
        assert run.vars["paths"][rate] == pytest.approx(path, rel=1e-3, abs=1e-3)
        assert run.vars["curves"][rate] == pytest.approx(curve, rel=1e-2)
    assert rates[losses[:, 10].argmin()] == 0.03
    assert rates[losses[:, 50].argmin()] == 0.055
    flat, steep = zip(*map(THREE.distances, paths), strict=True)
    for sign, values in ((1, steep[0]), (-1, steep[2]), (-1, steep[3])):
        assert (np.sign(values[1:] * values[:-1]) == sign).all()
    assert abs(steep[1][1]) < 0.01 * abs(steep[1][0])
    shrinks, grows = (np.diff(np.abs(values)) for values in steep[2:])
    assert max(shrinks) < 0 < min(grows)
    assert abs(flat[2][50]) < abs(flat[1][50]) < abs(flat[0][50])


def test_case1_try_it(lesson, tmp_path):
    commands, (change,), answer = tasks(CASE1)
    below, above, slow, fast = (lesson(CASE1, *c).vars["losses"] for c in commands)
    assert min(np.diff(above)) > 0 > max(np.diff(below))
    assert below[-1] > 31 > 0.3 > lesson(CASE1).vars["losses"][-1]
    assert 1 - 0.06 * THREE.steep == pytest.approx(-0.997, abs=5e-4)
    slow, fast = (int(np.argmax(np.array(run) < 0.001)) for run in (slow, fast))
    assert f"Epoch {slow} with 0.01 and epoch {fast} with 0.03" in answer
    assert slow / fast == pytest.approx(3, rel=0.02)
    losses = run_changed(CASE1, tmp_path / "outputs", change).vars["losses"]
    assert (np.diff(np.sign(np.diff(losses))) != 0).sum() > 10  # up, down, up, ...
    assert max(losses[-10:]) > 0.9 * max(losses)
    assert learned(lesson(CASE1, "--epochs", 3000)) == pytest.approx([2, 0], abs=1e-4)


def data2(seed, n=1000):
    x, y = make_regression(1000, 1, noise=10, random_state=seed)
    return x[:n].ravel(), y[:n]


@SEEDS
def test_case2_line(lesson, seed):
    run, problem = lesson(CASE2, "--seed", seed), Problem(*data2(seed))
    point, best = problem.path(start_of(run), 0.01, 200)[-1], run.vars["best"]
    assert learned(run) == pytest.approx(point, abs=1e-3)
    assert run.vars["final_loss"] == pytest.approx(problem.loss(point), rel=1e-4)
    assert run.vars["best_loss"] == pytest.approx(problem.loss(problem.best))
    assert [best.coef_[0], best.intercept_] == pytest.approx(problem.best)
    assert abs(best.coef_[0] - run.vars["true_weight"]) > 0.01
    x, y, weight = make_regression(1000, 1, coef=True, random_state=seed)  # no noise
    assert LinearRegression().fit(x, y).coef_ == pytest.approx([float(weight)])
    few, many = (Problem(*data2(seed, n), mean=False) for n in (100, 1000))
    assert many.steep / few.steep == pytest.approx(10, rel=0.2)
    assert 2 / run.vars["limit"] == pytest.approx(many.steep)
    assert many.steep == pytest.approx(1000 * problem.steep)  # sum and mean


@SEEDS
def test_case2_forgotten_axis(lesson, seed):
    run, (x, y) = lesson(CASE2, "--seed", seed), data2(seed, 100)
    pairs = Problem(np.repeat(x, 100), np.tile(y, 100))
    assert pairs.best == pytest.approx([0, y.mean()], abs=1e-9)
    with pytest.warns(UserWarning, match="size"):
        nn.MSELoss()(torch.zeros(3, 1), torch.zeros(3))
    right, wrong = (np.polyfit(x, v.ravel(), 1) for v in run.vars["lines"].values())
    path = pairs.path(start_of(run), 0.01, 200)
    assert wrong == pytest.approx(path[200], abs=1e-3)
    assert run.vars["curve"] == pytest.approx(pairs.loss(path[:200]), rel=1e-4)
    assert right[0] > 0.9 * run.vars["true_weight"]
    for rate in (0.005, 0.01, 0.02):
        path = pairs.path(start_of(run), rate, 200)
        assert abs(path[200, 0]) < 0.2
        assert (np.diff(pairs.loss(path)) < 0).all()


def test_case2_try_it(lesson, tmp_path, capsys):
    commands, (loss, dtype), answer = tasks(CASE2)
    default, slow, fast = (lesson(CASE2, *c).vars for c in ([], *commands))
    assert default["tensor"].tolist() == default["array"].tolist() == [7, 0, 0]
    assert not np.shares_memory(default["x"].numpy(), default["features"])
    final = default["final_loss"]
    assert f"{slow['final_loss']:.2f} instead of {final:.2f}" in answer
    losses = Problem(*data2(0)).losses(start_of(lesson(CASE2)), 1e-3, 2100)
    assert f"{np.argmax(losses <= final):,} epochs give the same" in answer
    assert fast["final_loss"] == pytest.approx(default["best_loss"], rel=1e-5)
    assert f"{default['limit']:.5f}" in answer
    fails(capsys, ["loss"], run_changed, CASE2, tmp_path / "outputs", loss)
    run = run_changed(CASE2, tmp_path / "outputs", loss, "--lr", "1e-5")
    assert learned(run) == pytest.approx(learned(lesson(CASE2)), rel=1e-3)
    with pytest.raises(RuntimeError, match=answer.split("``")[3]):
        run_changed(CASE2, tmp_path / "outputs", dtype)


def data3(published):
    x, y = (published[CASE3][key] for key in ("inputs", "targets"))
    scaled = StandardScaler().fit_transform(np.c_[x]).ravel()
    return [Problem(v, y) for v in (x, x - np.mean(x), scaled)]


def test_case3_published(lesson, published):
    expected, run = published[CASE3], lesson(CASE3, "--published")
    printed = dict(re.findall(r"epoch +(\d+) +loss (.+)", run.out))
    for epoch, loss in expected["loss_by_epoch"].items():
        assert float(printed[epoch]) == pytest.approx(loss, rel=1e-5)
    points = torch.cat([run.vars["x"], run.vars["y"]]).flatten().tolist()
    assert points == pytest.approx(expected["inputs"] + expected["targets"])
    best = [run.vars[name] for name in ("best_weight", "best_bias", "best_loss")]
    assert best == pytest.approx([*expected["least_squares"].values()], rel=1e-5)
    raw = data3(published)[0]
    assert best == pytest.approx([*raw.best, raw.loss(raw.best)], rel=1e-5)


@SEEDS
def test_case3_stands_still(lesson, published, seed):
    run, (raw, _, scaled) = lesson(CASE3, "--seed", seed), data3(published)
    path = raw.path(start_of(run), 1e-4, 2000)
    assert learned(run) == pytest.approx(path[2000], rel=1e-3)
    flat, steep = raw.distances(path)
    assert flat[-1] / flat[0] == pytest.approx(0.95, abs=1e-3)
    assert abs(steep[-1] / steep[0]) < 1e-6
    for rate in (5e-5, 1e-4, 2e-4):
        losses = raw.losses(start_of(run), rate, 2000)
        assert 0 < 1 - losses[-1] / losses[-101] < 0.01
        assert losses[-1] > 1.01 * raw.loss(raw.best)
        assert scaled.losses(start_of(run), rate, 2000)[-1] > 2 * raw.loss(raw.best)


@SEEDS
def test_case3_cure(lesson, published, seed):
    run, problems, needed = lesson(CASE3, "--seed", seed), data3(published), []
    for problem, (label, curve) in zip(problems, run.vars["curves"][1:], strict=True):
        losses = problem.losses(start_of(run), 1 / problem.steep, len(curve))
        assert curve == pytest.approx(losses[:-1], rel=1e-3)
        needed.append(np.argmax(losses <= 1.001 * problem.loss(problem.best)))
        ratio, name = problem.steep / problem.flat, label.partition(",")[0]
        row = rf"{name} .* {ratio:.1f}  {1 / problem.steep:.4f} +{needed[-1]}\n"
        assert re.search(row, run.out)
    assert needed[0] > 10 * needed[1] > 10 * needed[2] == 10
    assert needed[0] > 200  # many more
    raw, centred, scaled = (problem.steep / problem.flat for problem in problems)
    assert raw > 50 * centred > 50 * scaled == pytest.approx(50)
    assert np.prod(problems[0].directions[:, 0]) < 0  # flat: one up, the other down
    state = torch.load(run.output / "linear.pth", weights_only=True).values()
    assert [v.item() for v in state] == pytest.approx(problems[0].best, rel=1e-4)
    assert run.vars["equal"]


def test_case3_try_it(lesson, published, tmp_path, capsys):
    (seed3, below, above), (change,), answer = tasks(CASE3)
    losses, raw = lesson(CASE3, *seed3).vars["losses"], data3(published)[0]
    assert 2 * raw.loss(raw.best) < losses[-1] > 0.997 * losses[-100]
    assert f"2 / {raw.steep:.3f} = {2 / raw.steep:.4f}" in answer
    assert learned(lesson(CASE3, *below)) == pytest.approx(raw.best, rel=1e-3)
    fails(capsys, ["0.024"], lesson, CASE3, *above)
    words = ["linear.pth", "weight", "[1, 1]", "[1, 2]"]
    fails(capsys, words, run_changed, CASE3, tmp_path / "outputs", change)
    assert "torch>=2.10," in (ROOT / "requirements.txt").read_text()
