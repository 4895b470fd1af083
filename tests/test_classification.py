import re
from unittest.mock import Mock

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from scipy.stats import norm

from conftest import SEEDS, run_changed

NAME = "classification"
BAYES = norm.cdf(2) ** 2 + norm.cdf(-2) ** 2  # noise changes no sign, or both


def logits(model, x):
    parameters = [p.detach().numpy() for p in model.parameters()]
    for i in range(0, len(parameters), 2):
        x = np.maximum(x, 0) if i and "ReLU" in str(model) else x
        x = x @ parameters[i].T + parameters[i + 1]
    return x


def fresh(run, model):
    z, y = logits(model, run.vars["fresh_x"].numpy()), run.vars["fresh_y"].numpy()
    loss = -log_softmax(z, axis=1)[np.arange(len(y)), y].mean()
    return (z.argmax(axis=1) == y).mean(), loss


def numbers(text):
    return [float(number) for number in re.findall(r"\d\.\d{3,}", text)]


@SEEDS
def test_data_and_the_best_rule(lesson, seed):
    run = lesson(NAME, "--seed", seed).vars
    assert run["y"].dtype is run["torch"].int64
    for part, n in (("", 100), ("fresh_", 25_000)):
        x, y = run[f"{part}x"].numpy(), run[f"{part}y"].numpy()
        assert (y.reshape(n, 4) == [0, 0, 1, 1]).all()
    rule = ((x.prod(axis=1) < 0) == y).mean()
    assert rule == pytest.approx(BAYES, abs=0.0033)  # five standard errors
    assert [run["best_accuracy"], 0.9555] == pytest.approx([BAYES] * 2, abs=5e-5)


@SEEDS
def test_result_and_regions(lesson, seed):
    run = lesson(NAME, "--seed", seed)
    model = run.vars["model"]
    assert run.vars["accuracy"] == pytest.approx(fresh(run, model)[0], abs=2e-5)
    assert 0.945 < run.vars["accuracy"] < BAYES + 0.002
    run.vars["show_regions"](ax := Mock(), model)
    first, second, p = ax.contourf.call_args.args[:3]
    z = logits(model, np.stack(np.meshgrid(first, second), axis=-1))
    assert p.numpy() == pytest.approx(softmax(z, axis=-1)[..., 0], abs=1e-5)


@SEEDS
def test_models_without_the_relu_and_of_few_units(lesson, seed):
    run = lesson(NAME, "--seed", seed)
    lines = re.findall(r"^(?:one|two) layers?: .*", run.out, re.M)
    for line, name in zip(lines, ("linear", "stacked"), strict=True):
        assert numbers(line) == pytest.approx(fresh(run, run.vars[name]), abs=6e-4)
        assert numbers(line) == pytest.approx([0.5, np.log(2)], abs=0.03)
    rows = re.findall(r"^units +(\d+):(.*)", run.out, re.M)
    seen = {int(width): numbers(text) for width, text in rows}
    assert [(n, len(seen[n])) for n in seen] == [(n, 5) for n in (1, 2, 3, 4, 10, 100)]
    assert max(seen[1]) < 0.70
    assert max(seen[2]) < 0.90
    assert min(seen[3] + seen[4]) < 0.90 < max(seen[3] + seen[4])
    assert seen[10] + seen[100] == pytest.approx([BAYES] * 10, abs=0.012)


@SEEDS
def test_answers(output, seed):
    """Two clusters, and softmax twice; the model is as good as before in both."""
    half = "\nclasses = torch.tensor([0, "
    four = f", [2.0, -2.0], [-2.0, 2.0]]){half}0, 1, 1]"
    run = run_changed(NAME, output, (four, f"]){half}1]"), "--seed", seed)
    best = norm.cdf(2 * 2**0.5)  # noise is less than half the distance
    assert best == pytest.approx(0.9977, abs=5e-5)
    line = numbers(run.out.partition("one layer:")[2])[0]
    assert [run.vars["accuracy"], line] == pytest.approx([best] * 2, abs=0.0025)
    layers = "model = nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 2)"
    change = layers, layers + ", nn.Softmax(dim=1)"
    run = run_changed(NAME, output, change, "--seed", seed)
    floor = -log_softmax([1, 0])[0]
    assert [floor, np.exp(-floor)] == pytest.approx([0.3133, 0.7311], abs=5e-5)
    assert floor < min(run.vars["losses"]) < floor + 0.1
    assert run.vars["accuracy"] == pytest.approx(BAYES, abs=0.015)
