"""Activation functions: each claim of the prose, by Python's mathematics and NumPy."""

import math

import numpy as np
import pytest
import torch
from scipy.special import expit

from conftest import ROOT

NAME = "activation_functions"
SEEDS = (0, 1, 2, 3, 7)
EXACT = {  # value and derivative, with Python's own mathematics
    "ReLU": (lambda x: max(x, 0), lambda x: int(x > 0)),
    "sigmoid": (lambda x: 1 / (1 + math.exp(-x)), lambda x: 0.5 / (1 + math.cosh(x))),
    "tanh": (math.tanh, lambda x: 1 / math.cosh(x) ** 2),
    "softplus": (lambda x: math.log1p(math.exp(x)), lambda x: 1 / (1 + math.exp(-x))),
}
FAR = {  # at -1000 and 1000
    "ReLU": "[0.0, 1000.0], by the formula [0.0, 1000.0]",
    "sigmoid": "[0.0, 1.0], by the formula [0.0, 1.0]",
    "tanh": "[-1.0, 1.0], by the formula [-1.0, nan]",
    "softplus": "[0.0, 1000.0], by the formula [0.0, inf]",
}
TABLE = np.loadtxt(ROOT / "data/diabetes.csv", delimiter=",", skiprows=1)
X = (TABLE[:, :8] - TABLE[:, :8].mean(axis=0)) / TABLE[:, :8].std(axis=0)
ACTIVATIONS = {  # the same in NumPy, for the network
    "none": (lambda z: z, np.ones_like),
    "sigmoid": (expit, lambda z: expit(z) * expit(-z)),
    "4 sigmoid": (lambda z: 4 * expit(z), lambda z: 4 * expit(z) * expit(-z)),
    "tanh": (np.tanh, lambda z: np.cosh(z) ** -2),
    "ReLU": (lambda z: np.maximum(z, 0), lambda z: z > 0),
}


@pytest.mark.parametrize("name", EXACT)
def test_functions_derivatives_and_figures(lesson, name):
    run, index, (value, slope) = lesson(NAME), list(EXACT).index(name), EXACT[name]
    x, (function, formula) = torch.linspace(-5, 5, 200), run.vars["functions"][name]
    values, slopes = ([f(number) for number in x.tolist()] for f in (value, slope))
    ax, panel = run.figures[0].axes[index], run.figures[1].axes[0]
    for seen in (function(x), formula(x.numpy()), ax.lines[0].get_ydata()):
        assert seen.tolist() == pytest.approx(values, abs=2e-6)
    assert panel.lines[4].get_ydata() == [0.25, 0.25]
    for seen in (run.vars["derivative"](function, x), panel.lines[index].get_ydata()):
        assert seen.tolist() == pytest.approx(slopes, abs=2e-6)
    saturated = sum(slope(end) < 0.05 for end in (-5, 5))
    assert len(ax.collections[0].get_paths()) == saturated  # grey areas
    assert max(slopes) == pytest.approx(0.25 if name == "sigmoid" else 1, abs=0.01)
    printed = " ".join(f"{slope(number):7.4f}" for number in (-5, 0, 5))
    assert f"{name:8}  derivative at -5, 0, 5: {printed}\n" in run.out
    assert f"\n{name:8}  {FAR[name]}\n" in run.out.partition("at [-1000.0, 1000.0]:")[2]


def backpropagation(layers, function, derivative):
    """The gradients of the loss for each layer's outputs, and the slopes on the way."""
    weights = [layer.weight.detach().numpy() for layer in layers]
    outputs = [X @ weights[0].T + layers[0].bias.detach().numpy()]
    for layer, w in zip(layers[1:], weights[1:], strict=True):
        outputs.append(function(outputs[-1]) @ w.T + layer.bias.detach().numpy())
    gradients = [(expit(outputs[-1]) - TABLE[:, 8:]) / 768]  # the last slope cancels
    slopes = [derivative(z).astype(float) for z in outputs[:-1]]
    for w, slope in zip(weights[:0:-1], slopes[::-1], strict=True):
        gradients.insert(0, gradients[0] @ w * slope)
    return gradients, slopes


@pytest.mark.parametrize("seed", SEEDS)
def test_what_reaches_the_first_layer(lesson, seed):
    run = lesson(NAME, "--seed", seed)
    norms, slopes, arrives = {}, {}, {}
    for name, functions in ACTIVATIONS.items():
        sizes = [], []
        for layers in run.vars["starts"]:
            gradients, derivatives = backpropagation(layers, *functions)
            sizes[0].append([np.linalg.norm(g) for g in gradients])
            sizes[1].append([np.sqrt((d**2).mean()) for d in derivatives])
        norms[name], slopes[name] = (np.median(size, axis=0) for size in sizes)
        arrives[name] = norms[name][0] / norms["none"][0]
        assert run.vars["arrives"][name] == pytest.approx(arrives[name], rel=1e-3)
        product = run.vars["products"][name]
        assert product == pytest.approx(slopes[name].prod(), rel=1e-3)
        assert arrives[name] == pytest.approx(product, rel=0.15)
        assert norms[name][2] == pytest.approx(norms["none"][2], rel=0.1)
    lines = np.array([line.get_ydata() for line in run.figures[2].axes[0].lines])
    assert lines == pytest.approx(np.array(list(norms.values())), rel=1e-3)
    assert (norms["none"][:2] < 0.7 * norms["none"][1:]).all()  # the weights alone
    assert (slopes["sigmoid"] > 0.22).all()  # not saturated
    assert arrives["sigmoid"] < 0.0625 < 0.3 < arrives["ReLU"] < arrives["tanh"]
    assert arrives["4 sigmoid"] == pytest.approx(arrives["tanh"], rel=0.15)


@pytest.mark.parametrize("seed", SEEDS)
def test_dead_relus(lesson, seed):
    run, dead = lesson(NAME, "--seed", seed), 0
    for layers in run.vars["starts"]:
        gradients, slopes = backpropagation(layers, *ACTIVATIONS["ReLU"])
        silent = (slopes[1] == 0).all(axis=0)
        assert (gradients[1][:, silent] == 0).all()  # and so those of its weights
        dead += silent.sum()
    assert run.vars["dead"] == {"ReLU": dead, "leaky ReLU": 0}
    assert dead > 0
