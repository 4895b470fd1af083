import copy
import re
import subprocess
import sys
from textwrap import dedent

import ladder
import numpy as np
import peers
import pytest
import torch
from torch import nn

from conftest import ROOT, environment, run_changed, script
from lessons import ROWS

NAME, LR = "faster_training", 0.01
SMALL = ["--sample", "--epochs", 2, "--lr", LR]
_, _, TRY_IT = script(NAME).read_text("utf-8").partition("# Try it")
README = (ROOT / "benchmarks/README.md").read_text("utf-8")
OTHERS = [pytest.param(i, n, marks=pytest.mark.slow) for i, n in [(1, 64), (2, 7)]]


@pytest.fixture(scope="module")
def seen(lesson):
    return lesson(NAME, *SMALL, "--batch-size", 64).vars


def check(model, metrics, expected, expected_metrics):
    ours, theirs = (np.reshape(m, (-1, 2)) for m in (metrics, expected_metrics))
    assert np.allclose(ours, theirs, rtol=5e-6, atol=[0, 1.1e-3])  # or 1 image in 1,000
    for ours, theirs in zip(model.state_dict().values(), expected, strict=True):
        assert np.allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize(("seed", "batch_size"), [(0, 64), *OTHERS])
def test_every_rung_is_the_published_loop(lesson, seed, batch_size):
    run = lesson(NAME, *SMALL, "--batch-size", batch_size, "--seed", seed)
    names = ("train_x", "train_y", "test_x", "test_y")
    x, y, test_x, test_y = (run.vars[name].numpy() for name in names)
    torch.manual_seed(seed)
    model, state = nn.Linear(784, 10), torch.get_rng_state()
    w, b = expected = [p.detach().double().numpy() for p in model.parameters()]
    history = []
    for _ in range(2):
        order = torch.randperm(4000).numpy()
        history += [peers.numpy_epoch(w, b, x, y, order, LR, batch_size)]
        history += [peers.numpy_epoch(w, b, test_x, test_y, np.arange(1000), 0)]
    for name, trained in run.vars["models"].items():
        assert run.out.count(f"\n{name} ") == 2  # loss and weights, and time
        check(trained, run.vars["metrics"][name], expected, history[2:])
    for rung in [*ladder.make_rungs(run.vars).values()][5 : 10 + (seed == 1)]:
        trained = copy.deepcopy(run.vars["model"])
        torch.set_rng_state(state)
        check(trained, [rung(trained) for _ in range(2)], expected, history)


def recorded(heading):
    section = README.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| ([-+\de.| ]+)\|$", section, re.MULTILINE)
    return {name: [float(n) for n in row.split() if n != "|"] for name, row in rows}


def test_what_is_said_of_the_speed_is_recorded(seen):
    *rungs, _ = (table := recorded("The ladder"))
    assert rungs == list(ladder.make_rungs(seen) | {ladder.COMPILED: None})
    seconds, _, _, losses, apart = zip(*(table[n] for n in rungs), strict=True)
    assert (np.diff(seconds) < 0).all()
    assert len({*losses}) == 1
    (factor,) = re.findall(r"\d+", ROWS[NAME].result)
    assert table["metrics at the end"][1] == pytest.approx(float(factor), rel=0.3)
    assert max(apart) < 1e-6
    ratios = [row[2] for row in recorded("One thread").values()]
    assert f"saves up to {100 - 100 * min(ratios):.0f} % of the time" in README
    assert max(ratios) < 1.05  # and costs nothing
    parts = recorded("The parts of a step")
    assert parts["64 PIL images, `ToTensor`, stack"][0] > 10 * parts["`backward`"][0]
    assert parts["`index_select`"] < parts["`x[indices]`"]
    assert parts["`weight @ x.T`"] < parts["`x @ weight.T`"]
    assert parts["softmax, transposed"] < parts["softmax, 64 rows of 10"]
    assert parts["`amax(0)` and `gather`"] < parts["`argmax(0)`, logits of an epoch"]
    assert parts["a new batch, as bytes"] < parts["a new batch"]
    rows = {n: row[3] for n, row in recorded("Beside its peers").items() if row[3:]}
    fast = {"JAX, `jit` of an epoch in `scan`", f"our ladder, {ladder.COMPILED}"}
    assert {*sorted(rows, key=rows.get)[:3]} - fast == {peers.FLOOR}
    assert all(0.9 < rows[name] < 1.2 for name in fast)
    # What the lesson quotes.
    _, _, quoted = script(NAME).read_text("utf-8").partition("# Other means\n")
    saved = 100 - 100 * recorded("One thread")[ladder.READABLE][2]
    slower = rows["our loop, its step through `torch.compile`"]
    slower /= rows["our loop, `common.train_epoch`"]
    new, backward = (parts[name][0] for name in ("a new batch", "`backward`"))
    half = parts["model and loss, `autocast`"][0] / parts["model and loss"][0]
    numbers = f"{saved:.0f} %", f"{slower:.1f} t", f"{new:.0f} micro"
    for text in (*numbers, f"{backward:.0f}\n", f"{half:.1f} t"):
        assert text in quoted
    others = parts["model and loss"][0], parts["`optimizer.step`"][0]
    assert backward > max(new, *others)


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks").glob("[!m]*.py")))
def test_benchmark(path):
    assert f"\npython benchmarks/{path.name}\n" in README
    options = ["--repetitions", "1", *["--sample"] * (path.stem != "startup")]
    subprocess.run([sys.executable, path, *options], env=environment(), check=True)


@pytest.mark.parametrize("seed", [0, 1])
def test_answers(output, seed):
    literals = re.findall("``(.+?)``", TRY_IT)
    first = "def without_loader(model):\n    parts = "
    change = [first + text for text in literals[2:4]]
    run = run_changed(NAME, output, change, literals[4], "--seed", seed)
    found = re.findall(r"loss (\S+), weights (\S+) apart", run.out)  # as printed
    losses, weights = np.array(found, float).T
    assert np.flatnonzero(weights > 1e-6).tolist() == [3]
    assert weights[3] > 0.01
    assert abs(losses - losses[0]).max() < 1e-3


def test_measured_parts(output):
    loop = re.findall("``(for .+?)``", TRY_IT)[0]
    lines = dedent("\n".join(re.findall("^#(        .+)", TRY_IT, re.M)))
    for change in ((loop, loop), (loop, lines)):
        out = run_changed(NAME, output, change, *SMALL).out
        shares = re.findall(r"^(?:fetch|forward|backward|update) +(\d+)%", out, re.M)
        assert len(shares) == 4
        assert sum(map(int, shares)) == pytest.approx(100, abs=2)
