"""Activation functions: values, slopes, safety, and what reaches the first layer."""

import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from conftest import ROOT


def phi(x):
    return (1 + math.erf(x / math.sqrt(2))) / 2


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


def density(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


# Value and derivative of each function, with Python's own mathematics.
EXACT = {
    "ReLU": (lambda x: max(x, 0), lambda x: float(x > 0)),
    "sigmoid": (sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "tanh": (math.tanh, lambda x: math.cosh(x) ** -2),
    "softplus": (lambda x: max(x, 0) + math.log1p(math.exp(-abs(x))), sigmoid),
    "leaky ReLU": (lambda x: x if x > 0 else x / 100, lambda x: 1 if x > 0 else 0.01),
    "GELU": (lambda x: x * phi(x), lambda x: phi(x) + x * density(x)),
    "SiLU": (
        lambda x: x * sigmoid(x),
        lambda x: sigmoid(x) * (1 + x * sigmoid(-x)),
    ),
}


@pytest.fixture
def seen(lesson, capsys):
    """The variables of a short run, and what it printed."""
    seen = lesson("activation_functions", "--epochs", 2)
    return seen | {"printed": capsys.readouterr().out}


def test_values_and_derivatives(seen):
    functions = seen["functions"] | seen["newer"]
    assert functions.keys() == EXACT.keys()
    x = seen["x"]
    assert (len(x), x[0], x[-1]) == (200, -5, 5)
    for name, (value, slope) in EXACT.items():
        function, formula = functions[name]
        expected = [value(number) for number in x.tolist()]
        assert function(x).tolist() == pytest.approx(expected, abs=2e-6), name
        assert formula(x.double().numpy()) == pytest.approx(expected, abs=1e-12), name
        expected = [slope(number) for number in x.tolist()]
        slopes = seen["derivative"](function, x).tolist()
        assert slopes == pytest.approx(expected, abs=2e-6), name


def test_the_printed_differences_and_slopes(seen):
    lines = [line for line in seen["printed"].splitlines() if "NumPy" in line]
    assert len(lines) == len(EXACT)
    for line, (name, (_, slope)) in zip(lines, EXACT.items(), strict=True):
        words = line.removeprefix(name).split()
        assert float(words[words.index("within") + 1]) < 1e-6
        printed = [float(word) for word in words[-3:]]
        assert printed[::2] == pytest.approx([slope(-5), slope(5)], abs=6e-5)
        assert printed[1] == pytest.approx(slope(0), abs=6e-5)


def test_the_published_figure(seen):
    axes = plt.figure(1).axes
    assert [ax.get_ylim() for ax in axes] == [
        (-1, 5),
        (-0.2, 1.2),
        (-1.2, 1.2),
        (-0.2, 6),
    ]
    for ax, (name, (value, slope)) in zip(axes, EXACT.items(), strict=False):
        assert ax.get_title() == name
        curve, dashed = ax.lines
        assert len(curve.get_xdata()) == 200
        x = curve.get_xdata()[150]
        assert curve.get_ydata()[150] == pytest.approx(value(x), abs=1e-6)
        assert dashed.get_ydata()[150] == pytest.approx(slope(x), abs=1e-6)
        assert (curve.get_linestyle(), dashed.get_linestyle()) == ("-", "--")


def test_right_where_the_formula_breaks_down(seen):
    far = torch.tensor([-1000.0, 1000.0])
    limits = {"ReLU": [0, 1000], "sigmoid": [0, 1], "tanh": [-1, 1]}
    limits["softplus"] = limits["SiLU"] = limits["GELU"] = [0, 1000]
    for name, (function, _) in (seen["functions"] | seen["newer"]).items():
        assert function(far).tolist() == limits.get(name, [-10, 1000])
        assert seen["derivative"](function, far).isfinite().all()
    for line in (
        "tanh        at -1000, 1000: [-1.0, 1.0], by formula [-1.0, nan]\n",
        "softplus    at -1000, 1000: [0.0, 1000.0], by formula [0.0, inf]\n",
    ):
        assert line in seen["printed"]


def test_gradient_norms_are_those_of_backpropagation_by_hand(seen):
    model = seen["network"](torch.nn.Sigmoid())
    w1, b1, w2, b2, w3, b3 = (p.detach().double().numpy() for p in model.parameters())
    x, y = seen["inputs"].double().numpy(), seen["targets"].double().numpy()

    def squash(z):
        return 1 / (1 + np.exp(-z))

    h1 = squash(x @ w1.T + b1)
    h2 = squash(h1 @ w2.T + b2)
    error3 = (squash(h2 @ w3.T + b3) - y) / len(y)
    error2 = error3 @ w3 * h2 * (1 - h2)
    error1 = error2 @ w2 * h1 * (1 - h1)
    expected = [
        np.linalg.norm(error.T @ h)
        for error, h in ((error1, x), (error2, h1), (error3, h2))
    ]
    assert seen["gradient_norms"](model) == pytest.approx(expected, rel=1e-4)


def test_the_table_is_standardised(seen):
    table = np.loadtxt(ROOT / "data/diabetes.csv", delimiter=",", skiprows=1)
    inputs = seen["inputs"].double().numpy()
    assert inputs.shape == (768, 8)
    assert inputs.mean(axis=0) == pytest.approx(np.zeros(8), abs=1e-5)
    assert inputs.std(axis=0) == pytest.approx(np.ones(8), abs=1e-5)
    for column in range(8):
        assert np.corrcoef(inputs[:, column], table[:, column])[0, 1] > 0.99999
    assert seen["targets"].flatten().tolist() == table[:, 8].tolist()


def test_the_sigmoids_are_not_saturated(seen):
    w1, b1, w2, b2, *_ = (value.double().numpy() for value in seen["start"].values())
    h1 = 1 / (1 + np.exp(-seen["inputs"].double().numpy() @ w1.T - b1))
    h2 = 1 / (1 + np.exp(-h1 @ w2.T - b2))
    first, second = (h1 * (1 - h1)).mean(), (h2 * (1 - h2)).mean()
    assert 0.2 < min(first, second) < max(first, second) < 0.25
    slopes = f"slope {first:.3f} after layer 1, {second:.3f} after layer 2"
    line = f"sigmoid     mean {slopes}, product {first * second:.3f}\n"
    assert line in seen["printed"]


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sigmoids_let_little_through_to_the_first_layer(lesson, seed):
    seen = lesson("activation_functions", "--epochs", 1, "--seed", seed)
    norms = {name: np.array(values) for name, values in seen["norms"].items()}
    assert norms["sigmoid"][2] > 15 * norms["sigmoid"][0]
    for other in ("tanh", "ReLU"):
        assert norms[other][0] > 4 * norms["sigmoid"][0]
        assert norms[other][2] < 3 * norms[other][0]
    drawn = [line.get_ydata() for line in plt.figure(3).axes[0].lines]
    assert np.array(drawn) == pytest.approx(np.array(list(norms.values())))


def test_what_that_costs(lesson, capsys):
    seen = lesson("activation_functions")
    p = 268 / 768
    entropy = -p * math.log(p) - (1 - p) * math.log(1 - p)
    assert seen["entropy"] == pytest.approx(entropy, rel=1e-12)
    curves = seen["curves"]
    assert [len(curve) for curve in curves.values()] == [2000] * 3
    # The sigmoid network on its plateau, where case 2 stops; the others are far below.
    assert curves["sigmoid"][200:600] == pytest.approx([entropy] * 400, abs=0.004)
    assert max(curves["tanh"][599], curves["ReLU"][599]) < entropy - 0.1
    first = {
        name: next(e for e, loss in enumerate(curve, 1) if loss < entropy - 0.01)
        for name, curve in curves.items()
    }
    assert first["sigmoid"] > 3 * max(first["tanh"], first["ReLU"])
    out = capsys.readouterr().out
    assert f"best constant  loss {entropy:.4f}" in out
    for name, epoch in first.items():
        loss = f"{curves[name][-1]:.4f}"
        assert f"{name:13}  loss {loss}, 0.01 below the constant: since" in out
        assert f"since epoch {epoch}\n" in out


def test_too_few_epochs_to_beat_the_constant(seen):
    assert seen["printed"].count("0.01 below the constant: not yet\n") == 3
