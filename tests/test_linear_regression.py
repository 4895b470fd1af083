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


@SEEDS
def test_case1_words_beside_numbers(lesson, seed):
    """The gradient is a derivative; a step goes against it; the loop arrives."""
    run = lesson(CASE1, "--seed", seed)
    torch.manual_seed(seed)
    start = np.array([p.item() for p in nn.Linear(1, 1).parameters()])
    loss, h = THREE.loss(start), np.array([1e-6, 0])
    slope = (THREE.loss(start + h) - THREE.loss(start - h)) / 2e-6
    printed = re.findall(r"^(?:loss|after backward\(\):|measured:) (.+)", run.out, re.M)
    assert [float(n) for n in printed] == pytest.approx([loss, slope, slope], abs=0.2)
    assert "before backward(): None\n" in run.out
    numbers = re.search(r"one step: (.+), by hand: (.+)", run.out).groups()
    step = start[0] - 0.03 * slope
    assert [float(n) for n in numbers] == pytest.approx([step] * 2, abs=2e-4)
    assert run.vars["start"] == start.tolist()
    path = THREE.path(start, 0.03, 200)
    assert run.vars["losses"] == pytest.approx(THREE.loss(path[:200]), rel=1e-2)
    late = np.array(run.vars["losses"][10:100])
    assert late[1:] / late[:-1] == pytest.approx((1 - 0.03 * THREE.flat) ** 2, rel=0.01)
    assert learned(run) == pytest.approx([2, 0], abs=0.05)
    exact = re.search(r"prediction for 4: (.+) \(exact: 8\)", run.out)[1]
    assert float(exact) == pytest.approx(8, abs=0.03)


def test_case1_the_rate_on_a_parabola(lesson):
    """The weights, by NumPy and by the factors in the text."""
    run, x = lesson(CASE1), np.array([1.0, 2, 3])
    for rate, factor in ((0.01, 0.72), (0.03, 0.16), (0.055, -0.54), (0.075, -1.1)):
        assert 1 - 28 * rate == pytest.approx(factor)
        w = [0.0]
        for _ in range(5):
            w.append(w[-1] - rate * 2 * ((w[-1] - 2) * x) @ x)
        assert 2 - np.array(w) == pytest.approx(2 * factor ** np.arange(6))
        printed = re.search(rf"rate {rate}: weight (.+)", run.out)[1].split()
        assert [float(n) for n in printed] == pytest.approx(w, abs=2e-3)
    losses = [14 * (w - 2) ** 2 for w in run.vars["path"]]
    assert losses == sorted(losses)  # at the last rate


@SEEDS
def test_case1_try_it(lesson, tmp_path, seed):
    """The answers, and the advice: a third of a rate at which the loss grows."""
    output, argv = tmp_path / "outputs", ("--seed", seed)
    usual, (command, *_) = lesson(CASE1, *argv).vars["losses"], tasks(CASE1)[0]
    third = lesson(CASE1, *command, *argv).vars["losses"]
    assert third[-1] == pytest.approx(usual[-1], rel=0.25)
    if seed == 0:
        assert f"before, {usual[-1]:.4f}." in tasks(CASE1)[2]
    line, update = (
        "    optimizer.zero_grad()  # clear the old gradients\n",
        "    optimizer.step()",
    )
    code = script(CASE1).read_text("utf-8")
    loop = code[code.index("losses = []") : code.index("    losses.append(")]
    bare, call = loop.replace(line, ""), "    optimizer.zero_grad()\n"
    losses = [
        run_changed(CASE1, output, (loop, other), *argv).vars["losses"]
        for other in (
            bare.replace("    prediction =", f"{call}    prediction ="),  # the top
            bare + call,
            bare.replace(update, call + update),
            bare,
        )
    ]
    assert losses[0] == losses[1] == usual
    assert len(set(losses[2])) == 1  # nothing moves
    assert (np.diff(np.sign(np.diff(losses[3]))) != 0).sum() > 100  # up, down, up, ...
    assert max(losses[3][-20:]) > 0.9 * max(losses[3])
    torch.manual_seed(seed)
    start = [p.item() for p in nn.Linear(1, 1).parameters()]
    for grows in (0.062, 0.07, 0.1):
        assert (np.diff(THREE.losses(start, grows, 200)[5:]) > 0).all()
        assert (np.diff(THREE.losses(start, grows / 3, 200)) < 0).all()


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
