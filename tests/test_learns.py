"""Does every lesson learn what it says, at its default settings?"""

import re

import numpy as np
import pytest
import torch
from conftest import ROOT
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.metrics import log_loss


def as_numpy(*tensors):
    return [tensor.numpy().astype(np.float64) for tensor in tensors]


def test_linear_regression_case1(lesson, capsys):
    seen = lesson("linear_regression_case1")
    assert abs(seen["weight"] - 2) < 0.5
    assert abs(seen["prediction"] - 8) < 0.7
    # Both curves of the figure together are the loss, exactly.
    parts = (seen["steep"] + seen["flat"]).numpy()
    assert parts == pytest.approx(seen["losses"], rel=1e-3)
    assert seen["curvatures"].tolist() == pytest.approx([0.7207, 33.2793], abs=1e-3)
    out = capsys.readouterr().out
    assert out.count("\nepoch") == 50
    assert "curvature 33.28, error x 0.667" in out
    assert "curvature  0.72, error x 0.993" in out


def test_linear_regression_case1_converges_to_the_exact_line(lesson):
    seen = lesson("linear_regression_case1", "--epochs", 3000)
    assert seen["weight"] == pytest.approx(2, abs=1e-4)
    assert seen["bias"] == pytest.approx(0, abs=1e-4)


def test_linear_regression_case2(lesson, capsys):
    seen = lesson("linear_regression_case2")
    features, targets = as_numpy(seen["x"], seen["y"])
    best = LinearRegression().fit(features, targets)
    best_loss = np.mean((best.predict(features) - targets) ** 2)
    assert seen["best_loss"] == pytest.approx(best_loss, rel=1e-5)
    assert best_loss < seen["final_loss"] < 1.05 * best_loss
    assert seen["weight"] == pytest.approx(best.coef_.item(), rel=0.03)
    # The claim about the learning rates: a tenth of the rate, ten times the epochs.
    slow, fast = (
        next(epoch for epoch, loss in enumerate(curve) if loss <= 1.01 * best_loss)
        for curve in (seen["curves"][1e-3], seen["curves"][1e-2])
    )
    assert slow / fast == pytest.approx(10, rel=0.05)
    out = capsys.readouterr().out
    assert f"lr 0.01: within 1 % of least squares after {fast} epochs" in out
    assert f"lr 0.001: within 1 % of least squares after {slow} epochs" in out


def test_linear_regression_case2_reaches_least_squares(lesson):
    seen = lesson("linear_regression_case2", "--epochs", 1000)
    best = LinearRegression().fit(*as_numpy(seen["x"], seen["y"]))
    assert seen["weight"] == pytest.approx(best.coef_.item(), rel=1e-4)
    assert seen["bias"] == pytest.approx(best.intercept_.item(), rel=1e-2)


def test_linear_regression_case2_shows_the_broadcast_bug(lesson):
    seen = lesson("linear_regression_case2", "--epochs", 1)
    x, y = seen["features"].ravel(), seen["targets"]
    all_pairs = np.subtract.outer(seen["true_weight"] * x, y) ** 2
    assert tuple(seen["wrong"].shape) == (1000, 1000)
    assert seen["wrong"].mean().item() == pytest.approx(all_pairs.mean(), rel=1e-4)
    assert seen["right"].mean().item() == pytest.approx(100, rel=0.1)  # noise=10


def test_linear_regression_case3(lesson, output, published):
    seen = lesson("linear_regression_case3")
    (slope, intercept), residuals, *_ = np.polyfit(
        seen["x"].numpy().ravel().astype(np.float64),
        seen["y"].numpy().ravel().astype(np.float64),
        deg=1,
        full=True,
    )
    best_loss = residuals.item() / 15
    expected = published["linear_regression_case3"]["least_squares"]
    assert best_loss == pytest.approx(expected["mse"], rel=1e-5)
    assert seen["best_weight"] == pytest.approx(slope, rel=1e-5)
    assert seen["best_bias"] == pytest.approx(intercept, rel=1e-5)
    assert seen["best_loss"].item() == pytest.approx(best_loss, rel=1e-5)
    # Close to the best loss, and still far from the best line.
    assert 1.005 * best_loss < seen["loss"].item() < 1.05 * best_loss
    assert abs(seen["bias"] - intercept) > 0.05
    # What is left along the flat direction is what the run itself shows.
    assert seen["steep"].item() == pytest.approx(0, abs=1e-6)
    assert seen["flat"].item() == pytest.approx(0.95, abs=0.001)

    state = torch.load(output / "linear.pth", weights_only=True)
    assert state["weight"].item() == seen["weight"]
    assert state["bias"].item() == seen["bias"]
    assert seen["equal"]


def test_logistic_regression_case1(lesson):
    seen = lesson("logistic_regression_case1")
    # The loss that the lesson reached, from its parameters and the formula.
    x, y = as_numpy(seen["x"], seen["y"])
    z = seen["weight"] * x + seen["bias"]
    loss = np.mean(np.logaddexp(0, z) - y * z)
    assert loss == pytest.approx(seen["losses"][-1], rel=2e-3)
    assert (
        (seen["probability"] > 0.5) == (seen["grid"] > -seen["bias"] / seen["weight"])
    ).all()


def test_logistic_regression_case1_goes_to_the_middle_of_the_gap(lesson):
    """Without a penalty the weight grows for ever, and the boundary goes to 2.25."""
    few, many = (
        lesson("logistic_regression_case1", "--epochs", n, "--lr", 1)
        for n in (300, 5000)
    )
    assert many["weight"] > 1.5 * few["weight"]
    off = [abs(-seen["bias"] / seen["weight"] - 2.25) for seen in (few, many)]
    assert off[1] < off[0] < 0.3
    assert -many["b"] / many["w"] == pytest.approx(2.25, abs=0.01)  # scikit-learn


def test_logistic_regression_case1_shows_where_bce_on_probabilities_breaks(
    lesson, capsys
):
    lesson("logistic_regression_case1", "--epochs", 1)
    lines = {}
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("logit"):
            numbers = re.findall(r"[\d.]+(?=[:,;]|$)", line)
            lines[float(numbers[0])] = [float(n) for n in numbers[1:]]
    for z, (naive, naive_gradient, stable, gradient) in lines.items():
        assert stable == pytest.approx(np.logaddexp(0, z), abs=1e-5)
        assert gradient == pytest.approx(1 / (1 + np.exp(-z)), abs=1e-5)
        if z <= 5:
            assert (naive, naive_gradient) == pytest.approx(
                (stable, gradient), abs=1e-4
            )
        else:
            assert (naive, naive_gradient) == (100, 0)
    assert max(lines) > 5


def test_logistic_regression_case2_learns_a_constant(lesson, published):
    """The published network and recipe, whatever the start."""
    figures = published["logistic_regression_case2"]
    for seed in (0, 1, 2):
        seen = lesson("logistic_regression_case2", "--seed", seed)
        share = seen["y"].mean().item()
        entropy = log_loss(seen["targets"], np.full(len(seen["targets"]), share))
        assert share == pytest.approx(figures["share_of_ones_in_the_table"], abs=1e-6)
        assert entropy == pytest.approx(figures["entropy_of_that_share"], abs=1e-6)
        assert seen["entropy"] == pytest.approx(entropy)
        assert max(abs(loss - 0.6453) for loss in seen["losses"][600:]) < 0.002
        constant = seen["constant"].numpy()
        assert np.abs(constant - share).max() < 0.01
        last = figures["prediction_after_training"]
        assert np.abs(constant - last).max() < 0.01
        if seed == 0:
            check_mend(seen)


def check_mend(seen):
    """The mended network beats the constant by far, on each of the splits."""
    losses, accuracies = seen["test_losses"], seen["accuracies"]
    assert all(len(values) == 10 for values in losses.values())
    constant, tanh = losses["same for everybody"], losses["deep, tanh, Adam, decay"]
    assert all(t < c - 0.08 for t, c in zip(tanh, constant, strict=True))
    # One change at a time: plain SGD stays at the constant, Adam leaves it.
    assert np.mean(losses["deep, sigmoid, SGD"]) > np.mean(constant) - 0.01
    assert np.mean(losses["deep, sigmoid, Adam"]) < np.mean(constant) - 0.1
    assert np.mean(losses["deep, tanh, Adam"]) > np.mean(tanh) + 0.03
    best = np.mean(losses["scikit-learn"])
    assert np.mean(tanh) < best + 0.01
    assert np.mean(losses["wide: one layer, Adam"]) == pytest.approx(best, abs=0.005)
    assert np.mean(accuracies["scikit-learn"]) > 0.76
    assert np.mean(accuracies["deep, tanh, Adam, decay"]) > 0.76
    # No row is in both parts, none is lost, and the scale is that of the training rows.
    train, test = seen["train"], seen["test"]
    assert sorted([*train, *test]) == list(range(759))
    assert seen["scaler"].n_samples_seen_ == len(train)
    assert seen["scaler"].mean_ == pytest.approx(seen["features"][train].mean(axis=0))
    # An independent fit on the same split.
    rows = (seen["features"] - seen["scaler"].mean_) / seen["scaler"].scale_
    model = LogisticRegression().fit(rows[train], seen["targets"][train])
    loss = log_loss(seen["targets"][test], model.predict_proba(rows[test])[:, 1])
    assert losses["scikit-learn"][-1] == pytest.approx(loss, abs=1e-6)


def test_logistic_regression_case2_derives_the_published_table(lesson):
    seen = lesson("logistic_regression_case2", "--epochs", 1)
    x = seen["x"].numpy()
    assert x.shape == (759, 8)
    raw = np.genfromtxt(ROOT / "data/diabetes.csv", delimiter=",", skip_header=1)
    assert x.max(axis=0) == pytest.approx(np.ones(8))
    # First row of the raw table: 6 pregnancies of 0 to 17, insulin 0 of 0 to 846.
    assert x[0, 0] == pytest.approx(2 * 6 / 17 - 1, abs=1e-6)
    assert x[0, 4] == 0
    assert -1 not in x
    assert seen["y"][0].item() == 1 - raw[0, -1]
    assert (seen["y"] == 0).sum().item() == 263


@pytest.mark.parametrize("header", ["", "a,b,c,label\n"])
def test_logistic_regression_case2_takes_own_data(lesson, tmp_path, capsys, header):
    """A table that only its second column explains; a constant column does no harm."""
    rng = np.random.default_rng(0)
    second = rng.normal(size=400)
    rows = np.c_[rng.normal(size=400), 50 + 9 * second, np.full(400, 3), second > 0]
    path = tmp_path / "own.csv"
    path.write_text(header + "\n".join(",".join(map(str, row)) for row in rows))
    seen = lesson("logistic_regression_case2", "--data", path)
    assert "400 rows, 3 features" in capsys.readouterr().out
    assert seen["model"][0].in_features == 3
    for name in ("deep, tanh, Adam, decay", "wide: one layer, Adam", "scikit-learn"):
        assert np.mean(seen["accuracies"][name]) > 0.95
