import re

import numpy as np
import pytest
import torch
from peers import numpy_epoch
from scipy.special import softmax
from sklearn.metrics import accuracy_score, log_loss

from checkpoint import load
from conftest import ROOT, run_changed, script
from lesson_data import CLASSES

NAME, SLOW = "logistic_regression_case3", pytest.mark.slow
SAMPLE = ("--sample", "--seed")
LATE = [(*SAMPLE, seed) for seed in (2, 3, 7)] + [("--seed", seed) for seed in (0, 1)]
LATE = [pytest.param(argv, marks=SLOW) for argv in LATE]


@pytest.fixture(params=[(*SAMPLE, 0), (*SAMPLE, 1), *LATE], ids=str)
def seen(lesson, request):
    run = lesson(NAME, *request.param)
    run.seed, run.full = request.param[-1], len(request.param) == 2
    return run


def curves(run):
    lines = run.figures[1].axes[0].lines
    return {float(line.get_label()): line.get_ydata() for line in lines}


def test_the_run_by_numpy(seen):
    v = seen.vars
    kept, held_out = v["train_set"].indices, v["validation_set"].indices
    assert len(held_out) == len(v["train_x"]) // 6
    assert sorted(kept + held_out) == list(range(len(v["train_x"])))
    held_x, held_y = (v[f"train_{a}"].numpy()[held_out] for a in "xy")
    printed = re.findall(r"^rate 0.05 epoch .*? (\d\.\d+) ", seen.out, re.M)
    torch.manual_seed(seen.seed)
    w, b = (p.detach().double().numpy() for p in torch.nn.Linear(784, 10).parameters())
    losses, train_losses = [], []
    for _ in range(5):
        x, y = map(torch.cat, zip(*v["train_loader"], strict=True))
        data = x.double().numpy(), y.numpy(), np.arange(len(x))
        train_losses.append(numpy_epoch(w, b, *data, lr=0.05, batch_size=100)[0])
        next(iter(v["validation_loader"]))
        losses.append(log_loss(held_y, softmax(held_x @ w.T + b, axis=1)))
    assert curves(seen)[0.05] == pytest.approx(losses, abs=1e-3)
    assert np.array(printed[5:], float) == pytest.approx(train_losses, abs=1.5e-3)


def test_rates_and_batches(seen):
    loss = curves(seen)
    assert (np.diff([loss[rate] for rate in (0.0005, 0.005, 0.05)], axis=0) < 0).all()
    assert (np.diff([loss[0.0005], loss[0.005]]) < 0).all()
    assert sum(loss[0.5] > loss[0.05]) >= 3
    first = re.search(r"epoch 1  loss (\S+)  validation loss (\S+)", seen.out)
    assert float(first[1]) > float(first[2]) + 0.02  # it is measured on the way
    v, x, y = seen.vars, seen.vars["test_x"], seen.vars["test_y"]
    a, b = (torch.cat([y for _, y in v["train_loader"]]) for _ in range(2))
    assert not torch.equal(a, b)  # shuffled
    loader = torch.utils.data.DataLoader(list(zip(x, y, strict=True)), batch_size=999)
    expected = v["test_loss"], v["test_accuracy"]
    assert v["evaluate"](v["model"], loader) == pytest.approx(expected, rel=1e-5)


def test_the_saved_model(seen):
    v, x, y = seen.vars, seen.vars["test_x"].numpy(), seen.vars["test_y"].numpy()
    w, b = (t.double().numpy() for t in load(seen.output / "logistic.pth").values())
    p = softmax(x @ w.T + b, axis=1)
    predicted = p.argmax(axis=1)
    assert v["test_accuracy"] == accuracy_score(y, predicted)
    assert v["test_loss"] == pytest.approx(log_loss(y, p), rel=1e-5)
    assert not seen.full or v["test_accuracy"] > 0.844 - 0.03
    matrix = np.zeros((10, 10), int)
    np.add.at(matrix, (y, predicted), 1)
    assert (v["matrix"] == matrix[np.ix_(v["order"], v["order"])]).all()
    tops = np.isin(y, [0, 2, 4, 6]) & np.isin(predicted, [0, 2, 4, 6])
    wrong = np.flatnonzero(y != predicted)
    assert f"\n{sum(tops[wrong])} of {len(wrong)} mistakes" in seen.out
    assert sum(tops[wrong]) > 0.4 * len(wrong)
    drawn = [ax.images[0].get_array() for ax in seen.figures[2].axes[:10]]
    assert np.allclose(drawn, w.reshape(10, 28, 28))
    red, _, blue, _ = seen.figures[2].axes[0].images[0].cmap(1.0)  # a positive weight
    assert red > blue
    assert drawn[1][14:, 13:15].mean() < 0  # between the trouser legs
    titles = [ax.get_title().partition("?")[0] for ax in seen.figures[3].axes]
    assert titles == [f"{CLASSES[y[i]]}\n{CLASSES[predicted[i]]}" for i in wrong[:8]]
    names = [text.get_text() for text in seen.figures[4].axes[0].get_yticklabels()]
    assert names == [CLASSES[k] for k in v["order"]]


def test_try_it_1(lesson):
    large = ["--batch-size", 1000]
    runs = [lesson(NAME, *SAMPLE, 0, *more).vars for more in ([], large)]
    assert [len(run["train_loader"]) for run in runs] == [34, 4]
    long = lesson(NAME, *SAMPLE, 0, *large, "--epochs", 50).vars
    usual, few, many = (run["test_accuracy"] for run in (*runs, long))
    assert few < usual - 0.04
    assert many == pytest.approx(usual, abs=0.03)


@SLOW
@pytest.mark.parametrize("seed", [0, 1])
def test_try_it_2_a_hidden_layer(lesson, output, seed):
    line, network, part = re.findall(
        "``(.+?)``", script(NAME).read_text("utf-8").partition("*Change.*")[2]
    )[:3]
    change = (line, line.replace(part, network))
    hidden = run_changed(NAME, output, change, "--seed", seed)
    usual = lesson(NAME, "--seed", seed)
    gain = curves(usual)[0.05][-1] - curves(hidden)[0.05][-1]
    assert gain > 0.01


@SLOW
def test_the_model_that_comes_with_the_next_lesson_is_that_of_this_run(lesson):
    given = torch.load(ROOT / "data/fashion_mnist_linear.pth", weights_only=True)
    trained = lesson(NAME, "--seed", 0).vars["model"].state_dict()
    for name, value in trained.items():
        assert torch.allclose(given[name], value, atol=1e-3)
