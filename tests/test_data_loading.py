import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.special import log_softmax
from torch.utils.data import DataLoader

from conftest import fails, run_in_process, script
from lesson_data import read_files

NAME = "data_loading"
MORE_SEEDS = [pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3, 7)]


def test_files_and_labels(lesson):
    """A file has its pixels, in grey; labels are in the order of the alphabet."""
    v, (pixels, truth, *_) = lesson(NAME).vars, read_files(sample=True).values()
    pixels = np.frombuffer(pixels, np.uint8)[16:].reshape(-1, 28, 28)[:1000]
    names = [name.partition("/")[0] for name in v["CLASSES"]]
    numbers = set()
    for (path, label), image in zip(v["files"].samples, v["images"], strict=True):
        numbers.add(i := int(re.search(r"(\d+)\.png$", path)[1]))
        assert (np.asarray(Image.open(path)) == pixels[i]).all()
        assert (image[0].numpy() == np.float32(pixels[i]) / np.float32(255)).all()
        assert sorted(names)[label] == names[truth[8 + i]]
    assert numbers == set(range(1000))
    assert torch.equal(v["own"], v["images"])
    expected = (v["images"].numpy() - pixels.mean() / 255) / (pixels.std() / 255)
    assert v["inputs"].numpy() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("seed", [0, *MORE_SEEDS])
def test_losses_of_a_tensor_loop(lesson, seed):
    """The same bits, in batches of one tensor, by log_softmax and NLLLoss."""
    v, losses = lesson(NAME, "--seed", seed).vars, []
    torch.manual_seed(seed)
    layer = torch.nn.Linear(784, 10)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01)
    order = DataLoader(range(1000), batch_size=64, shuffle=True)
    for _ in range(3):
        total = 0.0
        for rows in order:
            x, y = v["inputs"][rows].flatten(1), v["labels"][rows]
            mean = torch.nn.functional.nll_loss(layer(x).log_softmax(1), y)
            layer.zero_grad()
            mean.backward()
            optimizer.step()
            total += mean.item() * len(rows)
        losses.append(total / 1000)
    assert v["losses"]["files"] == v["losses"]["memory"] == losses


@pytest.mark.parametrize("size", [64, 250])
def test_averages(lesson, size):
    run = lesson(NAME, *["--batch-size", 250, "--epochs", 1] * (size == 250))
    v = run.vars
    weight, bias = (p.detach().numpy().astype(float) for p in v["model"].parameters())
    logits = v["inputs"].flatten(1).numpy() @ weight.T + bias
    losses = -log_softmax(logits, axis=1)[range(1000), v["labels"]]
    parts = [losses[i : i + size].mean() for i in range(0, 1000, size)]
    exact = [losses.mean(), losses.mean(), np.mean(parts), np.sum(parts) / 1000]
    seen = re.findall(r"^(?:all|weig|mean of|sum).*: (.+)$", run.out, re.M)
    assert [float(text) for text in seen] == pytest.approx(exact, abs=6e-5)
    assert (abs(exact[2] - exact[0]) > 1e-4) == (size == 64)
    assert f"{len(parts)} batches, the last of {1000 % size or size}; " in run.out
    assert "equal to slices: True" in run.out


def few_images(folder):
    for i in range(130):
        (path := folder / "images" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        Image.linear_gradient("L").resize((28, 28)).rotate(i).save(path / f"{i}.png")


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("spawn", "forkserver")]


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
@pytest.mark.parametrize("method", ["fork", *SLOW])
def test_workers(tmp_path, method):
    few_images(tmp_path)
    code = script("data_loading_workers").read_text("utf-8")
    context = f'multiprocessing_context="{method}" if workers else None'
    code = code.replace("num_workers=workers", f"num_workers=workers, {context}")
    (tmp_path / "read.py").write_text("print(__name__)\n" + code)
    command = [sys.executable, tmp_path / "read.py", tmp_path / "images"]
    out = subprocess.check_output(command, text=True)
    assert out.count("same batches: True") == 3
    assert ("__mp_main__" in out) == (method != "fork")


def test_photographs(tmp_path):
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


def test_folders_without_images(capsys, tmp_path):
    """An `OSError` ends in one line (test_cli)."""
    few_images(tmp_path)
    (tmp_path / "images/a/0.png").write_text("no image")
    (tmp_path / "empty/a").mkdir(parents=True)
    output = tmp_path / "outputs"
    for folder, word in (("missing", "missing"), ("images", "0.png"), ("empty", "a")):
        with pytest.raises(OSError, match=word):
            run_in_process(NAME, output, "--data", tmp_path / folder)
    (tmp_path / "images/a").rename(tmp_path / "images/b/c")
    argv = ["--data", tmp_path / "images"]
    fails(capsys, ["images", "b"], run_in_process, NAME, output, *argv)
