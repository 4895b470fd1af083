import re

import numpy as np
import pytest
import torch
from scipy.special import expit
from torch import nn

from conftest import SEEDS, run_changed, script

NAME = "activation_functions"
EXACT = {  # value and slope
    "ReLU": (lambda z: np.maximum(z, 0), lambda z: np.heaviside(z, 0)),
    "sigmoid": (expit, lambda z: expit(z) * expit(-z)),
    "tanh": (np.tanh, lambda z: np.cosh(z) ** -2),
    "softplus": (lambda z: np.logaddexp(0, z), expit),
    "none": (lambda z: z, np.ones_like),
}


@pytest.mark.parametrize("name", list(EXACT)[:4])
def test_functions_slopes_and_figure(lesson, name):
    run, ax = lesson(NAME), lesson(NAME).figures[0].axes[list(EXACT).index(name)]
    x = np.linspace(-5, 5, 200)
    values, slopes = (f(x) for f in EXACT[name])
    function, formula = run.vars["functions"][name]
    for seen in (function(torch.tensor(x)), formula, ax.lines[0].get_ydata()):
        assert np.asarray(seen) == pytest.approx(values, abs=2e-6)
    assert ax.lines[1].get_ydata() == pytest.approx(slopes, abs=2e-6)
    assert max(slopes) == pytest.approx(0.25 if name == "sigmoid" else 1, abs=0.01)


def arrives(seed, sizes, value, slope):
    """The mean gradient for the weights of layer 1, and the share of slopes of 1."""
    torch.manual_seed(seed)
    means, steep = [], []
    for _ in range(200):
        layers = [nn.Linear(*size) for size in sizes]
        layers.sort(key=lambda layer: -layer.out_features)
        x = torch.randn(1, 8).numpy()[0]
        (w, b), *others = ([p.detach().numpy() for p in x.parameters()] for x in layers)
        z, way = w @ x + b, np.eye(6)
        for w, b in others:
            steep.extend(slope(z) == 1)
            z, way = w @ value(z) + b, w * slope(z) @ way
        means.append(abs(np.outer(way, x)).mean())
    return np.mean(means), np.mean(steep)


@SEEDS
def test_what_reaches_the_first_layer(lesson, output, seed):
    run = lesson(NAME, "--seed", seed)
    change = "activation, third", "activation, nn.Linear(4, 4), activation, third"
    assert all(f"``{text}``" in script(NAME).read_text("utf-8") for text in change)
    deep = run_changed(NAME, output, change, "--seed", seed)
    layers = [(8, 6), (6, 4), (4, 1)]
    two, three = run.vars["shares"], deep.vars["shares"]
    for shares, sizes in ((two, layers), (three, [*layers, (4, 4)])):
        exact = {name: arrives(seed, sizes, *EXACT[name]) for name in shares}
        for name in shares:
            share = exact[name][0] / exact["none"][0]
            assert shares[name] == pytest.approx(share, rel=1e-3)
        assert 0.4 < exact["ReLU"][1] < 0.6
    assert "layer 1: 0.375, by hand 0.375\n" in run.out
    assert f"sigmoid {two['sigmoid']:.3f}, tanh" in run.out
    assert "1/4 times 1/4 is 0.0625\n" in run.out
    bars = [bar.get_height() for bar in run.figures[1].axes[0].patches]
    assert bars == list(two.values())
    assert 0.8 / 16 < two["sigmoid"] < 1 / 16 < two["ReLU"] < two["tanh"] < 1
    assert three["sigmoid"] < min(1 / 64, two["sigmoid"] / 4)
    assert three["sigmoid"] == pytest.approx(0.013, abs=5e-4)
    assert three["tanh"] > 0.55


def test_an_exploding_gradient_is_clipped():
    model = nn.Sequential(*[nn.Linear(6, 6) for _ in range(4)])
    for layer in model:
        nn.init.xavier_uniform_(layer.weight)
        assert 0.6 < layer.weight.abs().max() < (6 / (6 + 6)) ** 0.5  # Keras' Dense
        layer.weight.data *= 10
    model(torch.ones(1, 6)).sum().backward()
    lengths = [nn.utils.clip_grad_norm_(model.parameters(), 1) for _ in range(2)]
    assert lengths[0] > 100
    assert lengths[1] == pytest.approx(1)


@SEEDS
def test_initialisation(lesson, output, seed):
    run = lesson(NAME, "--seed", seed)
    rows = re.findall(r"^from .+: loss (.+), (.) of .*equal: (\w+),", run.out, re.M)
    losses, right, equal = zip(*rows, strict=True)
    third = (np.log(3) * 3 - 2 * np.log(2)) / 3  # p = 2/3 for three corners, the best
    assert float(losses[0]) < 0.05
    assert float(losses[1]) == pytest.approx(third * 3 / 4, abs=2e-3)
    assert losses[2] == "0.6931"  # log 2
    assert (right, equal) == (("4", "3", "2"), ("False", "True", "True"))
    assert not run.vars["weight"].grad.any()  # from 0, exactly
    change = "in model.parameters():", "in [model[0].weight, model[2].weight]:"
    assert all(f"``{text}``" in script(NAME).read_text("utf-8") for text in change)
    out = run_changed(NAME, output, change, "--seed", seed).out
    assert re.search("from 0.5: .* 4 of 4 right, units equal: False", out)
