"""Using a saved model: any image comes out as the model expects it, or as one line."""

import gzip
import warnings

import numpy as np
import pytest
import torch
from PIL import Image, ImageFilter

from conftest import ROOT, fails, run_in_process

NAME, IMAGES = "use_saved_model", ROOT / "data/images"
SHAPE = np.zeros((28, 28))  # a T-shirt, on the grid that the model sees
SHAPE[:9], SHAPE[9:, 7:21] = 1, 1


def photograph(color, ground):
    """The shape of 280 x 280 pixels, off the centre of a larger image."""
    mask = np.pad(np.kron(SHAPE, np.ones((10, 10))), ((31, 90), (60, 13)))[..., None]
    return Image.fromarray(np.uint8(mask * color + (1 - mask) * ground))


WHITE = [255, 255, 255]
KINDS = {
    "dark.png": photograph([30, 60, 120], WHITE),
    "light.png": photograph([250, 240, 230], [0, 0, 0]),
    "on_grey.png": photograph([250, 240, 230], [150, 150, 150]),
    "clear.png": photograph([30, 60, 120, 255], [0, 0, 0, 0]),
    "white_clear.png": photograph([255, 255, 255, 255], [255, 255, 255, 0]),
    "print.jpg": photograph([30, 60, 120], WHITE).convert("CMYK"),
    "huge.jpg": photograph([0, 0, 0], WHITE).resize((3530, 4010)),
    "soft.webp": photograph([0, 0, 0], WHITE).filter(ImageFilter.BoxBlur(2)),
    "phone.jpg": photograph([0, 0, 0], WHITE).rotate(90, expand=True),
}


def test_any_image_as_the_model_expects_it(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the phone was held upright, its pixels lie on their side
    for name, image in KINDS.items():
        turned = {"exif": exif} if name == "phone.jpg" else {}
        image.save(tmp_path / name, quality=95, **turned)
    run = run_in_process(NAME, tmp_path / "outputs", *(tmp_path / n for n in KINDS))
    for name, seen in zip(KINDS, run.vars["x"].numpy(), strict=True):
        assert seen[SHAPE == 0].mean() < 0.05 < 0.6 < seen[SHAPE == 1].mean(), name
        assert abs(seen / seen.max() - SHAPE).mean() < 0.05, name


def test_images_of_fashion_mnist_stay_as_they_are(lesson, tmp_path):
    data = (ROOT / "data/fashion_mnist_sample/t10k-images-idx3-ubyte.gz").read_bytes()
    images = np.frombuffer(gzip.decompress(data)[16:], np.uint8).reshape(-1, 28, 28)
    same = []
    for image in images[::10]:
        Image.fromarray(image).save(path := tmp_path / "image.png")
        same.append(np.allclose(lesson(NAME).vars["prepare"](path)[1] * 255, image))
    assert np.mean(same) > 0.8  # the others do not reach the border


def test_samples_and_shares_by_numpy(lesson):
    v = lesson(NAME).vars
    state = torch.load(ROOT / "data/fashion_mnist_linear.pth", weights_only=True)
    weight, bias = (tensor.numpy().astype(float) for tensor in state.values())
    x = v["x"].numpy().reshape(4, 784)
    logits = x @ weight.T + bias
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert v["values"][:, 0].numpy() == pytest.approx(p.max(axis=1), abs=1e-5)
    first, second = np.argsort(-logits)[:, :2].T
    names = " ".join(v["CLASSES"][k] for k in first)
    assert names == "Ankle boot T-shirt/top Bag Dress"
    n = np.arange(4)
    difference = (logits - bias)[n, first] - (logits - bias)[n, second]
    assert v["shares"].sum(axis=(1, 2)) == pytest.approx(difference, abs=1e-4)
    assert v["shares"][3, 15:24, 13:15].min() > 0


def test_a_model_of_ones_own(tmp_path):
    state = {"weight": torch.rand(10, 784) / 1e4, "bias": 9.0 * (torch.arange(10) == 5)}
    torch.save(state, path := tmp_path / "logistic.pth")
    run = run_in_process(NAME, tmp_path)
    assert run.out.startswith(f"model: {path}\n")
    assert run.out.count("\nSandal 0.999") == 4


DAMAGED = {
    "missing": lambda path: None,
    "folder": lambda path: path.mkdir(),
    "text": lambda path: path.write_text("shirt"),
    "truncated": lambda path: path.write_bytes((IMAGES / "bag.png").read_bytes()[:999]),
    "too large": lambda path: Image.linear_gradient("L").resize([9999] * 2).save(path),
    "blank": lambda path: Image.new("RGB", (50, 50), "white").save(path),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_no_image(capsys, tmp_path, kind):
    DAMAGED[kind](path := tmp_path / "shirt.png")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the lesson itself makes it an error
        fails(capsys, [path], run_in_process, NAME, tmp_path / "outputs", path)
