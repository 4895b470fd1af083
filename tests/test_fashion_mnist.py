"""Is it the real Fashion-MNIST or an error, and the lesson the published loop?"""

import gzip
import hashlib
import http.server
import os
import re
import runpy
import shutil
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from conftest import ROOT
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from torch import nn
from torch.utils.data import DataLoader
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

import fashion_mnist
from fashion_mnist import CLASSES, FULL, SAMPLE, SAMPLE_FOLDER, load_fashion_mnist

NAME = "logistic_regression_case3"
IMAGES, LABELS = "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"


# ---------------------------------------------------------------- the data itself


def unpacked(root, files, names=FULL):
    """Put the files where torchvision looks for them below ``root``."""
    raw = root / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, data in zip(names, files, strict=True):
        (raw / name).write_bytes(data)
    return root


@pytest.fixture(scope="session")
def full(tmp_path_factory):
    """The folder of the full data set, as torchvision reads it."""
    return unpacked(tmp_path_factory.mktemp("full"), fashion_mnist.read_files())


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """The folder of the sample, as torchvision reads it."""
    files = fashion_mnist.read_files(sample=True)
    return unpacked(tmp_path_factory.mktemp("sample"), files)


@pytest.mark.parametrize("kind", ["sample", "full"])
def test_tensors_are_those_of_torchvision(kind, request):
    root = request.getfixturevalue(kind)
    ours = load_fashion_mnist(sample=kind == "sample")
    for train, images, labels in ((True, *ours[:2]), (False, *ours[2:])):
        theirs = FashionMNIST(root, train=train, transform=ToTensor())
        loader = DataLoader(theirs, batch_size=1000)
        assert (images.dtype, labels.dtype) == (torch.float32, torch.int64)
        assert len(images) == len(labels) == len(theirs)
        for i, (pictures, classes) in enumerate(loader):
            rows = slice(1000 * i, 1000 * (i + 1))
            assert torch.equal(images[rows], pictures.reshape(-1, 784))
            assert torch.equal(labels[rows], classes)


def test_sizes():
    shapes = [tuple(tensor.shape) for tensor in load_fashion_mnist()]
    assert shapes == [(60000, 784), (60000,), (10000, 784), (10000,)]


def test_class_names():
    assert list(CLASSES) == FashionMNIST.classes


def test_sample_is_balanced_and_real():
    """It holds the first 400 and 100 pictures of each class, and nothing else."""
    sample, full = load_fashion_mnist(sample=True), load_fashion_mnist()
    for part, count in ((0, 400), (2, 100)):
        images, labels = sample[part : part + 2]
        assert torch.bincount(labels).tolist() == [count] * 10
        for number in range(10):
            real = full[part][full[part + 1] == number][:count]
            assert torch.equal(images[labels == number], real)
    size = sum(path.stat().st_size for path in SAMPLE_FOLDER.iterdir())
    assert size <= 3_000_000


def test_sample_can_be_drawn_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fashion_mnist, "SAMPLE_FOLDER", tmp_path / "drawn")
    runpy.run_path(str(ROOT / "data/make_fashion_mnist_sample.py"))
    out = capsys.readouterr().out
    for name, (size, md5) in SAMPLE.items():
        assert f'"{name}": ({size}, "{md5}"),\n' in out
        drawn = gzip.decompress((tmp_path / "drawn" / f"{name}.gz").read_bytes())
        assert drawn == gzip.decompress((SAMPLE_FOLDER / f"{name}.gz").read_bytes())


# ----------------------------------------------- where it is found, what is refused
# These tests let the sample stand for the full data set: the same code, and faster.


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Two empty folders, in the order in which they are looked into; no network."""
    folders = [tmp_path / "data" / "FashionMNIST" / "raw", tmp_path / "debian"]
    monkeypatch.setattr(fashion_mnist, "FOLDERS", folders)
    monkeypatch.setattr(fashion_mnist, "FULL", SAMPLE)
    monkeypatch.setattr(FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody
    return folders


def copy_sample(folder, packed=True):
    """Fill ``folder`` with the four right files."""
    shutil.copytree(SAMPLE_FOLDER, folder)
    for path in [] if packed else list(folder.iterdir()):
        (folder / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


def failure(sample=False):
    """The one line with which loading fails."""
    with pytest.raises(SystemExit) as error:
        load_fashion_mnist(sample)
    message = error.value.code
    assert "\n" not in message
    return message.partition(": error: ")[2]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("place", [0, 1])
def test_each_folder_will_do(folders, place, packed):
    copy_sample(folders[place], packed)
    assert len(load_fashion_mnist()[0]) == 4000


def test_the_first_folder_wins(folders):
    copy_sample(folders[0])
    folders[1].mkdir()
    (folders[1] / IMAGES).write_bytes(b"never read")
    assert len(load_fashion_mnist()[0]) == 4000


RIGHT = gzip.decompress((SAMPLE_FOLDER / f"{LABELS}.gz").read_bytes())
RIGHT_IMAGES = gzip.decompress((SAMPLE_FOLDER / f"{IMAGES}.gz").read_bytes())
PACKED = gzip.compress(RIGHT)
DIGITS = RIGHT[:8] + bytes(range(10)) * 100  # the header is right, the labels are not
HUGE = RIGHT_IMAGES[:4] + b"\x7f\xff\xff\xff" * 3 + RIGHT_IMAGES[16:]
BAD_FILES = {
    "empty": (LABELS, b"", "0 bytes"),
    "truncated": (LABELS, RIGHT[:-1], "1007 bytes"),
    "too long": (LABELS, RIGHT + b"\0", "1009 or more bytes"),
    "a flipped bit": (LABELS, RIGHT[:-1] + bytes([RIGHT[-1] ^ 1]), "1008 bytes"),
    "plain MNIST": (LABELS, DIGITS, "1008 bytes"),
    "a text": (LABELS, b"404 not found", "13 bytes"),
    "images for labels": (LABELS, RIGHT_IMAGES, "1009 or more bytes"),
    "labels for images": (IMAGES, RIGHT, "1008 bytes"),
    "a huge header": (IMAGES, HUGE, "784016 bytes"),
    "packed, empty": (f"{LABELS}.gz", b"", "0 bytes"),
    "packed, truncated": (f"{LABELS}.gz", PACKED[:-9], "ended before"),
    "packed, flipped": (f"{LABELS}.gz", PACKED[:99] + b"\xff" + PACKED[100:], ""),
    "packed, garbled": (f"{LABELS}.gz", PACKED[:12] + b"\xff" * 99, "Error -3"),
    "packed, a false sum": (f"{LABELS}.gz", PACKED[:-8] + b"\0" * 8, "CRC check"),
    "packed, not": (f"{LABELS}.gz", RIGHT, "Not a gzipped file"),
    "packed, more": (f"{LABELS}.gz", PACKED + PACKED, "1009 or more bytes"),
    "packed, plain MNIST": (f"{LABELS}.gz", gzip.compress(DIGITS), "1008 bytes"),
}


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_named(folders, name, place):
    bad, data, found = BAD_FILES[name]
    copy_sample(folders[place], packed=bad.endswith(".gz"))
    (folders[place] / bad).write_bytes(data)
    message = failure()
    assert message.startswith(
        f"{folders[place] / bad} is not the file of Fashion-MNIST"
    )
    size, md5 = SAMPLE[bad.removesuffix(".gz")]
    assert f"expected {size} bytes (unpacked) with the MD5 {md5}, found: " in message
    assert found in message.partition("found: ")[2]


def test_a_bad_file_of_the_sample_is_named(tmp_path, monkeypatch):
    copy_sample(tmp_path / "sample")
    (tmp_path / "sample" / f"{LABELS}.gz").write_bytes(PACKED[:-9])
    monkeypatch.setattr(fashion_mnist, "SAMPLE_FOLDER", tmp_path / "sample")
    assert str(tmp_path / "sample" / f"{LABELS}.gz") in failure(sample=True)
    monkeypatch.setattr(fashion_mnist, "SAMPLE_FOLDER", tmp_path / "none")
    assert failure(sample=True) == f"{tmp_path / 'none'} is missing or empty"


def test_a_folder_instead_of_a_file(folders):
    copy_sample(folders[0])
    (folders[0] / LABELS).mkdir()
    assert f"{folders[0] / LABELS} is not the file" in failure()


@pytest.mark.parametrize("missing", SAMPLE)
def test_three_files_are_not_enough(folders, missing):
    copy_sample(folders[0])
    (folders[0] / f"{missing}.gz").unlink()
    copy_sample(folders[1])  # which does not excuse the first folder
    assert failure().startswith(f"{folders[0]} has no {missing}.gz")


def test_a_bomb_does_not_fill_the_memory(tmp_path):
    """A file of 4 MB that unpacks to 4 GB, read in a process of its own."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    copy_sample(tmp_path / "data" / "FashionMNIST" / "raw")
    member = gzip.compress(bytes(2**24))
    bomb = tmp_path / "data" / "FashionMNIST" / "raw" / f"{IMAGES}.gz"
    bomb.write_bytes(member * 256)
    script = (
        "import resource, sys, fashion_mnist\n"
        "fashion_mnist.FULL = fashion_mnist.SAMPLE\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "before = peak()\n"
        "try:\n    fashion_mnist.load_fashion_mnist()\n"
        "finally:\n    print(peak() - before)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"PYTHONPATH": str(tmp_path / "examples")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{bomb} is not the file of Fashion-MNIST" in done.stderr
    assert "784017 or more bytes" in done.stderr
    assert int(done.stdout) < 100_000  # kilobytes


# ----------------------------------------------------------------------- downloading


class Server(http.server.ThreadingHTTPServer):
    """Gives the ``files``, a dictionary; of one it gives half, and may then wait."""

    def __init__(self, files, half=None, wait=False):
        server = self
        self.files, self.end = files, threading.Event()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.lstrip("/")
                data = server.files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if name == half else data)
                if name == half and wait:
                    server.end.wait(60)

            def log_message(self, *_):
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def serve(folders, monkeypatch):
    """Let torchvision download from a server of our own, with these files."""
    servers = []

    def start(files, **kwargs):
        server = Server(files, **kwargs)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        mirror = f"http://127.0.0.1:{server.server_address[1]}/"
        monkeypatch.setattr(FashionMNIST, "mirrors", [mirror])

    right = {path.name: path.read_bytes() for path in SAMPLE_FOLDER.iterdir()}
    sums = [(f"{n}.gz", hashlib.md5(right[f"{n}.gz"]).hexdigest()) for n in SAMPLE]
    monkeypatch.setattr(FashionMNIST, "resources", sums)
    yield start, right
    for server in servers:
        server.end.set()
        server.shutdown()
        server.server_close()


def test_download(folders, serve, capsys):
    start, right = serve
    start(right)
    assert len(load_fashion_mnist()[0]) == 4000
    assert (
        f"downloading Fashion-MNIST (30 MB) to {folders[0]}" in capsys.readouterr().out
    )
    assert [path.name for path in folders[0].parent.iterdir()] == ["raw"]
    start({})  # nothing to be had any more, nor needed
    assert len(load_fashion_mnist()[0]) == 4000


def test_a_download_that_finds_another_file_in_its_place(folders, serve):
    start, right = serve
    start(right)
    folders[0].mkdir(parents=True)
    (folders[0] / ".DS_Store").touch()
    message = failure()
    assert "Directory not empty" in message
    assert os.listdir(folders[0]) == [".DS_Store"]


THREE_WAYS = ("dataset-fashion-mnist", "put them into", "--sample")


def names_three_ways(message):
    assert message.startswith("Fashion-MNIST is not on this machine, and the download")
    return all(way in message for way in THREE_WAYS)


@pytest.mark.parametrize("fault", ["wrong", "cut", "stalled"])
def test_a_broken_download_leaves_nothing(folders, serve, monkeypatch, fault):
    monkeypatch.setattr(fashion_mnist, "_PATIENCE", 1)
    start, right = serve
    name = f"{IMAGES}.gz"  # the third
    if fault == "wrong":
        start(right | {name: gzip.compress(b"a page that wants you to log in")})
    else:
        start(right, half=name, wait=fault == "stalled")
    message = failure()
    assert names_three_ways(message)
    assert ("timed out" in message) == (fault == "stalled")
    assert not list(folders[0].parent.iterdir())


def test_no_network(folders):
    message = failure()
    assert "refused" in message
    assert names_three_ways(message)
    assert not folders[0].parent.exists()


def test_a_network_that_answers_nothing(folders, monkeypatch):
    """Not even where the server is: a look-up of its name takes no time-out."""
    monkeypatch.setattr(fashion_mnist, "_PATIENCE", 0.5)
    end = threading.Event()

    def look_up(*_):
        end.wait(60)
        raise OSError("looked in vain")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    try:
        message = failure()
    finally:
        end.set()
    assert "no answer from http://127.0.0.1:9/" in message
    assert names_three_ways(message)


# ------------------------------------------------------------------------ the lesson


def published_loop(root, epochs):
    """Train as the tutorial does; return the model, and each epoch's figures.

    For each epoch the published ones, means of the means of batches, and the same
    figures as means over all pictures: train loss and accuracy, test loss and accuracy.
    """
    train, test = (
        FashionMNIST(root, train=part, transform=ToTensor()) for part in (True, False)
    )
    torch.manual_seed(0)
    loaders = DataLoader(train, batch_size=64, shuffle=True), DataLoader(test, 64)
    model = nn.Linear(784, 10)
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    history = []
    for _ in range(epochs):
        of_batches, of_pictures = [], []
        for loader in loaders:
            figures = []
            for images, labels in loader:
                logits = model(images.reshape(-1, 784))
                loss = loss_fn(logits, labels)
                if loader is loaders[0]:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                accuracy = (logits.argmax(1) == labels).double().mean()
                figures.append((loss.item(), accuracy.item(), len(labels)))
            *means, counts = np.array(figures).T
            of_batches += [np.mean(values) for values in means]
            of_pictures += [np.average(values, weights=counts) for values in means]
        history.append((of_batches, of_pictures))
    return model, history


def test_lesson_is_the_published_loop(lesson, sample):
    model, history = published_loop(sample, epochs=3)
    seen = lesson(NAME, "--sample", "--epochs", 3)
    for ours, (_, theirs) in zip(seen["history"], history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert torch.allclose(seen["model"].weight.cpu(), model.weight, atol=1e-6)


@pytest.mark.slow
def test_lesson_is_the_published_loop_on_all_pictures(lesson, full):
    """And the published figures that the lesson prints beside its own are true."""
    model, history = published_loop(full, epochs=3)
    seen = lesson(NAME, "--epochs", 3)
    for ours, (_, theirs) in zip(seen["history"], history, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-5)
    assert torch.allclose(seen["model"].weight.cpu(), model.weight, atol=1e-6)
    assert list(seen["published"]) == [1, 3]
    for epoch, figures in seen["published"].items():
        assert figures == pytest.approx(history[epoch - 1][0], abs=0.00006)


@pytest.mark.slow
def test_lesson_at_its_defaults(lesson, capsys):
    seen = lesson(NAME)
    assert seen["test_accuracy"] == pytest.approx(0.825, abs=0.003)
    assert seen["test_loss"] == pytest.approx(0.516, abs=0.002)
    assert seen["train"][0] == pytest.approx(0.487, abs=0.002)
    check_result(seen)
    out = capsys.readouterr().out
    epochs = [int(text) for text in re.findall(r"^epoch +(\d+) .* s$", out, re.M)]
    assert epochs == [*range(1, 101)]


def check_result(seen):
    """Score the saved model with scikit-learn, and hold the lesson's figures to it."""
    logits = nn.functional.linear(seen["test_x"], *seen["fresh"].parameters())
    probabilities = logits.detach().cpu().double().softmax(1).numpy()
    labels = seen["test_y"].cpu().numpy()
    predictions = probabilities.argmax(1)
    assert seen["test_accuracy"] == accuracy_score(labels, predictions)
    assert seen["test_loss"] == pytest.approx(log_loss(labels, probabilities), 1e-5)
    confusion = confusion_matrix(labels, predictions)
    assert (seen["confusion"] == confusion).all()
    np.fill_diagonal(confusion, 0)
    assert confusion[seen["true"], seen["predicted"]] == confusion.max()
    assert seen["loaded"] == (seen["test_loss"], seen["test_accuracy"])


def test_sample_lesson_learns(lesson, capsys, output):
    seen = lesson(NAME, "--sample")
    assert seen["test_accuracy"] > 0.73
    check_result(seen)
    out = capsys.readouterr().out
    assert f"test accuracy {seen['test_accuracy']:.4f} after 100 epochs" in out
    assert "the same as before: True" in out
    state = torch.load(output / "logistic.pth", weights_only=True)
    assert torch.equal(state["weight"], seen["model"].weight.cpu())


def test_same_seed_same_figures(lesson):
    first, again, other = (
        lesson(NAME, "--sample", "--epochs", 2, "--seed", seed)["history"]
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--batch-size", "0"], "'0' is not a whole number from 1 to 1000000000"),
        (["--batch-size", "6.5"], "'6.5' is not a whole number from 1 to 1000000000"),
        (["--batch-size", "4001"], "4001 is more than the 4000 training pictures"),
    ],
)
def test_batch_size_that_makes_no_sense(lesson, capsys, argv, message):
    with pytest.raises(SystemExit) as error:
        lesson(NAME, "--sample", *argv)
    assert error.value.code == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert streams.err == f"{NAME}.py: error: argument --batch-size: {message}\n"


def test_batch_size_of_all(lesson):
    """One step an epoch is full-batch gradient descent: the loss falls at each one."""
    seen = lesson(NAME, "--sample", "--batch-size", 4000, "--epochs", 20, "--lr", 0.1)
    losses = [figures[0] for figures in seen["history"]]
    assert losses == sorted(losses, reverse=True)


def test_learning_rate_that_blows_up(lesson, output):
    output.mkdir()
    (output / "logistic.pth").write_bytes(b"the model of an earlier run")
    with pytest.raises(SystemExit) as error:
        lesson(NAME, "--sample", "--lr", "1e38")
    assert "in epoch 1: the learning rate 1e+38 is too large" in error.value.code
    assert (output / "logistic.pth").read_bytes() == b"the model of an earlier run"


def test_bad_data_in_the_lesson(lesson, folders, output):
    copy_sample(folders[0])
    (folders[0] / f"{LABELS}.gz").write_bytes(PACKED[:-9])
    with pytest.raises(SystemExit) as error:
        lesson(NAME)
    assert f"{folders[0] / LABELS}.gz is not the file" in error.value.code
    assert not list(output.iterdir())


def test_progress_bar_on_a_terminal(output):
    """A pseudo-terminal of 100 columns sees a bar; the lines are there all the same."""
    pty = pytest.importorskip("pty", reason="Windows has no pseudo-terminals")
    termios = pytest.importorskip("termios")
    master, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (30, 100))
    path = ROOT / "examples" / f"{NAME}.py"
    argv = [sys.executable, path, "--sample", "--epochs", "5", "--output", output]
    process = subprocess.Popen(argv, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    seen = b""
    while True:
        try:
            data = os.read(master, 4096)
        except OSError:  # how Linux tells that the other end is closed
            break
        if not data:
            break
        seen += data
    os.close(master)
    assert process.wait() == 0
    assert b"5/5 [" in seen
    assert b"\repoch    5  train loss" in seen
