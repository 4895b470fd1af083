"""A folder of images, its batches, their averages, and the file with workers."""

import gzip
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import log_softmax
from torch.utils.data import DataLoader, TensorDataset

from conftest import ROOT, fails, run_in_process

NAME = "data_loading"


def read(name, start):
    """Read a file of the sample, by NumPy."""
    data = (ROOT / f"data/fashion_mnist_sample/{name}-ubyte.gz").read_bytes()
    return np.frombuffer(gzip.decompress(data)[start:], np.uint8)


def test_files_and_labels(lesson):
    """A file has its pixels, in grey; labels are in the order of the alphabet."""
    v = lesson(NAME).vars
    pixels = read("train-images-idx3", 16).reshape(-1, 28, 28)[:1000]
    truth = read("train-labels-idx1", 8)
    names = [name.partition("/")[0] for name in v["CLASSES"]]
    numbers = set()
    for (path, label), image in zip(v["files"].samples, v["images"], strict=True):
        numbers.add(i := int(re.search(r"(\d+)\.png$", path)[1]))
        assert (np.asarray(Image.open(path)) == pixels[i]).all()
        assert (image[0].numpy() == np.float32(pixels[i]) / np.float32(255)).all()
        assert sorted(names)[label] == names[truth[i]]
    assert numbers == set(range(1000))
    assert torch.equal(v["own"], v["images"])
    assert v["mean"] == pytest.approx(pixels.mean() / 255, abs=1e-5)
    assert v["std"] == pytest.approx(pixels.std() / 255, abs=1e-5)
    expected = (v["images"].numpy() - pixels.mean() / 255) / (pixels.std() / 255)
    assert v["inputs"].numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 7])
def test_losses_of_a_tensor_loop(lesson, monkeypatch, seed):
    """The same batches from one tensor, by log_softmax and NLLLoss: equal bits."""
    v = lesson(NAME).vars
    monkeypatch.setattr(v["args"], "seed", seed)
    _, losses = v["train"]("files", v["dataset"])
    _, raw = v["train"]("raw", TensorDataset(v["images"], v["labels"]))
    assert losses[-1] < raw[-1] - 0.5
    torch.manual_seed(seed)
    layer = torch.nn.Linear(784, 10)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    order = DataLoader(range(1000), batch_size=64, shuffle=True)
    for loss in losses:
        total = 0.0
        for rows in order:
            x, y = v["inputs"][rows].flatten(1), v["labels"][rows]
            mean = torch.nn.functional.nll_loss(layer(x).log_softmax(1), y)
            layer.zero_grad()
            mean.backward()
            optimizer.step()
            total += mean.item() * len(rows)
        assert total / 1000 == loss
    assert (losses == v["losses"] == v["memory_losses"]) == (seed == 0)


def means(v, size):
    """The loss on all images, and the mean of the means of batches, by SciPy."""
    weight, bias = (p.detach().numpy().astype(float) for p in v["model"].parameters())
    logits = v["inputs"].flatten(1).numpy() @ weight.T + bias
    losses = -log_softmax(logits, axis=1)[range(1000), v["labels"]]
    parts = [losses[i : i + size].mean() for i in range(0, 1000, size)]
    return losses.mean(), np.mean(parts), np.sum(parts) / 1000


@pytest.mark.parametrize("size", [64, 250])
def test_averages(lesson, size):
    v = lesson(NAME, *["--batch-size", 250, "--epochs", 1] * (size == 250)).vars
    loss, mean, small = means(v, size)
    assert all(v["equal"])
    assert len(v["equal"]) == -(-1000 // size)
    assert v["weighted"] == pytest.approx(v["whole"], abs=1e-5)
    assert v["whole"] == pytest.approx(loss, abs=1e-5)
    assert v["mean_of_means"] == pytest.approx(mean, abs=1e-5)
    assert v["too_small"] == pytest.approx(small, abs=1e-5)
    assert (abs(mean - loss) > 1e-4) == (size == 64)


def start(code, folder, method):
    """Run the file with workers, as if ``method`` was the default; return its end."""
    context = f'multiprocessing_context="{method}" if workers else None'
    code = code.replace("num_workers=workers", f"num_workers=workers, {context}")
    (folder / "read.py").write_text("print(__name__)\n" + code)
    command = [sys.executable, folder / "read.py", folder / "images"]
    return subprocess.run(command, capture_output=True, text=True)


def few_images(folder):
    """Write 130 images of two classes."""
    for i in range(130):
        (path := folder / "images" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").resize((28, 28)).rotate(i).save(path / f"{i}.png")


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("spawn", "forkserver")]


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
@pytest.mark.parametrize("method", ["fork", *SLOW])
def test_workers(lesson, tmp_path, method):
    """The same batches by each method; a new process runs the top of the file."""
    run = lesson(NAME)
    assert run.out.count("same batches: True") == 3
    few_images(tmp_path)
    done = start((run.output / "read_images.py").read_text(), tmp_path, method)
    assert done.stdout.count("same batches: True") == 3
    assert ("__mp_main__" in done.stdout) == (method != "fork")


def test_photographs(tmp_path):
    """In colour, of several sizes and kinds, and beside them what is no image."""
    for i, (kind, name) in enumerate([("RGB", "jpg"), ("RGBA", "png"), ("P", "png")]):
        for label in ("cat", "dog"):
            (path := tmp_path / "mine" / label).mkdir(parents=True, exist_ok=True)
            image = Image.radial_gradient("L").resize((300 + 99 * i, 200)).convert(kind)
            image.save(path / f"{i}.{name}")
            (path / "notes.txt").write_text("mine")
    argv = ["--data", tmp_path / "mine", "--batch-size", 4]
    run = run_in_process(NAME, tmp_path / "outputs", *argv)
    assert run.vars["images"].shape == (6, 1, 28, 28)
    assert torch.equal(run.vars["own"], run.vars["images"])
    assert run.out.count("same batches: True") == 3
    assert run.vars["weighted"] == pytest.approx(run.vars["whole"], abs=1e-5)


def test_no_image(tmp_path):
    """An `OSError` ends in one line (test_cli)."""
    few_images(tmp_path)
    (tmp_path / "images/a/0.png").write_text("no image")
    for folder, word in (("missing", "missing"), ("images", "0.png")):
        argv = ["--data", tmp_path / folder]
        with pytest.raises(OSError, match=word):
            run_in_process(NAME, tmp_path / "outputs", *argv)


def test_one_class(capsys, tmp_path):
    few_images(tmp_path)
    (tmp_path / "images/a").rename(tmp_path / "images/b/c")
    argv = ["--data", tmp_path / "images"]
    fails(capsys, ["images", "b"], run_in_process, NAME, tmp_path / "outputs", *argv)
