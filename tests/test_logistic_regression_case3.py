"""Is logistic regression 3 the published loop, and is what its prose says true?"""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from torch.utils.data import DataLoader, TensorDataset

from checkpoint import load
from common import evaluate
from conftest import ROOT, run_changed, run_in_process, script

NAME = "logistic_regression_case3"
TEXT = script(NAME).read_text(encoding="utf-8")
SAMPLE, SLOW = ("--sample", "--seed"), pytest.mark.slow
RUNS = [(*SAMPLE, seed) for seed in (0, 1, 2, 3, 7)]
RUNS += [pytest.param(argv[1:], marks=SLOW) for argv in RUNS]


@pytest.fixture(params=RUNS, ids=str)
def seen(lesson, request):
    run = lesson(NAME, *request.param)
    run.seed, run.full = request.param[-1], len(request.param) == 2
    run.data = [run.vars[f"{a}_{b}"].numpy() for a in ("train", "test") for b in "xy"]
    return run


def test_published_run_and_its_references(lesson, seen):
    torch.manual_seed(seen.seed)
    x, y, *rest = map(torch.tensor, seen.data)
    train = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    test = DataLoader(TensorDataset(*rest), batch_size=64)
    model = torch.nn.Linear(784, 10)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    of_batches, of_images = [], []
    for loader in (train, test) * 3:
        rows = []
        for x, y in loader:
            logits = model(x)
            loss = torch.nn.functional.cross_entropy(logits, y)
            if loader is train:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            right = (logits.argmax(1) == y).double().mean()
            rows.append((loss.item(), right.item(), len(y)))
        of_batches += [*np.mean(rows, axis=0)[:2]]
        of_images += [*np.average(rows, axis=0, weights=np.array(rows)[:, 2])[:2]]
    history = np.array(seen.vars["history"])
    assert history[:3].ravel() == pytest.approx(of_images, rel=1e-5)
    assert ("\npublished " in seen.out) == (seen.full and seen.seed == 0)
    if seen.full and seen.seed == 0:
        quoted = [*seen.vars["published"][1], *seen.vars["published"][3]]
        assert quoted == pytest.approx(of_batches[:4] + of_batches[8:], abs=6e-5)
        assert "\npublished " not in lesson(NAME, "--epochs", 1, "--lr", 0.01).out
        sets = seen.data[:2], seen.data[2:]
        fit = LogisticRegression(tol=1e-6, max_iter=10_000).fit(*sets[0])
        best = [(log_loss(y, fit.predict_proba(x)), fit.score(x, y)) for x, y in sets]
        assert seen.vars["converged"] == pytest.approx(np.ravel(best), abs=0.0005)
    assert history[0, 0] > history[0, 2]
    assert history[-1, 0] < history[-1, 2] < history[-11, 2]
    assert [len(ax.lines) for ax in seen.figures[0].axes] == [2 + seen.full] * 2
    if seen.full:
        assert history[-1, 2] > seen.vars["converged"][2] + 0.05
        assert abs(seen.vars["test_accuracy"] - history[-1, 3]) < 0.03


def sgd(start, x, y, lr, seed, check):
    w, b = (p.detach().numpy().copy() for p in start.parameters())
    generator, accuracies = torch.Generator().manual_seed(seed), []
    orders = [torch.randperm(len(x), generator=generator).numpy() for _ in range(5)]
    batches = [o[i : i + 64] for o in orders for i in range(0, len(x), 64)]
    for step, rows in enumerate(batches, 1):
        error = softmax(x[rows] @ w.T + b, axis=1) - np.eye(10, dtype="f4")[y[rows]]
        w -= lr * error.T @ x[rows] / len(rows)
        b -= lr * error.mean(axis=0)
        if step % -(-len(batches) // 100) == 0 or step == len(batches):
            accuracies.append(((check[0] @ w.T + b).argmax(1) == check[1]).mean())
    return w, accuracies


def test_validation_chooses_a_rate_of_a_tenth(seen):
    run, (x, y, *test) = seen.vars, seen.data
    held_out, kept = run["held_out"].numpy(), run["kept"].numpy()
    assert len(held_out) == len(x) // 6
    assert sorted([*held_out, *kept]) == list(range(len(x)))
    mean, swing, check = {}, {}, (x[held_out], y[held_out])
    for lr in (0.001, 0.01, 0.1, 1.0):
        _, curve = sgd(run["untrained"], x[kept], y[kept], lr, seen.seed, check)
        mean[lr], swing[lr] = np.mean(curve[-20:]), np.ptp(curve[-20:])
    assert run["means"] == pytest.approx(mean, abs=0.02)
    assert run["best_lr"] == max(mean, key=mean.get) == 0.1
    assert mean[0.001] < mean[0.01] < mean[0.1]
    assert swing[1.0] > swing[0.1] > max(0.02, 2 * swing[0.01])
    w, _ = sgd(run["untrained"], x, y, 0.1, seen.seed, test)
    assert run["chosen"].weight.detach().numpy() == pytest.approx(w, abs=1e-3)


def test_weights_and_metrics_of_the_saved_model(seen):
    run, (x, _, test_x, test_y) = seen.vars, seen.data
    w, b = (v.double().numpy() for v in load(seen.output / "logistic.pth").values())
    p = softmax(test_x @ w.T + b, axis=1)
    assert run["test_accuracy"] == accuracy_score(test_y, p.argmax(1))
    assert run["test_loss"] == pytest.approx(log_loss(test_y, p), rel=1e-5)
    confusion = confusion_matrix(test_y, p.argmax(1))
    assert (run["confusion"] == confusion).all()
    errors = confusion - np.diag(np.diag(confusion))
    tops = [0, 2, 4, 6]  # T-shirt/top, pullover, coat and shirt
    assert errors[np.ix_(tops, tops)].sum() > errors.sum() / 2
    assert w[1].reshape(28, 28)[14:, 13:15].mean() < 0  # between the trouser legs
    corners = [0, 27, 28 * 27, 28 * 28 - 1]
    assert (x[:, corners] > 0).mean(axis=0).max() < 1 / 200
    change = abs(w - run["untrained"].weight.detach().numpy())
    assert change[:, corners].mean() < change.mean() / 20


def test_try_it_1_a_resumed_run_leaves_the_same_files(lesson, tmp_path, monkeypatch):
    calls, argv = [], (*SAMPLE, 0, "--epochs", 40)
    whole = lesson(NAME, *argv)
    monkeypatch.setattr("common.evaluate", lambda *a: calls.append(a) or evaluate(*a))
    run = run_in_process(NAME, tmp_path, *SAMPLE, 0, "--epochs", 20).vars
    asked = [model for model, x, *_ in calls if len(x) == 1000]  # about the test set
    assert asked == [run["model"]] * 21 + [run["chosen"]]
    for _ in range(2):  # the second time, all epochs are done
        again = run_in_process(NAME, tmp_path, *argv, "--resume")
        assert again.vars["history"] == whole.vars["history"]
        for path in [*whole.output.glob("*.png"), whole.output / "logistic.pth"]:
            assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_try_it_2_a_batch_of_all_images(lesson):
    options = [], ["--batch-size", 4000], ["--batch-size", 4000, "--lr", 0.063]
    runs = [lesson(NAME, *SAMPLE, 0, *argv).vars["history"] for argv in options]
    usual, low, scaled = (history[-1][3] for history in runs)
    assert low < 0.5 < scaled == pytest.approx(usual, abs=0.01)


def swings(lesson, output, seeds, *argv):
    """The swings of the rate 0.1 as it is and with the line of Try it 3, by seed."""
    line = "part = batches[i : i + every]"
    more = 'optimizer.param_groups[0]["lr"] = lr * (1 - i / len(batches))'
    assert f"the line ``{line}`` add the line\n#    ``{more}``" in TEXT
    change = f" {line}\n", f" {line}\n        {more}\n"
    for seed in seeds:
        usual = lesson(NAME, *SAMPLE, seed, *argv).vars
        falling = run_changed(NAME, output, change, *SAMPLE, seed, "--epochs", 1).vars
        assert falling["best_lr"] == 1
        yield [np.ptp(run["curves"][0.1][-20:]) for run in (usual, falling)]


def test_try_it_3_a_rate_that_falls_to_zero(lesson, output):
    first, *others = swings(lesson, output, (0, 1, 2, 3, 7))
    assert first == pytest.approx([0.09, 0.02], abs=0.005)
    assert np.ravel(others) == pytest.approx([0.09, 0.025] * 4, abs=0.015)


@SLOW
def test_try_it_3_with_the_seeds_that_it_names(lesson, output):
    assert "seeds 1 to 11, 1 to 4 instead of 5 to 12" in TEXT.replace("\n#    ", " ")
    points = 100 * np.array([*swings(lesson, output, range(1, 12), "--epochs", 1)])
    assert points.min(axis=0).round().tolist() == [5, 1]
    assert points.max(axis=0).round().tolist() == [12, 4]


@pytest.mark.slow
def test_the_model_that_comes_with_the_next_lesson_is_that_of_this_run(lesson):
    given = torch.load(ROOT / "data/fashion_mnist_linear.pth", weights_only=True)
    trained = lesson(NAME, "--seed", 0).vars["chosen"].state_dict()
    for name, value in trained.items():
        assert torch.allclose(given[name], value, atol=1e-3)
