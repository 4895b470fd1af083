"""Model selection: each claim of its prose, by NumPy and SciPy, over several seeds."""

import re

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import rankdata

from conftest import run_changed, script

NAME, SLOW = "model_selection", [("--seed", s) for s in (2, 3, 7)]
SLOW += [("--seed", s, "--epochs", e) for s in (0, 1, 2, 3, 7) for e in (100, 400)]
RUNS = [(), ("--seed", 1), *[pytest.param(r, marks=pytest.mark.slow) for r in SLOW]]


def labels_output_loss(v, name, key):
    y, z = v["labels"][v[name]], v["models"][key](torch.tensor(v["inputs"][v[name]]))
    p = expit(z.detach().numpy()[:, 0].astype(float))
    return y, p, -np.log(np.where(y == 1, p, 1 - p)).mean()


@pytest.mark.parametrize("argv", RUNS)
def test_preparation_and_choice(lesson, argv):
    v, out = (run := lesson(NAME, *argv)).vars, run.out
    train, rows = v["train"], [v[name] for name in ("train", "validation", "test")]
    assert sorted(np.concatenate(rows)) == list(range(768))  # none in two sets
    x = np.genfromtxt(v["DIABETES"], delimiter=",", skip_header=1)[:, :8]
    x[:, 1:6][x[:, 1:6] == 0] = np.nan
    counts = np.array(re.findall(r": (\d+) of 768 values are missing", out), dtype=int)
    assert (counts == np.isnan(x).sum(axis=0)[1:6]).all()
    x = np.where(np.isnan(x), np.nanmedian(x[train], axis=0), x)
    x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
    assert np.allclose(v["inputs"], x, atol=1e-5)
    losses = np.array([[*v[f"{s}_loss"].values()] for s in ("training", "validation")])
    for name, seen in zip(("train", "validation"), losses, strict=True):
        expected = [labels_output_loss(v, name, key)[2] for key in v["models"]]
        assert seen == pytest.approx(expected)
    assert list(v["models"])[np.argmin(expected)] == v["chosen"]
    assert 100 < v["best"].count(v["chosen"]) < 900  # other rows, another choice
    fitted, other = losses[:, 9:].reshape(2, 3, 3)  # the network's, by rate and decay
    assert fitted[0, 0] > max(fitted[1:, 0])  # blue lines
    assert other[2, 0] > other[1, 0]
    assert (np.diff(fitted) > 0).all()  # with more weight decay
    assert (np.diff(other - fitted)[1:] < 0).all()


@pytest.mark.parametrize("argv", RUNS)
def test_result_and_what_accuracy_hides(lesson, argv):
    v, accuracy = lesson(NAME, *argv).vars, {}
    y, p, loss = labels_output_loss(v, "test", v["chosen"])
    assert f"\nchosen       test loss {loss:.4f}, acc" in lesson(NAME, *argv).out
    assert v["predictions"]["chosen"] == pytest.approx(p, abs=1e-6)
    for name, q in v["predictions"].items():
        a = accuracy[name] = ((q >= 0.5) == y).mean()
        error = 1.96 * np.sqrt(a * (1 - a) / len(y)) * np.array([-1, 1])  # binomial
        assert v["intervals"][name] - a == pytest.approx(error, rel=0.15)
    low, high = v["intervals"]["chosen"]
    assert accuracy["constant"] < low < accuracy["scikit-learn"] < high
    z, q, _ = labels_output_loss(v, "validation", v["chosen"])
    q, p, t = np.sort(q[z == 1]), v["predictions"]["chosen"], v["threshold"]
    assert t == pytest.approx(q[-int(np.ceil(0.8 * len(q)))], abs=1e-6)
    points = np.array([[(p[y == k] >= s).mean() for k in (0, 1)] for s in (0.5, t)])
    assert np.array(list(v["points"].values())) == pytest.approx(points)
    (alarms, found), a = points[1] - points[0], ((p >= t) == y).mean()
    assert min(2 / 3 - points[0, 1], alarms, found - abs(a - accuracy["chosen"])) > 0
    n, m = (y == 1).sum(), (y == 0).sum()
    assert v["area"] == pytest.approx((rankdata(p)[y == 1].mean() - (n + 1) / 2) / m)


@pytest.mark.parametrize("few", [4, 5])
def test_own_table(run, tmp_path, few):
    rows = [f"{i * 7 % 11},{i if i % 3 else '?'},{i < few}" for i in range(60)]
    (path := tmp_path / "own.csv").write_text("\n".join(rows))
    done = run(NAME, "--epochs", 2, "--data", path)
    assert (done.returncode, done.stderr.count("\n")) == (few < 5, few < 5)
    assert "column 2: 20 of 60 values are missing\n" in done.stdout


@pytest.mark.slow
def test_try_it(lesson, output):
    _, tasks, _ = re.split("# Try it|# Ans", script(NAME).read_text())
    runs = [lesson(NAME), *(lesson(NAME, "--seed", s) for s in (1, 2, 3, 7))]
    for change in re.findall(r"``([^`]*)`` by[\s#]+``([^`]*)``", tasks):
        runs.append(run_changed(NAME, output, change))
    first, *_, a, b = (run.vars for run in runs)
    assert a["chosen"] == first["chosen"] != b["chosen"] == ("network", 0.1, 0)
    assert abs(a["imputer"].statistics_ - first["imputer"].statistics_).max() == 2
    assert b["predicted"][-1] - b["share"][-1] > b["error"][-1]  # overconfident
    score = r"(chosen|scik|const)\S* +test loss (.+), accuracy (.+), .* (.+) to (.+)"
    lines = [re.findall(score, run.out) for run in runs]
    (own, sk, constant), *others, (all_rows, *_), (worst, *_) = lines
    assert all_rows[2] == own[2]
    assert float(worst[2]) == pytest.approx(float(sk[2]), abs=0.03)
    assert worst[1] > constant[1]
    assert [c[2] < s[2] for c, s, _ in others] == [False, False, True, True]
    seen = [c[2] for c, *_ in others]
    assert own[3] < min(seen) < max(seen) < own[4]
