"""Classification: the best possible accuracy, the regions, the animation."""

import errno
import io
import math

from common import save_animation

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.animation import FuncAnimation, PillowWriter
from PIL import Image
from torch import nn


def test_accuracy_beside_the_best_possible(lesson, capsys):
    seen = lesson("classification")
    best = 1 - math.erfc(2) / 2  # Phi(2 sqrt 2)
    assert seen["best_accuracy"] == pytest.approx(best, abs=1e-8)  # d is float32
    out = capsys.readouterr().out
    assert "best possible accuracy 0.9977\n" in out

    noise = math.sqrt(best * (1 - best) / 1e6)
    best_loss, best_seen = seen["scores"]["best", "fresh"]
    _, learned = seen["scores"]["learned", "fresh"]
    assert best_seen == pytest.approx(best, abs=5 * noise)
    assert best - 0.01 < learned < best + noise
    assert f"1000000 fresh points, an accuracy is uncertain by {noise:.5f}" in out
    assert f"learned  accuracy {learned:.4f}" in out

    # The best loss: along the line through the centres a point of class 0 lies at
    # t ~ N(2 sqrt 2, 1), and the log-odds there are 4 sqrt(2) t. By the rectangle rule:
    t, step = np.linspace(-8, 14, 20_001, retstep=True)
    density = np.exp(-((t - 2 * np.sqrt(2)) ** 2) / 2) / np.sqrt(2 * np.pi)
    integral = np.sum(density * np.logaddexp(0, -4 * np.sqrt(2) * t)) * step
    assert best_loss == pytest.approx(integral, rel=0.05)


def test_scores_on_the_training_points(lesson):
    """The same figures in NumPy, and the recipe: 200 points, 2-10-2, 100 steps."""
    seen = lesson("classification")
    w1, b1, w2, b2 = (p.detach().double().numpy() for p in seen["model"].parameters())
    assert w1.shape == (10, 2)
    assert w2.shape == (2, 10)
    x, y = seen["x"].double().numpy(), seen["y"].numpy()
    assert np.bincount(y).tolist() == [100, 100]
    assert x[y == 0].mean(axis=0) == pytest.approx([2, 2], abs=0.4)
    assert x[y == 1].mean(axis=0) == pytest.approx([-2, -2], abs=0.4)
    assert x[y == 0].std(axis=0) == pytest.approx([1, 1], abs=0.3)

    logits = np.maximum(x @ w1.T + b1, 0) @ w2.T + b2
    normalizer = np.logaddexp(logits[:, 0], logits[:, 1])
    loss = (normalizer - logits[np.arange(200), y]).mean()
    accuracy = (logits.argmax(axis=1) == y).mean()
    expected = pytest.approx((loss, accuracy), rel=1e-5)
    assert seen["scores"]["learned", "training"] == expected
    assert len(seen["losses"]) == 100
    assert loss < seen["losses"][-1] < 0.2 < seen["losses"][0]


@pytest.mark.parametrize("epochs", [7, 130])
def test_pausing_for_snapshots_changes_nothing(lesson, epochs):
    seen = lesson("classification", "--epochs", epochs, "--lr", 0.1)
    torch.manual_seed(0)
    torch.randn(200, 2)  # the points
    model = nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(epochs):
        loss = nn.functional.cross_entropy(model(seen["x"]), seen["y"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert seen["losses"] == losses


def test_regions_are_the_model_s_and_the_right_way_up(lesson):
    seen = lesson("classification", "--epochs", 20)
    last = seen["snapshots"][-1]
    for row, column in [(0, 0), (0, 200), (200, 0), (50, 130)]:
        point = torch.tensor([[-6 + 0.06 * column, -6 + 0.06 * row]])
        with torch.inference_mode():
            probability = torch.softmax(seen["model"](point), dim=1)[0, 0].item()
        assert last[row, column] == pytest.approx(probability, abs=1e-5)
    picture = seen["regions"]
    assert picture.origin == "lower"
    assert picture.get_extent() == [-6, 6, -6, 6]


def test_the_best_boundary_is_x_plus_y_equal_0(lesson):
    seen = lesson("classification", "--epochs", 1)
    on_it = torch.tensor([[-4.0, 4.0], [0.0, 0.0], [2.5, -2.5]])
    logits = seen["best_model"](on_it).detach()
    assert logits[:, 0] == pytest.approx(logits[:, 1])
    above = seen["best_model"](on_it + 0.01).argmax(dim=1)
    assert above.tolist() == [0, 0, 0]
    (line,) = (line for line in seen["ax"].lines if line.get_linestyle() == "--")
    assert line.get_slope() == -1
    assert line.get_xy1() == (0, 0)


@pytest.mark.parametrize(("epochs", "frames"), [(1, 2), (2, 3), (100, 21), (333, 21)])
def test_the_animation_follows_the_epochs(lesson, output, epochs, frames):
    seen = lesson("classification", "--epochs", epochs, "--lr", 0.5)
    assert isinstance(seen["animation"], FuncAnimation)
    pauses = seen["pauses"]
    assert len(pauses) == len(seen["snapshots"]) == frames
    assert (pauses[0], pauses[-1]) == (0, epochs)
    path = output / "classification.gif"
    assert path.stat().st_size <= 2_000_000
    with Image.open(path) as picture:
        assert picture.format == "GIF"
        assert picture.n_frames == frames
        assert picture.info["loop"] == 0  # for ever
        first = np.asarray(picture.convert("RGB")).astype(int)
        picture.seek(frames - 1)
        last = np.asarray(picture.convert("RGB")).astype(int)
    # Not the title alone changes, and not the shades alone.
    assert (np.abs(last - first).max(axis=2) > 20).mean() > 0.1
    seen["draw"](1)
    assert seen["title"].get_text() == f"epoch {pauses[1]}"
    assert (seen["regions"].get_array() == seen["snapshots"][1]).all()


@pytest.fixture
def animation():
    fig, ax = plt.subplots()
    (line,) = ax.plot([0, 1])
    yield FuncAnimation(fig, lambda frame: line.set_ydata([0, frame]), frames=3)
    plt.close(fig)


def test_a_failed_animation_leaves_the_old_one(animation, tmp_path, monkeypatch):
    path = tmp_path / "x.gif"
    path.write_bytes(b"the old one")

    def full(self):
        with open(self.outfile, "wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(PillowWriter, "finish", full)
    with pytest.raises(SystemExit) as error:
        save_animation(animation, path)
    assert f"cannot write {path} (No space left on device); see -" in error.value.code
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == b"the old one"


def test_a_folder_in_the_way_of_the_animation(animation, tmp_path):
    path = tmp_path / "x.gif"
    path.mkdir()
    with pytest.raises(SystemExit) as error:
        save_animation(animation, path)
    assert f"cannot write {path} (" in error.value.code
    assert list(tmp_path.iterdir()) == [path]


def test_a_saved_animation_says_so(animation, tmp_path, capsys):
    path = tmp_path / "x.gif"
    save_animation(animation, path)
    assert capsys.readouterr().out == f"saved {path}\n"
    assert list(tmp_path.iterdir()) == [path]
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        assert picture.n_frames == 3
