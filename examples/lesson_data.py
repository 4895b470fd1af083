"""The data of the lessons: tables, Fashion-MNIST, and images of a reader's own."""

import csv
import gzip
import hashlib
import re
import socket
import zlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
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
# Cells of a table that are missing, as pandas takes them, and a question mark.
MISSING = {"", "?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None"}
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_csv(path: Path, label: str = "") -> tuple:
    """Read a table with a label of two values; return features and labels.

    Features are a DataFrame, by the number of the row in the file: columns of float64,
    NaN where a cell is missing, and columns of text. Labels are float64 of shape (n,):
    0 and 1 for the two values in sorted order. The label is the last column that has a
    name, or the one called ``label``, or the one with that number, counted from 1. Ends
    the program if it is not such a table.
    """
    import pandas as pd  # here, since it takes a second

    rows = _read_rows(path)
    i, first = next(iter(rows.items()))
    shown = f"row {i} is {', '.join(first)!r:.80}"
    names = rows.pop(i) if _is_header(first) else [*map(str, range(len(first)))]
    for j, name in enumerate(names):
        names[j] = f"column {j + 1}" if name.isdecimal() else name or f"Unnamed: {j}"
    for i, row in rows.items():
        gap = names[len(row) :]  # a comma may end the header, but not the rows
        if len(row) > len(names) or not all(n.startswith("Unnamed:") for n in gap):
            fail(f"{path}, row {i} has {len(row)} cells, not {len(names)}; {shown}")
        row += [""] * len(gap)

    named = [name for name in names if not name.startswith("Unnamed:")]
    known = dict(zip([*map(str, range(1, len(names) + 1)), *names], names * 2))
    target = known.get(label) if label else [*names, *named][-1]
    if not target:
        fail(f"argument --label: {path} has no column {label!r:.40}, but {names}", 2)
    cells, features = dict(zip(names, zip(*rows.values()))), {}
    for name, texts in cells.items():
        features[name] = numbers = [_number(text) for text in texts]
        if None in numbers:
            features[name] = [np.nan if text in MISSING else text for text in texts]
            if any(text[:1].isdigit() for text in texts):
                j = numbers.index(None)
                print(f"{name} is text: {texts[j]!r:.40} in row {[*rows][j]}")
    features = pd.DataFrame(features, index=list(rows))
    labels = features.pop(target)
    classes = pd.Series(cells[target], labels.index).groupby(labels, dropna=False)
    found = [f"{c.iloc[0]!r:.40} ({len(c)} rows)" for _, c in classes]
    if len(found) != 2 or labels.isna().any():
        found = f"{len(found)}: {', '.join(found[:4])}; see --label"
        fail(f"{path}: the label, {target}, must have 2 values, not {found}; {shown}")
    print(f"label: {target}; class 0 is {found[0]}, class 1 is {found[1]}")
    return features, (labels == labels.max()).to_numpy(float)


def _read_rows(path):
    """Return the cells of each row that is not blank, by the number of the row."""
    opened = gzip.open if Path(path).suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig") as file:
            lines = [line.strip(" \n") for line in file]
        first = re.sub('"[^"]*"| ', "", next(filter(None, lines), ""))
        sep = max(" \t;,", key=first.count)  # the most frequent, else a space
        table = csv.reader(lines, delimiter=sep, skipinitialspace=True, strict=True)
        rows = {i: [*map(str.strip, row)] for i, row in enumerate(table, 1) if any(row)}
    except UnicodeDecodeError:
        fail(f"{path} is not UTF-8; save it as 'CSV UTF-8'")
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        fail(f"cannot read {path}: {error}")
    return rows if len(rows) > 1 else fail(f"{path} has fewer than two rows")


def _is_header(first):
    """Say if a row has no number, or counts 0, 1, 2, ... as pandas does."""
    *counted, last = filter(None, first)
    texts = [_number(cell) is None for cell in (*counted, last)]
    if len(counted) > 1 and counted == [str(j) for j in range(len(counted))]:
        return last in ("0", str(len(counted))) or texts[-1]
    return all(texts) and len(set(first) - {""}) == len(texts)


def _number(cell):
    """Return the number in a cell, NaN if it is missing, None if float32 has none."""
    if cell in MISSING or cell == "-":
        return np.nan
    if "," in cell and re.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?", cell):
        cell = cell.replace(",", "")
    try:
        number = float({"true": "1", "false": "0"}.get(cell.lower(), cell))
    except ValueError:
        return None
    return number if abs(number) < 3.4e38 and "_" not in cell else None


def usable_columns(features, labels: np.ndarray) -> tuple[list[str], list[str]]:
    """Return the names of the columns of numbers, and of text, to learn from.

    The others are left out, with a line for each reason. The arguments are as read, or
    some of their rows in any order. Ends the program if no column is left.
    """
    numbers, categories, left_out = [], [], {}
    rows = features.index.to_series()
    for name, column in features.items():
        text, (codes, values) = column.dtype != float, column.factorize()
        r = 0 if text or len(values) < 3 else column.corr(rows)
        reasons = {  # a missing cell has the code -1
            "no name": name.startswith("Unnamed:"),
            "empty": len(values) == 0,
            "the label once more": len(set(abs(codes - labels))) == 1,
            "text with too many values": text and len(values) > min(20, len(codes) / 2),
            "counts the rows": abs(r) > 1 - 1e-9,
        }
        why = next(filter(reasons.get, reasons), "")
        kept = categories if text else numbers
        (left_out.setdefault(why, []) if why else kept).append(name)
    for why, names in left_out.items():
        print(f"left out, {why}: {', '.join(names)}")
    return (numbers, categories) if numbers + categories else fail("no column is left")


def require_numbers(path: Path, features, labels: np.ndarray):
    """Return the columns to learn from; end the program if one has text or a gap."""
    numbers, text = usable_columns(features, labels)
    gaps = [name for name in numbers if features[name].isna().any()]
    for what, names in {"hold text": text, "have missing cells": gaps}.items():
        if names:
            names = f"columns that {what}: {len(names)} ({', '.join(names)})"
            fail(f"{path}: {names}; model_selection.py can take them")
    return features[numbers]


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


def prepare(path: Path | str) -> tuple[Image.Image, Tensor]:
    """Return the image in a file, and what a model of Fashion-MNIST expects of it.

    That is float32 of shape (28, 28): the article cut out and centred, light (1) on
    black (0). The image is upright, RGBA, at most 1000 pixels long. Ends the program if
    there is no such image, or if nothing in it differs from its border.
    """
    try:
        with Image.open(path) as file:
            file.thumbnail((1000, 1000))  # a large photograph would need gigabytes
            image = ImageOps.exif_transpose(file)
        if image.mode.startswith("I"):  # 16 bits
            image = Image.fromarray(np.uint8(np.asarray(image) / 257))
        image = image.convert("RGBA")
    except UnidentifiedImageError:
        fail(f"{path} is no image that Pillow can read; export it as JPEG or PNG")
    except Exception as error:  # Pillow raises many kinds
        fail(f"cannot use the image {path}: {error}")
    grey, alpha = np.asarray(image.convert("LA"), np.float32).transpose(2, 0, 1) / 255
    dark = (grey * alpha).sum() < alpha.sum() / 2  # transparent is white then, or black
    x = grey * alpha + (1 - alpha) * dark
    ground = np.median(np.concatenate([x[0], x[-1], x[:, 0], x[:, -1]]))
    x = ((x - ground) * np.sign(x.mean() - ground)).clip(0)
    if x.max() < 0.05:
        fail(f"cannot use the image {path}: nothing stands out from its border")
    rows, columns = np.nonzero(x > 0.05 * x.max())
    x = x[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] / x.max()
    small = ImageOps.pad(Image.fromarray(x), (28, 28), centering=(0.51, 0.51))
    return image, torch.tensor(np.asarray(small)).clamp(0, 1)  # 0.51 rounds half up
