import numpy as np
import pytest
import torch
from PIL import Image

from conftest import ROOT, SEEDS, fails, run_in_process
from lesson_data import CLASSES, prepare, read_files

NAME = "use_saved_model"
SHAPE = np.zeros((28, 28))  # a T-shirt, on the grid that the model sees
SHAPE[:9], SHAPE[9:, 7:21] = 1, 1
STATE = torch.load(ROOT / "data/fashion_mnist_linear.pth", weights_only=True)
*_, X, Y = (np.frombuffer(data, np.uint8) for data in read_files(sample=True).values())
X, Y = X[16:].reshape(-1, 28, 28), Y[8:]  # after a header
WEIGHT, BIAS = (tensor.numpy().astype(float) for tensor in STATE.values())


def classify(x):
    """Class and probability of images of shape (n, 28, 28), by the model in data/."""
    logits = np.asarray(x, float).reshape(-1, 784) @ WEIGHT.T + BIAS
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return [CLASSES[k] for k in p.argmax(axis=1)], p.max(axis=1)


def photograph(color, ground):
    """The shape of 280 x 280 pixels, off the centre of a larger image."""
    mask = np.pad(np.kron(SHAPE, np.ones((10, 10))), ((31, 90), (60, 13)))[..., None]
    return Image.fromarray(np.uint8(mask * color + (1 - mask) * ground))


def noisy(image):
    """Each pixel apart from its neighbours, as in a photograph with little light."""
    noise = np.random.default_rng(0).normal(0, 3, np.shape(image))
    return Image.fromarray(np.uint8(np.clip(image + noise, 0, 255)))


WHITE = [255, 255, 255]
KINDS = {
    "dark.png": photograph([30, 60, 120], WHITE),
    "light.png": photograph([250, 240, 230], [0, 0, 0]),
    "on_grey.png": photograph([250, 240, 230], [150, 150, 150]),
    "pale.png": photograph([230, 235, 225], WHITE),
    "night.png": photograph([20, 30, 25], [0, 0, 0]),
    "clear.png": photograph([0, 0, 0, 255], [0, 0, 0, 0]),
    "white_clear.png": photograph([255, 255, 255, 255], [255, 255, 255, 0]),
    "print.jpg": photograph([30, 60, 120], WHITE).convert("CMYK"),
    "noisy.jpg": noisy(photograph([30, 60, 120], WHITE).resize((1059, 1203))),
    "huge.webp": photograph([0, 0, 0], WHITE).resize((3530, 4010)),
    "phone.jpg": photograph([0, 0, 0], WHITE).rotate(90, expand=True),
}


def save(name, folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # the phone was held upright, its pixels lie on their side
    turned = {"exif": exif} if name == "phone.jpg" else {}
    KINDS[name].save(folder / name, quality=95, **turned)
    return folder / name


@pytest.mark.parametrize("name", KINDS)
def test_any_image_as_the_model_expects_it(tmp_path, name):
    image, seen = prepare(save(name, tmp_path))
    assert (image.mode, seen.dtype, seen.shape) == ("RGBA", torch.float32, (28, 28))
    assert 260 < max(image.size) <= 400
    assert image.height > image.width
    assert abs(seen.numpy() - SHAPE).mean() < 0.07


@pytest.mark.parametrize("scale", [1, 50])  # 50: as large as a photograph
def test_16_bits_are_as_8(tmp_path, scale):
    pixels = np.kron(X[3], np.ones((scale, scale), np.uint16))
    Image.fromarray(np.uint8(pixels)).save(tmp_path / "8.png")
    Image.fromarray(pixels * np.uint16(257)).save(tmp_path / "16.png")
    (_, a), (_, b) = prepare(tmp_path / "8.png"), prepare(tmp_path / "16.png")
    assert torch.allclose(a, b, atol=0.02)


@SEEDS
def test_test_images_as_files(tmp_path, seed):
    """Small or large, on black or white, at three contrasts, beside the tensors."""
    chosen = np.random.default_rng(seed).choice(len(X), 200, replace=False)
    x, y, path = X[chosen], [CLASSES[k] for k in Y[chosen]], tmp_path / "image.png"
    best = sum(k == c for k, c in zip(classify(x / 255)[0], y, strict=True))
    assert 150 < best < 185
    for contrast in (1, 0.3, 0.12):
        for white in (False, True):
            seen = []
            for i, image in enumerate(x):
                large = np.pad(np.kron(image, np.ones((3, 3))), ((9, 40), (20, 1)))
                pixels = np.uint8(contrast * (large if i % 2 else image) + 0.5)
                Image.fromarray(255 - pixels if white else pixels).save(path)
                seen.append(prepare(path)[1].numpy())
            right = sum(k == c for k, c in zip(classify(seen)[0], y, strict=True))
            assert right >= best - 8, (contrast, white)
            if contrast == 1:  # the images that reach the border stay as they are
                same = abs(np.array(seen) - x / 255).max(axis=(1, 2)) < 0.01
                assert same[::2].mean() > 0.8


def test_samples_and_terms_by_numpy(lesson):
    run = lesson(NAME)
    v = run.vars
    x = v["x"].numpy()
    found, p = classify(x)
    assert found == ["Ankle boot", "T-shirt/top", "Bag", "Dress"]
    assert v["probability"][:, 0].numpy() == pytest.approx(p, abs=1e-5)
    logits = x.reshape(4, 784) @ WEIGHT.T
    first, second = np.argsort(-logits - BIAS)[:, :2].T
    n = np.arange(4)
    difference = logits[n, first] - logits[n, second]
    assert v["terms"].sum(dim=(1, 2)).numpy() == pytest.approx(difference, abs=1e-4)
    assert v["terms"][3, 15:24, 13:15].min() > 0
    red, _, blue, _ = run.figures[1].axes[2].images[0].cmap(1.0)  # a positive term
    assert red > blue
    boot, tshirt, _, trousers = x = run.vars["x"].numpy()
    between, leg = trousers.copy(), trousers.copy()
    between[10:, 13:15] = leg[10:, 10:12] = 0
    moved = np.roll(boot, 5, axis=0)
    assert boot[-5:].max() == 0  # nothing comes back at the top
    shown = [boot, trousers, between, leg, tshirt, 1 - tshirt, 0.12 * tshirt, moved]
    found, p = classify([*shown, np.ones((28, 28))])
    lines = [line for line in run.out.split("\n") if line[-6:-3] == " 0."][4:]
    for line, k, value in zip(lines, found, p, strict=True):
        assert f": {k} " in line
        assert float(line[-5:]) == pytest.approx(value, abs=6e-4)
    assert found[2:6] == ["Trouser", "Dress", "T-shirt/top", "Bag"]
    assert found[-2:] == ["Bag", "Bag"]
    assert p[-1] > p[4] > p[6]
    assert p[[2, 3, 4, 5]].min() > 0.8
    assert classify(x[:, :, ::-1])[0] == ["Bag", "T-shirt/top", "Bag", "Dress"]
    right = ["Ankle boot", "T-shirt/top", "Bag", "Trouser"]
    turned = classify(np.rot90(x, axes=(1, 2)))[0]
    assert not any(k == c for k, c in zip(turned, right, strict=True))
    x, layer = torch.tensor(X[:64, None] / 255).float(), torch.nn.BatchNorm2d(1)
    assert (layer(x)[:1] - layer(x[:1])).abs().max() > 0.1
    layer.eval()
    assert torch.allclose(layer(x)[:1], layer(x[:1]))


def test_a_model_and_files_of_ones_own(tmp_path):
    """A pattern, unexpanded as on Windows, and a name that only looks like one."""
    state = {"weight": torch.rand(10, 784) / 1e4, "bias": 9.0 * (torch.arange(10) == 5)}
    torch.save(state, path := tmp_path / "logistic.pth")
    for name in ("b.png", "a.png", "a[1].jpg"):
        KINDS["dark.png"].save(tmp_path / name)
    run = run_in_process(NAME, tmp_path, tmp_path / "*.png", tmp_path / "a[1].jpg")
    assert f"\nmodel: {path}\na.png: Sandal 0.999" in run.out
    assert [path.name for path in run.vars["paths"]] == ["a.png", "b.png", "a[1].jpg"]


CUT = (ROOT / "data/images/bag.png").read_bytes()[:999]
HEIC = bytes.fromhex("000000186674797068656963000000006d69663168656963") + bytes(64)
DAMAGED = {  # with a word of the line that says so
    "missing": (lambda path: None, "No such file"),
    "folder": (lambda path: path.mkdir(), "director"),
    "svg": (lambda path: path.write_text("<svg/>"), "export it as JPEG or PNG"),
    "pdf": (lambda path: path.write_text("%PDF-1.4"), "export it as JPEG or PNG"),
    "heic": (lambda path: path.write_bytes(HEIC), "export it as JPEG or PNG"),
    "truncated": (lambda path: path.write_bytes(CUT), "truncated"),
    "blank": (lambda path: Image.new("RGB", (50, 50), "white").save(path), "nothing"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_no_image(capsys, tmp_path, kind):
    write, word = DAMAGED[kind]
    write(path := tmp_path / "shirt.png")
    fails(capsys, [path, word], prepare, path)
