"""Logistic regression 1 and 2: what their prose says, by other code than theirs."""

import re

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn

import conftest

ONE, TWO = "logistic_regression_case1", "logistic_regression_case2"
SEEDS = (0, 1, 2, 3, 7)
X, Y = np.array([0.6, 1, 3.5, 4]), np.array([0, 0, 1, 1])


def try_it(name):  # with the answers, on one line
    text = conftest.script(name).read_text().partition("# Try it")[2]
    return " ".join(text.replace("\n# ", " ").split())


def commands(name):
    found = re.findall("``(?:python examples/[^ ]* )?(--.*?)``", try_it(name))
    return map(str.split, found)


@pytest.fixture
def changed(output):
    def run(name, line, old, new, *argv):
        assert all(f"``{part}``" in try_it(name) for part in (line, new))
        change = line, line.replace(old, new)
        return conftest.run_changed(name, output, change, *argv)

    return run


def falls(values):
    return (np.diff(values, axis=0) < 0).all()


def logits_and_loss(w, b, y=Y):
    z = np.multiply.outer(w, X) + np.asarray(b)[..., None]
    return z, (np.logaddexp(0, z) - y * z).mean(axis=-1)


def descend(w, b, lr=0.01, epochs=500, y=Y):
    losses = []
    for _ in range(epochs):
        z, loss = logits_and_loss(w, b, y)
        w, b = w - lr * (expit(z) - y) @ X / 4, b - lr * (expit(z) - y).mean(axis=-1)
        losses.append(loss)
    return w, b, np.array(losses)


@pytest.mark.parametrize("name", [ONE, TWO])
def test_published_run(lesson, published, name):
    run, expected = lesson(name, "--published"), published[name]
    for epoch, loss in expected["loss_by_epoch"].items():
        assert run.vars["losses"][int(epoch)] == pytest.approx(loss, rel=1e-5)
    if name == ONE:
        for x, probability in expected["predictions"].items():
            assert f"P(y = 1 | x = {x}) = {probability:.4f}\n" in run.out
    else:
        assert falls(list(expected["loss_by_epoch"].values()))  # "in every line"
        for when in ("before", "after"):
            assert f" {expected[f'prediction_{when}_training']} {when}" in run.out


@pytest.mark.parametrize("seed", SEEDS)
def test_case1_learns_what_gradient_descent_in_numpy_learns(lesson, seed):
    run = lesson(ONE, "--seed", seed)
    torch.manual_seed(seed)
    w, b, losses = descend(*(p.item() for p in nn.Linear(1, 1).parameters()))
    assert run.vars["losses"] == pytest.approx(losses, rel=1e-4)
    mistakes = ((w * X + b > 0) != Y).sum()
    assert run.out.count("misclassified") == mistakes == (seed == 0)


def test_case1_a_point_can_stay_misclassified_while_the_loss_falls():
    w, b, losses = descend(*np.random.default_rng(0).uniform(-1, 1, (2, 1000)))
    assert falls(losses)
    assert (-b / w < 2.25).all()  # "to the left of the middle"
    mistakes = (logits_and_loss(w, b)[0] > 0) != Y
    assert 0.2 < mistakes.any(axis=1).mean() < 0.6  # "some random starts"
    more = descend(w, b, epochs=2000)[:2]
    assert ((logits_and_loss(*more)[0] > 0) == Y).all()


def test_case1_shows_where_bce_on_probabilities_breaks(lesson):
    lines = re.findall("^logit .*", lesson(ONE).out, re.MULTILINE)
    table = np.array([re.findall(r"\d+\.?\d*", line) for line in lines], dtype=float)
    z, naive, stable = table[:, 0], table[:, 1:3], table[:, 3:]
    loss = np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))
    assert stable == pytest.approx(np.c_[loss, expit(z)], abs=1e-5)
    assert naive[z < 10] == pytest.approx(stable[z < 10])
    assert naive[z > 10].tolist() == [[100, 0], [100, 0]]
    assert expit(np.float32(20)) == 1


def test_case1_no_best_weight_without_a_penalty():
    w = np.array([1, 2, 4, 8, 16])
    assert all(falls(logits_and_loss(w, -w * x)[1]) for x in (1.1, 2.25, 3.4))
    ends = [descend(0.0, 0.0, lr=1, epochs=n)[:2] for n in (300, 3000, 30_000)]
    assert falls([-w for w, _ in ends])
    assert falls([2.25 + b / w for w, b in ends])


def test_case1_references_are_the_minima(lesson):
    def penalised(p, c):
        return 4 * c * logits_and_loss(*p)[1] + p[0] ** 2 / 2

    ours = lesson(ONE).vars["reference"].values()
    best = np.array([minimize(penalised, (1, -2), c).x for c in (1, 100, 10_000)])
    ours = [(r.coef_.item(), r.intercept_.item()) for r in ours]
    assert np.array(ours) == pytest.approx(best, rel=1e-4)
    assert falls(-best[:, 0])
    assert falls(abs(2.25 + best[:, 1] / best[:, 0]))
    default = LogisticRegression(C=10_000).fit(X[:, None], Y).coef_.item()
    assert default < 0.995 * best[-1, 0]  # "the default is too large"


def test_case1_answers(lesson, changed):
    answers, (longer, faster, mixed) = try_it(ONE), commands(ONE)
    z = [lesson(ONE, *options).vars["logits"] for options in ([], longer)]
    assert [((z > 0).flatten() == Y).tolist() for z in z] == [[1, 0, 1, 1], [1] * 4]
    p = expit([z[1].item() for z in z])
    assert "falls from {:.3f} to {:.3f}, and".format(*p) in answers
    assert "only falls from {:.3f} to {:.3f}:".format(*-np.log(1 - p)) in answers
    run = lesson(ONE, *faster).vars
    assert run["reference"][100].coef_ < run["weight"] < run["reference"][10_000].coef_
    assert f"The boundary is at {-run['bias'] / run['weight']:.2f}," in answers
    line = "y = torch.tensor([[0.0], [0.0], [1.0], [1.0]], device=args.device)"
    old, new = "[[0.0], [0.0], [1.0], [1.0]]", "[[0.0], [1.0], [0.0], [1.0]]"
    run = changed(ONE, line, old, new, *mixed).vars
    w = descend(0.0, 0.0, lr=0.5, epochs=10_000, y=np.array([0, 1, 0, 1]))[0]
    assert [run["weight"], run["w"]] == pytest.approx([w, w], abs=1e-4)
    assert f"Both weights are {w:.3f}:" in answers


SIGMOID = (1, 1, 0)  # s, k and c of the activation s sigmoid(k z) - c
ROWS = {  # activation, rates, and how many of ten starts leave at least, at most
    "no change": (SIGMOID, (0.01, 0.01, 0.01), 0, 0),
    "centred: sigmoid - 1/2": ((1, 1, 0.5), (0.01, 0.01, 0.01), 0, 0),
    "slope 1: 4 sigmoid - 2": ((4, 1, 2), (0.01, 0.01, 0.01), 9, 10),
    "slope 1: tanh": ((2, 2, 1), (0.01, 0.01, 0.01), 9, 10),
    "rate 1": (SIGMOID, (1, 1, 1), 10, 10),
    "rate 1 in layers 1 and 2": (SIGMOID, (1, 1, 0.01), 9, 10),
    "rate 1 in layer 3": (SIGMOID, (0.01, 0.01, 1), 0, 8),
    "Adam": (SIGMOID, (0.01, 0.01, 0.01), 10, 10),
}


@pytest.fixture(scope="module")
def table(published):
    """The published table, its labels, and the entropy."""
    raw = np.loadtxt(conftest.ROOT / "data/diabetes.csv", delimiter=",", skiprows=1)
    low, high = raw.min(axis=0), raw.max(axis=0)
    assert [*low[[1, 7]], *(low + high)[[1, 7]] / 2] == [0, 21, 99.5, 51]
    scaled = np.where(raw == low, 0, 2 * (raw - low) / (high - low) - 1)
    kept = (2 * raw != low + high).all(axis=1)
    x, y = scaled[kept, :8], 1 - raw[kept, 8:]
    expected, entropy = published[TWO], log_loss(y, np.full(len(y), y.mean()))
    assert y.mean() == pytest.approx(expected["share_of_ones_in_the_table"], abs=1e-7)
    assert entropy == pytest.approx(expected["entropy_of_that_share"], abs=1e-7)
    assert len(x) == 768 - 9
    return x, y, entropy


def backprop(table, seed, row, epochs=2000):
    """Train a lesson's network and its ten starts by the chain rule."""
    torch.manual_seed(seed)
    p = [[] for _ in range(6)]  # weights and biases, in turn
    for i, shape in enumerate([(8, 6), (6, 4), (4, 1)] * 11):
        for j, drawn in enumerate(nn.Linear(*shape).parameters()):
            p[i % 3 * 2 + j].append(drawn.detach().double().numpy())
    p = [np.stack(starts) for starts in p]
    (x, y, _), ((s, k, c), rates, *_), m, v = table, ROWS[row], [0] * 6, [0] * 6
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
                p[j] = p[j] - rates[i // 2] * g
    return np.transpose(losses), expit(z)


def printed(run, row):  # how many starts left, and the range of their last losses
    return re.search(rf"\n{row} +(\d+) of 10, last loss (.*)", run.out).groups()


def test_case2_shows_the_published_table_and_what_its_prose_says(lesson, table):
    run, (x, y, entropy) = lesson(TWO, "--published"), table
    assert run.vars["x"].numpy() == pytest.approx(x, abs=1e-6)
    assert run.vars["y"].numpy().tolist() == y.tolist()
    assert run.vars["entropy"] == pytest.approx(entropy)
    for ax, row in zip(run.figures[0].axes, ROWS, strict=True):
        curves, (losses, _) = run.vars["curves"][row], backprop(table, 0, row, 100)
        assert np.array(curves)[:, :100] == pytest.approx(losses[1:], rel=1e-3)
        left = sum(min(curve) < entropy - 0.005 for curve in curves)
        assert ROWS[row][2] <= left == int(printed(run, row)[0]) <= ROWS[row][3]
        assert [list(line.get_ydata()) for line in ax.lines[:10]] == curves
        assert ax.get_title() == row


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_case2_holds_for_many_seeds(table, row):
    for seed in SEEDS:
        losses, predictions = backprop(table, seed, row)
        left = (losses[1:].min(axis=1) < table[2] - 0.005).sum()
        assert ROWS[row][2] <= left <= ROWS[row][3]
        if row == "no change":
            assert np.abs(losses[0, -1] - table[2]) < 0.002
            assert np.abs(predictions[0] - table[1].mean()).max() < 0.01


def test_case2_runs_on_an_own_table_with_a_constant_column(lesson, tmp_path):
    x = np.random.default_rng(0).normal(size=200)
    rows = np.c_[np.cos(99 * x), 50 + 9 * x, np.full(200, 3), x > 0]
    np.savetxt(tmp_path / "own.csv", rows, delimiter=",")
    run = lesson(TWO, "--data", tmp_path / "own.csv", "--epochs", 100)
    assert "200 rows, 3 features" in run.out
    assert printed(run, "Adam")[0] == "10"


@pytest.mark.slow
def test_case2_answers(lesson, changed):
    answers, row = try_it(TWO), "rate 1 in layers 1 and 2"
    default, run = lesson(TWO, "--published"), lesson(TWO, *next(commands(TWO)))
    assert f" 1. {printed(run, 'no change')[0]} of 10. " in answers
    assert np.diff(run.vars["curves"]["no change"]).max() < 1e-6  # out of no minimum
    line = f'"{row}": (nn.Sigmoid(), (1, 1, lr), SGD),'
    run = changed(TWO, line, "(1, 1, lr)", "(16 * lr, 4 * lr, lr)")
    assert f"For {printed(run, row)[0]} of 10 starts only." in answers
    line = "x = torch.tensor(scaled, dtype=torch.float32, device=args.device)"
    standardised = "(scaled - scaled.mean(axis=0)) / scaled.std(axis=0)"
    run = changed(TWO, line, "scaled", standardised)
    assert f"{printed(run, 'no change')[0]} of 10 leaves." in answers
    old, new = (printed(r, "slope 1: tanh") for r in (default, run))
    assert old[0] == new[0] == "10"
    assert f"are {new[1]} instead of {old[1]}." in answers
