"""Is every claim of the linear regression lessons true, by NumPy and scikit-learn?"""

import re
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from sklearn.datasets import make_regression
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import StandardScaler
from torch import nn

from conftest import fails, run_changed, script

CASE1, CASE2, CASE3 = (f"linear_regression_case{case}" for case in (1, 2, 3))
SEEDS = pytest.mark.parametrize("seed", [0, 1, 2, 3, 7])


class Problem:
    """A line to be fitted: its best parameters, curvatures and gradient descent."""

    def __init__(self, x, y, mean=True):
        x, self.y = np.ravel(x).astype(float), np.ravel(y).astype(float)
        self.A, self.n = np.column_stack([x, np.ones_like(x)]), len(x) if mean else 1
        self.best = np.linalg.lstsq(self.A, self.y, rcond=None)[0]
        self.flat, self.steep = np.linalg.eigvalsh(2 * self.A.T @ self.A / self.n)

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


def points3(published):
    """The fifteen points, raw and standardised, and how to standardise."""
    x, y = (published[CASE3][key] for key in ("inputs", "targets"))
    scaler = StandardScaler().fit(np.c_[x])
    return Problem(x, y), Problem(scaler.transform(np.c_[x]), y), scaler


def test_case3_arrives(lesson, published):
    """And whoever loads the file gets the best line, without the class."""
    run, (raw, scaled, scaler) = lesson(CASE3), points3(published)
    losses, best = scaled.losses([0, -2], 0.1, 99), scaled.loss(scaled.best)
    assert run.vars["losses"] == pytest.approx(losses, rel=1e-4)
    assert losses[39] < 1.001 * best
    assert [run.vars["loss"], run.vars["best_loss"]] == pytest.approx([best] * 2)
    state = torch.load(run.output / "linear.pth")
    assert list(state) == ["mean", "std", "linear.weight", "linear.bias"]
    mean, std, weight, bias = (value.item() for value in state.values())
    assert [mean, std] == pytest.approx([scaler.mean_.item(), scaler.scale_.item()])
    exact = raw.best @ [8, 1]
    assert weight * (8 - mean) / std + bias == pytest.approx(exact)
    printed = [float(n) for n in re.findall(r"for x = 8 (.+)", run.out)]
    assert printed == pytest.approx([exact] * 3, abs=1e-3)


def test_case3_stands_still(lesson, published):
    run, (raw, scaled, _) = lesson(CASE3), points3(published)
    path = raw.path([0, -2], 1e-4, 1999)
    losses = raw.loss(path)
    assert run.vars["raw_losses"] == pytest.approx(losses, rel=1e-4)
    assert f"loss {losses[-1]:.2f}, best {raw.loss(raw.best):.2f}; change" in run.out
    assert f"last 100 epochs {losses[-1] / losses[-100] - 1:+.1%}\n" in run.out
    assert (np.diff(raw.losses([0, -2], 0.1, 100)) > 0).all()  # would diverge
    for change in ([0, 0], [0.1, -0.6], [0.1, 0.6]):
        line = "weight {:+.1f}, bias {:+.1f}: loss ".format(*change)
        printed = re.search(re.escape(line) + "(.+) raw, (.+) on z", run.out).groups()
        two = [problem.loss(problem.best + change) for problem in (raw, scaled)]
        assert [float(n) for n in printed] == pytest.approx(two, abs=0.006)
    assert scaled.flat == pytest.approx(scaled.steep)


def test_case3_report(lesson, published):
    """Epochs by NumPy; what no rate can do for raw x, and momentum can."""
    run, (raw, scaled, _) = lesson(CASE3), points3(published)
    moving = [np.array([0, -2.0])] * 2
    for _ in range(1999):
        step = raw.path(moving[-1], 0.02, 1)[1] - moving[-1]
        moving.append(moving[-1] + 0.9 * (moving[-1] - moving[-2]) + step)
    curves = [
        raw.losses([0, -2], 0.02, 1999),
        *(scaled.losses([0, -2], rate, 1999) for rate in (1e-4, 0.5)),
        raw.loss(np.array(moving[1:])),
    ]
    rows = re.findall(r"epochs above: +(\d+), last loss: (.+)", run.out)
    *epochs, adam = (int(row[0]) for row in rows)
    expected = [(curve > 1.001 * raw.loss(raw.best)).sum() for curve in curves]
    assert epochs == pytest.approx(expected, rel=0.01)
    assert [float(row[1]) for row in rows[:4]] == pytest.approx(
        [curve[-1] for curve in curves], abs=2e-4
    )
    assert max(adam, epochs[3]) < epochs[0] / 2
    assert 0.02 * raw.steep / 2 == pytest.approx(0.9, abs=0.1)  # 1 is the limit
    ratio, two = raw.steep / raw.flat, np.array([raw.flat, raw.steep])
    best = min(abs(1 - rate * two).max() for rate in np.linspace(0, 0.05, 5001))
    assert best == pytest.approx((ratio - 1) / (ratio + 1), abs=1e-4)  # 0.9941
    heavy = (ratio**0.5 - 1) / (ratio**0.5 + 1)  # 0.8966, at this rate and momentum
    rate, beta = 4 / (two**0.5).sum() ** 2, heavy**2
    steps = [[[1 + beta - rate * c, -beta], [1, 0]] for c in two]
    assert abs(np.linalg.eigvals(steps)).max() == pytest.approx(heavy, abs=1e-6)


@SEEDS
def test_case3_files_and_adam(tmp_path, monkeypatch, seed):
    """Whole models, a file from a GPU, and Adam's first step."""
    torch.manual_seed(seed)
    path, net = tmp_path / "model.pth", type("Net", (nn.Linear,), {})
    monkeypatch.setitem(globals(), "Net", net)
    model = net(1, 5)
    model.weight.grad = 100 * torch.randn(5, 1)
    step = model.weight - 0.1 * model.weight.grad.sign()
    torch.optim.Adam(model.parameters(), lr=0.1).step()
    assert torch.allclose(model.weight, step)
    torch.save(model, path)
    with pytest.raises(UnpicklingError, match="Weights only load failed"):
        torch.load(path)
    monkeypatch.delitem(globals(), "Net")
    with pytest.raises(AttributeError, match="Can't get attribute 'Net'"):
        torch.load(path, weights_only=False)
    monkeypatch.setattr("torch.serialization.location_tag", lambda _: "cuda:99")
    torch.save(model.state_dict(), path)
    with pytest.raises(RuntimeError, match="map_location"):
        torch.load(path)
    assert torch.load(path, map_location="cpu")["weight"].device.type == "cpu"


def test_case3_try_it(lesson, published, tmp_path):
    ((command,), _, answer), (raw, *_) = tasks(CASE3), points3(published)
    assert f"{lesson(CASE3, *command).vars['raw_losses'][-1]:.2f}" in answer
    for rate, needed in ((0.02, 840), (0.001, 17_000)):
        losses = raw.losses([0, -2], rate, 20_000)
        count = (losses > 1.001 * raw.loss(raw.best)).sum()
        assert count == pytest.approx(needed, rel=0.02)
    buffer = 'self.register_buffer("mean", torch.as_tensor(mean))'
    change = (buffer, "self.mean = torch.as_tensor(mean)")
    runs = run_changed(CASE3, tmp_path / "outputs", change), lesson(CASE3)
    changed, usual = (re.search("loaded: .* (.+)", run.out)[1] for run in runs)
    assert f"{changed} instead of {usual}" in answer
