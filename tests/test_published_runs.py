import re

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax

from conftest import ROOT

NAME, SLOW = "published_runs", pytest.mark.slow
RAW = np.loadtxt(ROOT / "data/diabetes.csv", delimiter=",", skiprows=1)
LOW, HIGH = RAW.min(axis=0), RAW.max(axis=0)
KEPT = (2 * RAW != LOW + HIGH).all(axis=1)
TABLE = np.where(RAW == LOW, 0, 2 * (RAW - LOW) / (HIGH - LOW) - 1)[KEPT]
RUNS = {  # inputs, targets, learning rate, epochs
    "linear_regression_case1": ([1, 2, 3], [2, 4, 6], 0.01, 50),
    "linear_regression_case3": (None, None, 1e-4, 2000),  # the file has the points
    "logistic_regression_case1": ([0.6, 1, 3.5, 4], [0, 0, 1, 1], 0.01, 500),
    "logistic_regression_case2": (TABLE[:, :8], 1 - RAW[KEPT, 8], 0.01, 2000),
}


@pytest.mark.parametrize("name", RUNS)
def test_losses_of_2018(lesson, published, name):
    run, expected, (x, y, lr, n) = lesson(NAME, "--sample"), published[name], RUNS[name]
    x, y = (x, y) if x is not None else (expected["inputs"], expected["targets"])
    x, y = np.reshape(x, (len(x), -1)), np.reshape(y, (-1, 1))
    f, power = (expit, 1) if "logistic" in name else (np.positive, 2)
    rows = 1 if name == "linear_regression_case1" else len(x)  # a sum, or a mean
    p = [np.array(value) for value in expected["start"]["state_dict"].values()]
    losses = []
    for _ in range(n):  # the chain rule
        h = [x]
        for w, b in zip(p[::2], p[1::2], strict=True):
            h.append(f(h[-1] @ w.T + b))
        gap = h[-1] - y
        losses.append((gap**2 if power == 2 else -np.log(1 - abs(gap))).sum() / rows)
        error = power * gap / rows
        for i in range(len(p) - 2, -1, -2):
            steps = error.T @ h[i // 2], error.sum(axis=0)
            error = error @ p[i] * h[i // 2] * (1 - h[i // 2])
            p[i : i + 2] = p[i] - lr * steps[0], p[i + 1] - lr * steps[1]
    ours = run.vars["curves"][name][1]
    assert ours == pytest.approx(losses, rel=1e-5)
    for epoch, loss in expected["loss_by_epoch"].items():
        i = int(epoch) - (name == "linear_regression_case3")  # which counts from 1
        assert losses[i] == pytest.approx(loss, rel=1e-5)
        assert re.findall(rf"\b{epoch} +{loss:#.6g} +{ours[i]:#.6g}", run.out)
        assert ours[i] == pytest.approx(loss, rel=1e-5)


def test_predictions_of_2018(lesson):
    pairs = re.findall(r": (\d\.\d+) (\d\.\d+)$", lesson(NAME, "--sample").out, re.M)
    expected = ["7.690391", "0.4064", "0.9840", "0.3952", "0.6534828"]
    assert [in_2018 for in_2018, _ in pairs] == expected
    assert [f"{float(b):.{len(a) - 2}f}" for a, b in pairs] == expected


@pytest.mark.parametrize("argv", [["--sample"], pytest.param([], marks=SLOW)])
def test_fashion_mnist(lesson, published, argv):
    run = lesson(NAME, *argv)
    names = ("train_x", "train_y", "test_x", "test_y")
    x, y, *test = (run.vars[name].numpy() for name in names)
    torch.manual_seed(0)
    w, b = (p.detach().double().numpy() for p in torch.nn.Linear(784, 10).parameters())
    # In each epoch two seeds for the training images, one for the test images.
    seeds = torch.empty(9, dtype=torch.int64).random_().tolist()
    draws = [torch.Generator().manual_seed(seed) for seed in seeds]
    orders = [torch.randperm(len(x), generator=draw).numpy() for draw in draws]
    for epoch, order in enumerate(orders[1::3], 1):
        means = []
        for images, labels, lr in ((x[order], y[order], 1e-3), (*test, 0)):
            rows = []
            for i in range(0, len(images), 64):
                inputs, classes = images[i : i + 64], labels[i : i + 64]
                log_p = log_softmax(inputs @ w.T + b, axis=1)
                right = log_p.argmax(axis=1) == classes
                rows.append([-log_p[range(len(classes)), classes].mean(), right.mean()])
                error = (np.exp(log_p) - np.eye(10)[classes]) / len(classes)
                w, b = w - lr * error.T @ inputs, b - lr * error.sum(axis=0)
            means += [*np.mean(rows, axis=0)]
        seen = run.vars["history"][epoch - 1]
        assert seen[::2] == pytest.approx(means[::2], rel=1e-5)
        assert seen[1::2] == pytest.approx(means[1::2], abs=5e-4)  # a near tie or two
        row = published["fashion_mnist"]["by_epoch"].get(str(epoch), means)
        assert argv or seen == pytest.approx(row, abs=6e-5)
    same, *others = map(float, re.findall(r"order +(\d.+)", run.out))
    assert same < 1e-5
    assert min(others) > 1e-4
    firsts = re.findall(r"\[(.+?)\]", run.out)[-4:]
    expected = [orders[i][:4].tolist() for i in (1, 4, 1, 3)]
    assert firsts == [str(first).strip("[]") for first in expected]
