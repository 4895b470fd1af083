import re

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from conftest import SEEDS, fails, run_changed

NAME = "model_selection"


def logits(v, rows, key):
    return v["models"][key](v["inputs"][rows]).detach().numpy()[:, 0].astype(float)


def counts(out):
    lines = re.findall(r": (\d+) of (\d+) missed.*; (\d+) of (\d+) false", out)
    return np.array(lines, dtype=int)


@SEEDS
def test_preparation_by_the_training_rows(lesson, seed):
    v = lesson(NAME, "--seed", seed).vars
    train, rows = v["train"], [v[name] for name in ("train", "validation", "test")]
    assert sorted(np.concatenate(rows)) == list(range(768))  # none in two sets
    assert np.ptp([v["labels"][r].mean() for r in rows]) < 0.01
    x = np.genfromtxt(v["DIABETES"], delimiter=",", skip_header=1)[:, :8]
    x[:, 1:6][x[:, 1:6] == 0] = np.nan
    x = np.where(np.isnan(x), np.nanmedian(x[train], axis=0), x)
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    assert np.allclose(v["inputs"], x, atol=1e-5)


@SEEDS
def test_validation_loss_turns_without_decay_and_chooses(lesson, seed):
    run = lesson(NAME, "--seed", seed)
    v, curves = run.vars, [ax.lines for ax in run.figures[0].axes]
    for (key, seen), (_, unseen) in zip(v["final_loss"].items(), curves, strict=True):
        z, y = logits(v, v["validation"], key), v["labels"][v["validation"]]
        assert seen == pytest.approx(np.logaddexp(0, np.where(y, -z, z)).mean())
        assert unseen.get_ydata()[-1] == seen
    assert v["chosen"] == list(v["models"])[np.argmin([*v["final_loss"].values()])]
    (trained, without), (_, with_decay) = [
        [line.get_ydata() for line in lines] for lines in curves[3:5]
    ]
    turn = without.argmin()
    assert trained[-1] < trained[turn] - 0.1
    rise = without[-1] - without[turn]
    assert rise > 0.2
    assert with_decay[-1] - with_decay.min() < rise / 10


@SEEDS
def test_result_and_mistakes(lesson, seed):
    run = lesson(NAME, "--seed", seed)
    v, y = run.vars, run.vars["labels"][run.vars["test"]]
    p, right = expit(logits(v, v["test"], v["chosen"])), v["right"]
    assert (right["chosen model"] == ((p > 0.5) == y)).all()
    assert (right["baseline"] == (y == 0)).all()
    seen = re.findall(r"^[a-z- ]+: (.+), interval (.+) to (.+)", run.out, re.M)
    for hits, texts in zip(right.values(), seen, strict=True):
        a = hits.mean()
        error = 2 * np.sqrt(a * (1 - a) / len(y))  # binomial
        expected = np.array([a, a - error, a + error])
        assert np.array(texts, dtype=float) == pytest.approx(expected, abs=6e-4)
    assert float(seen[0][1]) > right["baseline"].mean()
    new_y = v["labels"][v["validation"]]
    new_p = expit(logits(v, v["validation"], v["chosen"]))
    low = v["threshold"]
    runs = [(0.5, new_p, new_y), (low, new_p, new_y), (low, p, y)]
    for row, (t, p, y) in zip(counts(run.out), runs, strict=False):
        assert row.tolist() == mistakes(p, y, t)
    (missed, ones, alarms, _), (fewer, _, more, _) = counts(run.out)[:2]
    assert fewer == ones // 5 + 1
    assert fewer < missed
    assert alarms < more


def mistakes(p, y, threshold):
    """Missed, of; false alarms, of."""
    found, ones = ((p > threshold) & (y == 1)).sum(), (y == 1).sum()
    return [ones - found, ones, (p > threshold).sum() - found, len(y) - ones]


@SEEDS
def test_a_weight_moves_the_logits(lesson, seed):
    run = lesson(NAME, "--seed", seed)
    v = run.vars
    plain, raised = v["logits"]
    assert (raised - plain).mean() == pytest.approx(np.log(7 / 3), abs=0.1)
    assert abs(np.diff(counts(run.out)[3:], axis=0)).max() <= 3  # threshold and weight
    share = v["labels"][v["validation"]].mean()
    assert v["p_plain"].mean() == pytest.approx(share, abs=0.06)
    assert v["p_weighted"].mean() > share + 0.05
    y = v["labels"][v["train"]]  # a bias alone: c times the odds of class 1
    best = minimize_scalar(
        lambda b: (np.logaddexp(0, b) - y * b + 4 / 3 * y * np.logaddexp(0, -b)).sum()
    )
    assert best.x == pytest.approx(logit(y.mean()) + np.log(7 / 3), abs=1e-4)


@SEEDS
def test_a_used_model_predicts_coins(lesson, seed):
    out = lesson(NAME, "--seed", seed).out
    new, used = (
        [float(a) for a in re.search(rf"^{kind} (.+)", out, re.M)[1].split()]
        for kind in ("new", "used")
    )
    assert np.mean(new) == pytest.approx(0.5, abs=0.15)  # of 200: 4 standard errors
    assert used[0] < 0.75
    assert min(used[2:]) > 0.9


@pytest.mark.parametrize("few", [4, 5])
def test_own_table(lesson, capsys, tmp_path, few):
    """With missing numbers, text, and text that only some rows have."""
    data = {"a": [str(i * 7 % 11) for i in range(60)]}
    data["b"] = [str(i) if i % 3 else "?" for i in range(60)]
    data["c"] = ["", *["red", "green", "blue"] * 19, "pink", "pink"]
    data["class"] = [int(i < few) for i in range(60)]
    pd.DataFrame(data).to_csv(path := tmp_path / "own.csv", index=False)
    argv = NAME, "--epochs", 2, "--data", path
    if few < 5:
        fails(capsys, [], lesson, *argv)
    else:
        assert "k-fold: not yet written" in lesson(*argv).out


def test_preparation_of_the_small_table(lesson):
    """Median 30 is the mean, and the standard deviation the root of 200 / 3."""
    v = lesson(NAME).vars
    seen = v["preparation"](["age"], ["city"]).fit(v["small"])
    a = 10 / np.sqrt(200 / 3)
    table = [[-a, 0, 1], [0, 0, 1], [a, 1, 0]]
    assert np.allclose(seen.transform(v["small"]), table)
    new = pd.DataFrame({"age": [30, np.nan], "city": ["Bonn", np.nan]})
    assert np.allclose(seen.transform(new), [[0, 0, 0], [0, 0, 1]])


@pytest.mark.slow
def test_try_it(lesson, output):
    usual, other = lesson(NAME), lesson(NAME, "--seed", 1)
    interval = r"^chosen model: (.+), interval (.+) to (.+)"
    _, low, high = re.search(interval, usual.out, re.M).groups()
    accuracy = re.search(interval, other.out, re.M)[1]
    assert accuracy == "0.779"
    assert low < accuracy < high
    change = "prepare.fit(features.iloc[train])", "prepare.fit(features)"
    leaky = run_changed(NAME, output, change).vars
    assert leaky["chosen"] == usual.vars["chosen"]
