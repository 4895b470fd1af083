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

from cli import ROOT, fail

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
MISSING = {"", "?", "na", "nan"}  # cells of a table, in upper or lower case
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_csv(path: Path, label: str = "") -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read a table with a label of two values; return features, labels and names.

    Features are float64 of shape (n, d), NaN where a cell is missing. Labels are
    float64 of shape (n,): 0 and 1 for the two values in sorted order. Names are those
    of the d columns. The label is the last column, or the one called ``label``, or the
    one with that number, counted from 1. Ends the program if it is not such a table.
    """
    rows = _read_rows(path)
    names = _pop_header(rows)
    for j, (name, *cells) in enumerate(zip(names, *rows.values(), strict=True), 1):
        if {cell.lower() for cell in cells} <= MISSING:
            fail(f"{path}: column {j} is empty (does a separator end each row?)")
        if not name or name.startswith("Unnamed:"):
            fail(f"{path}: column {j} has no name; delete it if it counts the rows")
    known = [*names, *map(str, range(1, len(names) + 1))]  # a name wins
    if label and label not in known:
        fail(f"argument --label: {path} has no column {label!r:.40}, but {names}", 2)
    target = known.index(label) % len(names) if label else -1
    names = [f"column {j}" if c.isdecimal() else c for j, c in enumerate(names, 1)]
    name = names.pop(target)
    texts = np.array([row.pop(target) for row in rows.values()], dtype=object)
    for i, text in zip(rows, texts, strict=True):
        if text.lower() in MISSING:
            fail(f"{path}, row {i}: the label, {name}, is missing")
    values = np.array([_number(text) for text in texts])
    values = texts if np.isnan(values).any() else values
    classes, where, counts = np.unique(values, return_index=True, return_counts=True)
    found = [f"{t!r:.40} ({n} rows)" for t, n in zip(texts[where], counts, strict=True)]
    if len(found) != 2:
        found = f"{len(found)}: {', '.join(found[:4])}"
        fail(f"{path}: the label, {name}, must have 2 values, not {found}; see --label")
    print(f"label: {name}; class 0 is {found[0]}, class 1 is {found[1]}")
    features = np.array([[_number(cell) for cell in row] for row in rows.values()])
    ids = list(rows)
    for i, j in np.argwhere(np.isnan(features)):
        cell = rows[ids[i]][j]
        if cell.lower() not in MISSING:
            hint = " (semicolons separate: write a decimal point)" * ("," in cell)
            fail(f"{path}, row {ids[i]}, {names[j]}: not a number: {cell!r:.40}{hint}")
    return features, (values == classes[1]).astype(float), names


def _read_rows(path):
    """Return the cells of each row that is not blank, by the number of the row."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            lines = [line.strip(" \n") for line in file]
        first = next(filter(None, lines), "").replace(" ", "")
        sep = max(" \t;,", key=first.count)  # the most frequent, else a space
        table = csv.reader(lines, delimiter=sep, skipinitialspace=True, strict=True)
        rows = {i: [*map(str.strip, row)] for i, row in enumerate(table, 1) if any(row)}
    except (OSError, csv.Error, UnicodeDecodeError) as error:
        fail(f"cannot read {path}: {error}")
    if len(rows) < 2:
        fail(f"{path} has fewer than two rows")
    width = max(2, len(next(iter(rows.values()))))
    for i, row in rows.items():
        if len(row) != width:
            fail(f"{path}, row {i} has {len(row)} cells, not {width}; check the commas")
    return rows


def _pop_header(rows):
    """Return the names of the columns; delete the first row if it is a header."""
    i, first = next(iter(rows.items()))
    *counted, last = filter(None, first)
    pandas = len(counted) > 1 and counted == [str(j) for j in range(len(counted))]
    if pandas and (last in ("0", str(len(counted))) or np.isnan(_number(last))):
        print(f"row {i} is the header 0, 1, 2, ... of pandas")
    elif not np.isnan([_number(cell) for cell in first]).all():
        return [f"column {j}" for j in range(1, len(first) + 1)]
    del rows[i]
    return first


def _number(cell):
    """Return the number in a cell, NaN if there is none that float32 can hold."""
    cell = {"true": "1", "false": "0"}.get(cell.lower(), cell)
    try:
        number = float(cell.replace("_", "x"))  # 1_0 would be 10
    except ValueError:
        return np.nan
    return number if abs(number) < 3.4e38 else np.nan


def require_complete(path: Path, features: np.ndarray, names: list[str]) -> None:
    """End the program if a cell is missing."""
    counts = np.isnan(features).sum(axis=0)
    if counts.any():
        how = "delete their rows, or use model_selection.py, which imputes them"
        where = ", ".join(f"{counts[j]} in {names[j]}" for j in np.flatnonzero(counts))
        fail(f"{path}: {counts.sum()} cells missing; {how} ({where})")


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
        if files := _unpack(folder):
            return files
    _download()
    return _unpack(DOWNLOADS) or fail(f"{DOWNLOADS.parent} is damaged; delete it")


def _unpack(folder):
    """Return no files if one is missing, damaged or, but for the sample, another."""
    try:
        files = {n: gzip.decompress((folder / f"{n}.gz").read_bytes()) for n in MD5}
    except (OSError, EOFError, zlib.error):
        return {}
    right = {n: hashlib.md5(data).hexdigest() for n, data in files.items()} == MD5
    return files if right or (folder == SAMPLE_FOLDER and all(files.values())) else {}


def _download():
    from torchvision.datasets import FashionMNIST  # here, since it takes seconds

    print(f"downloading Fashion-MNIST (30 MB) to {DOWNLOADS}")
    socket.setdefaulttimeout(10)  # seconds; torchvision would wait without limit
    try:
        FashionMNIST(DOWNLOADS.parent.parent, download=True)
    except Exception as error:
        fail(f"no Fashion-MNIST: {error}; see data/README.md, or use --sample")
