"""The data of the lessons: tables in CSV files, and Fashion-MNIST."""

import csv
import gzip
import hashlib
import socket
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from common import ROOT, fail

DIABETES = ROOT / "data" / "diabetes.csv"

# Fashion-MNIST: the folders it is looked for in, and the MD5 of each unpacked file.
DOWNLOADS = ROOT / "data" / "FashionMNIST" / "raw"
FOLDERS = [DOWNLOADS, Path("/usr/share/datasets/fashion-mnist")]  # Debian's package
SAMPLE_FOLDER = ROOT / "data" / "fashion_mnist_sample"
MD5 = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_csv(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a table whose last column is a 0/1 label, with or without a header.

    Returns float64 arrays: features of shape (n, d) and labels of shape (n,). A first
    row without a number is a header. Ends the program, naming row and column, if a cell
    is not a finite number or a row has more or fewer cells than the first.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file, strict=True) if row]
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        fail(f"cannot read {path}: {error}")
    if rows and not any(map(_is_number, rows[0])):
        del rows[0]
    for i, row in enumerate(rows, 1):  # counted without the header
        if len(row) != len(rows[0]):
            fail(f"{path}: row {i} has {len(row)} cells, but row 1 has {len(rows[0])}")
        for j, cell in enumerate(row, 1):
            if not _is_number(cell):
                fail(f"{path}: row {i}, column {j} is not a number: {cell!r:.40}")
    table = np.array(rows, dtype=float, ndmin=2)
    if table.shape[1] < 2 or set(table[:, -1]) != {0, 1}:
        fail(f"{path}: the last column must be a label with both values, 0 and 1")
    return table[:, :-1], table[:, -1]


def _is_number(cell):
    try:
        return bool(np.isfinite(np.float32(cell))) and "_" not in cell
    except ValueError:
        return False


def load_fashion_mnist(sample: bool, device: torch.device | str) -> list[Tensor]:
    """Return train images, train labels, test images and test labels.

    Images are float32 of shape (n, 784), from 0 to 1 as torchvision's ``ToTensor``
    makes them; labels are int64 of shape (n,), indices of `CLASSES`. There are 60,000
    and 10,000 images, downloaded if need be, or 4,000 and 1,000 with ``sample``. Ends
    the program if they cannot be had.
    """
    tensors = []
    for name, data in read_files(sample).items():
        data = torch.frombuffer(bytearray(data), dtype=torch.uint8).to(device)
        if "images" in name:  # 16 bytes of header, then one per pixel
            tensors.append(data[16:].reshape(-1, 784) / 255)
        else:  # 8 bytes of header, then one per label
            tensors.append(data[8:].long())
    return tensors


def read_files(sample: bool = False) -> dict[str, bytes]:
    """Return the content of the four files, unpacked, by name in the order of `MD5`."""
    if sample:
        return _unpack(SAMPLE_FOLDER) or fail(f"{SAMPLE_FOLDER} is missing or damaged")
    for folder in FOLDERS:
        if _is_right(files := _unpack(folder)):
            return files
    _download()
    if _is_right(files := _unpack(DOWNLOADS)):
        return files
    fail(f"{DOWNLOADS} does not hold Fashion-MNIST; delete that folder and try again")


def _unpack(folder):
    try:
        return {n: gzip.decompress((folder / f"{n}.gz").read_bytes()) for n in MD5}
    except (OSError, EOFError, zlib.error):
        return {}


def _is_right(files):
    return all(hashlib.md5(files.get(n, b"")).hexdigest() == MD5[n] for n in MD5)


def _download():
    from torchvision.datasets import FashionMNIST  # here, since it takes seconds

    print(f"downloading Fashion-MNIST (30 MB) to {DOWNLOADS}")
    socket.setdefaulttimeout(10)  # seconds; torchvision would wait without limit
    try:
        FashionMNIST(DOWNLOADS.parent.parent, download=True)
    except Exception as error:
        fail(f"no Fashion-MNIST: {error}; see data/README.md, or use --sample")
