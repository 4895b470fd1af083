import re
from pickle import UnpicklingError

import numpy as np
import pytest
import torch
from sklearn.datasets import make_regression
from sklearn.preprocessing import StandardScaler
from torch import nn

from conftest import SEEDS, run_changed, script

CASE1, CASE2, CASE3 = (f"linear_regression_case{case}" for case in (1, 2, 3))


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
    _, _, end = script(name).read_text(encoding="utf-8").partition("# Try it\n")
    task, _, answer = re.sub(r"\s*\n#? *", " ", end).partition("Answers")
    commands = re.findall(rf"``python examples/{name}\.py (.*?)``", task)
    changes = re.findall(r"[Rr]eplace ``(.+?)`` by ``(.+?)``", task)
    return [command.split() for command in commands], changes, answer


def draw(seed):
    torch.manual_seed(seed)
    return np.array([p.item() for p in nn.Linear(1, 1).parameters()])


def numbers(pattern, run):
    return np.array(re.findall(pattern, run.out, re.M), float)


@SEEDS
def test_case1_words_beside_numbers(lesson, seed):
    """The gradient is a derivative; a step goes against it; the loop arrives."""
    run, start = lesson(CASE1, "--seed", seed), draw(seed)
    loss, h = THREE.loss(start), np.array([1e-6, 0])
    slope = (THREE.loss(start + h) - THREE.loss(start - h)) / 2e-6
    printed = numbers(r"^(?:loss|after backward\(\):|measured:) (.+)", run)
    assert printed == pytest.approx([loss, slope, slope], abs=0.2)
    assert "before backward(): None\n" in run.out
    steps = numbers(r"one step: (.+), by hand: (.+)", run)[0]
    assert steps == pytest.approx(start[0] - 0.03 * slope, abs=2e-4)
    assert run.vars["start"] == start.tolist()
    path = THREE.path(start, 0.03, 200)
    assert run.vars["losses"] == pytest.approx(THREE.loss(path[:200]), rel=1e-2)
    late = np.array(run.vars["losses"][10:100])
    assert late[1:] / late[:-1] == pytest.approx((1 - 0.03 * THREE.flat) ** 2, rel=0.01)
    assert [run.vars["weight"], run.vars["bias"]] == pytest.approx([2, 0], abs=0.05)
    assert numbers(r"for 4: (.+) \(exact: 8\)", run) == pytest.approx(8, abs=0.03)


def test_case1_the_rate_on_a_parabola(lesson):
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
def test_case1_try_it(lesson, output, seed):
    """The answers, and the advice: a third of a rate at which the loss grows."""
    argv = ("--seed", seed)
    usual, (command, *_) = lesson(CASE1, *argv).vars["losses"], tasks(CASE1)[0]
    third = lesson(CASE1, *command, *argv).vars["losses"]
    assert third[-1] == pytest.approx(usual[-1], rel=0.25)
    if seed == 0:
        assert f"before, {usual[-1]:.4f}." in tasks(CASE1)[2]
    _, _, loop = script(CASE1).read_text("utf-8").partition("args.epochs + 1):\n")
    predict, loss, zero, backward, step = lines = loop.splitlines(keepends=True)[:5]
    assert "zero_grad" in zero
    losses = []
    for place in (0, 4, 3, None):
        order = [predict, loss, backward, step]
        if place is not None:
            order.insert(place, zero)
        change = "".join(lines), "".join(order)
        losses.append(run_changed(CASE1, output, change, *argv).vars["losses"])
    assert losses[0] == losses[1] == usual
    assert len(set(losses[2])) == 1  # nothing moves
    assert (np.diff(np.sign(np.diff(losses[3]))) != 0).sum() > 100  # up, down, up, ...
    assert max(losses[3][-20:]) > 0.9 * max(losses[3])
    for grows in (0.062, 0.07, 0.1):
        assert (np.diff(THREE.losses(draw(seed), grows, 200)[5:]) > 0).all()
        assert (np.diff(THREE.losses(draw(seed), grows / 3, 200)) < 0).all()


@SEEDS
def test_case2_lines(lesson, seed):
    run = lesson(CASE2, "--seed", seed)
    x, y = make_regression(1000, 1, noise=10, random_state=seed)
    problem, pairs = Problem(x, y), Problem(np.repeat(x, 1000), np.tile(y, 1000))
    rows = numbers(r"weight (.+), bias (.+), loss (.+)", run)
    off = rows - [*problem.best, problem.loss(problem.best)]
    assert off * [10, 10, 1] == pytest.approx(0, abs=0.0151)  # half a unit, and one
    loss, prediction = numbers(r"^(?:loss|prediction) (.+), .* (.+)$", run)
    assert pairs.best == pytest.approx([0, y.mean()], abs=1e-9)
    assert loss == pytest.approx(y.var(), rel=1e-3)
    assert prediction == pytest.approx(y.mean(), abs=2e-3)
    once = lesson(CASE2, "--seed", seed, "--epochs", 1).vars
    for what, model in ((problem, once["model"]), (pairs, once["wrong"])):
        step = [p.item() for p in model.parameters()]
        assert step == pytest.approx(what.path(draw(seed), 0.1, 1)[1], rel=1e-3)


def test_case2_words(lesson):
    run = lesson(CASE2)
    model, x, weight = (run.vars[name] for name in ("model", "x", "weight"))
    assert f"[7.0, 0.0, 0.0], weight 7.0, copy {weight}\n" in run.out
    assert model.linear.weight.item() == weight
    assert not np.shares_memory(x.numpy(), run.vars["features"])
    assert torch.equal(model(x), model.forward(x))
    text = run.out[run.out.index("Traceback") :].partition("\n\n")[0]
    assert re.search("\nRuntimeError: .* same dtype.* Double and Float$", text)
    ours = re.findall(rf'File "{CASE2}.py", .+, in (.+)\n +(.+)', text)
    call = "model(torch.from_numpy(features))"
    assert ours == [("<module>", call), ("forward", "return self.linear(x)")]
    three = torch.tensor([1.0, 2, 3])
    assert np.array_equal(run.vars["table"], np.subtract.outer(three, three))
    with pytest.warns(UserWarning, match="Using a target size .* that is different to"):
        nn.MSELoss()(three[:, None], three)


@SEEDS
def test_case2_try_it(lesson, output, seed):
    (command,), (change,), answer = tasks(CASE2)
    usual = lesson(CASE2, "--seed", seed).vars["weight"]
    weight = lesson(CASE2, *command, "--seed", seed).vars["weight"]
    assert weight == pytest.approx(0.89 * usual, rel=0.05)
    assert seed or f"scikit-learn's, {weight:.0f}" in answer
    run = run_changed(CASE2, output, change, "--seed", seed)
    assert re.findall(r"epoch +[3-9]\d* .*loss (.+)", run.out)[-1] == "nan"
    rate = re.search(r"--lr ([^`]+)", answer)[1]
    run = run_changed(CASE2, output, change, "--seed", seed, "--lr", rate)
    assert run.vars["weight"] == pytest.approx(usual, rel=1e-4)


@SEEDS
def test_case2_three_faults(capsys, lesson, seed):
    code, v = script(CASE2).read_text("utf-8"), {**lesson(CASE2).vars}
    program, _, end = code[code.index("def train():") :].partition("yours = None\n")
    x, zero, y = re.findall("^#        (.+)", end, re.M)
    typed = re.sub("x = .*", x, program)
    cleared = typed.replace("loss.backward()", f"{zero}\n        loss.backward()")
    repaired = re.sub("y = .*", y, cleared)
    call = f"yours = train()\n{end.partition('# %%')[0]}"
    with pytest.raises(RuntimeError, match="same dtype"):
        exec(program + call, v)
    outs, losses = [], []
    for new in (typed, cleared, repaired):
        torch.manual_seed(seed)
        exec(new + call, v)
        outs.append(capsys.readouterr().out)
        losses.append([float(loss) for loss in re.findall("loss (.+)", outs[-1])])
    assert np.ptp(losses[0]) > 1 < losses[0][-1] - 7.2
    assert losses[1][-1] == pytest.approx(9 * np.linspace(0, 3, 31).var())
    assert losses[2][-1] == 0
    assert "differs by" in outs[1]
    assert outs[2].endswith("weight and bias: right\n")


def points3(published):
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
    assert numbers(r"for x = 8 (.+)", run) == pytest.approx([exact] * 3, abs=1e-3)


def test_case3_stands_still(lesson, published):
    run, (raw, scaled, _) = lesson(CASE3), points3(published)
    losses = raw.losses([0, -2], 1e-4, 1999)
    assert run.vars["raw_losses"] == pytest.approx(losses, rel=1e-4)
    assert f"loss {losses[-1]:.2f}, best {raw.loss(raw.best):.2f}; change" in run.out
    assert f"last 100 epochs {losses[-1] / losses[-100] - 1:+.1%}\n" in run.out
    assert (np.diff(raw.losses([0, -2], 0.1, 100)) > 0).all()  # would diverge
    for change in ([0, 0], [0.1, -0.6], [0.1, 0.6]):
        two = [problem.loss(problem.best + change) for problem in (raw, scaled)]
        line = re.escape("weight {:+.1f}, bias {:+.1f}: loss ".format(*change))
        (printed,) = numbers(line + "(.+) raw, (.+) on z", run)
        assert printed == pytest.approx(two, abs=0.006)
    assert scaled.flat == pytest.approx(scaled.steep)
    moving = [np.array([0, -2.0])] * 2
    for _ in range(1999):
        step = raw.path(moving[-1], 0.02, 1)[1] - moving[-1]
        moving.append(moving[-1] + 0.9 * (moving[-1] - moving[-2]) + step)
    curves = [
        raw.losses([0, -2], 0.02, 1999),
        *(scaled.losses([0, -2], rate, 1999) for rate in (1e-4, 0.5)),
        raw.loss(np.array(moving[1:])),
    ]
    epochs, last = numbers(r"epochs above: +(\d+), last loss: (.+)", run).T
    expected = [(curve > 1.001 * raw.loss(raw.best)).sum() for curve in curves]
    assert epochs[:4] == pytest.approx(expected, rel=0.01)
    assert last[:4] == pytest.approx([curve[-1] for curve in curves], abs=2e-4)
    assert max(epochs[3:]) < epochs[0] / 2  # with momentum, with Adam
    assert 0.02 * raw.steep / 2 == pytest.approx(0.9, abs=0.1)  # 1 is the limit


def test_case3_files_and_adam(tmp_path, monkeypatch):
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
        assert f" {needed:,}" in answer
    buffer = 'self.register_buffer("mean", torch.as_tensor(mean))'
    change = (buffer, "self.mean = torch.as_tensor(mean)")
    runs = run_changed(CASE3, tmp_path / "outputs", change), lesson(CASE3)
    changed, usual = (re.search("loaded: .* (.+)", run.out)[1] for run in runs)
    assert f"{changed} instead of {usual}" in answer
