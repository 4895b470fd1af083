"""The data of the lessons: tables in CSV files, and Fashion-MNIST."""

import csv
import gzip
import hashlib
import re
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
# Cells of a table that are missing, as pandas takes them, and a question mark.
MISSING = {"", "?", "NA", "na", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan"}
MISSING |= {"NULL", "null", "None"}
WORDS = {"true": "1", "false": "0"}
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+(\.\d+)?")  # "1,234.5"
NAMELESS = "Unnamed:"  # as pandas calls a column without a name
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_csv(path: Path, label: str = "") -> tuple:
    """Read a table with a label of two values; return features and labels.

    Features are a DataFrame with the number of each row in the file as index. Columns
    are float64, NaN where a cell is missing, or text. Labels are float64 of shape (n,):
    0 and 1 for the two values in sorted order. The label is the last column that has a
    name, or the one called ``label``, or the one with that number, counted from 1. Ends
    the program if it is not such a table.
    """
    import pandas as pd  # here, since it takes a second

    rows = _read_rows(path := Path(path))
    i, first = next(iter(rows.items()))
    shown = f"row {i} is {', '.join(first)!r:.80}"
    names = _pop_header(rows)
    for j, row in rows.items():
        if not any(names[len(row) :]):  # a comma ends the header, but not the rows
            row += [""] * (len(names) - len(row))
        if len(row) != len(names):
            fail(f"{path}, row {j} has {len(row)} cells, not {len(names)}; {shown}")
    known = [*names, *map(str, range(1, len(names) + 1))]  # a name wins
    if label and label not in known:
        fail(f"argument --label: {path} has no column {label!r:.40}, but {names}", 2)
    for j, name in enumerate(names):
        names[j] = f"column {j + 1}" if name.isdecimal() else name or f"{NAMELESS} {j}"
    if len(set(names)) < len(names):
        fail(f"{path}: two columns have one name; {shown}")
    named = [name for name in names if not name.startswith(NAMELESS)]
    target = names[known.index(label) % len(names)] if label else [*names, *named][-1]

    texts = pd.DataFrame(rows.values(), index=list(rows), columns=names)
    values = _column(path, words := texts.pop(target))
    if values.isna().any():
        fail(f"{path}, row {values.isna().idxmax()}: the label, {target}, is missing")
    found = [
        f"{words[cells.index[0]]!r:.40} ({len(cells)} rows)"
        for _, cells in values.groupby(values)
    ]
    if len(found) != 2:
        found = f"{len(found)}: {', '.join(found[:4])}; see --label"
        fail(f"{path}: the label, {target}, must have 2 values, not {found}; {shown}")
    print(f"label: {target}; class 0 is {found[0]}, class 1 is {found[1]}")
    features = pd.DataFrame({name: _column(path, texts[name]) for name in texts})
    return features, (values == values.max()).to_numpy(float)


def _read_rows(path):
    """Return the cells of each row that is not blank, by the number of the row."""
    opened = gzip.open if path.suffix == ".gz" else open
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
    if len(rows) < 2:
        fail(f"{path} has fewer than two rows")
    if len(row := next(iter(rows.values()))) < 2:
        fail(f"{path} has one column: {row[0]!r:.80}")
    for row in rows.values() if sep == "," else ():  # else it may be a decimal comma
        row[:] = [c.replace(",", "") if THOUSANDS.fullmatch(c) else c for c in row]
    return rows


def _pop_header(rows):
    """Return the names of the columns; delete the first row if it is a header."""
    i, first = next(iter(rows.items()))
    *counted, last = filter(None, first)
    pandas = len(counted) > 1 and counted == [str(j) for j in range(len(counted))]
    if pandas and (last in ("0", str(len(counted))) or _number(last) is None):
        print(f"row {i} is the header 0, 1, 2, ... of pandas")
    elif any(cell and _number(cell) is not None for cell in first):
        return [f"column {j}" for j in range(1, len(first) + 1)]
    return rows.pop(i)


def _number(cell):
    """Return the number in a cell, NaN if it is missing, None if it is text."""
    if cell in MISSING or cell == "-":
        return np.nan
    try:
        return float(WORDS.get(cell.lower(), cell).replace("_", "x"))  # 1_0 would be 10
    except ValueError:
        return None


def _column(path, texts):
    """Return a column as float64 if all of its cells are numbers, else as text."""
    numbers = [_number(cell) for cell in texts]
    others = {
        i: c for (i, c), n in zip(texts.items(), numbers, strict=True) if n is None
    }
    if not others:
        column = texts.map(_number).astype(float)
        for i, cell in texts[column.abs() > 3.4e38].items():
            fail(f"{path}, row {i}, {texts.name}: {cell!r:.40} is too large")
        return column
    i, cell = next(iter(others.items()))
    if all(_number(other.replace(",", "")) is not None for other in others.values()):
        how = "write 1.5 for a decimal, 1500 for a thousand and a half"
        fail(f"{path}, row {i}, {texts.name}: {cell!r:.40} has a comma; {how}")
    if np.isfinite([n for n in numbers if n is not None]).any():
        print(f"{texts.name} is text, since row {i} has {cell!r:.40}")
    return texts.mask(texts.isin(MISSING))


def usable_columns(features, labels: np.ndarray) -> tuple[list[str], list[str]]:
    """Return the names of the columns of numbers, and of text, to learn from.

    A line names those that are left out: without a name, empty, equal to the labels,
    numbers that count the rows, text with more than 20 values or, in a small table,
    more than half as many as rows. ``features`` and ``labels`` are as in `read_csv`, or
    some of their rows in any order. Ends the program if nothing is left.
    """
    numbers, categories, left_out = [], [], {}
    for name, column in features.items():
        is_text = column.dtype != float
        codes, values = column.factorize()  # 0, 1, 2, ... for the values, -1 if missing
        if name.startswith(NAMELESS):
            left_out.setdefault("no name", []).append(name)
        elif len(values) == 0:
            left_out.setdefault("empty", []).append(name)
        elif len(set(abs(codes - labels))) == 1:
            left_out.setdefault("the label once more", []).append(name)
        elif is_text and len(values) > min(20, len(column) / 2):
            left_out.setdefault("text with too many values", []).append(name)
        elif not is_text and _counts(column.sort_index()):
            left_out.setdefault("counts the rows", []).append(name)
        else:
            (categories if is_text else numbers).append(name)
    for why, names in left_out.items():
        print(f"left out, {why}: {', '.join(names)}")
    return (numbers, categories) if numbers + categories else fail("no column is left")


def _counts(column):
    """Say if the numbers grow, or fall, by the same step from each row to the next."""
    steps = np.diff(column) / np.diff(column.index)
    return len(steps) and steps[0] != 0 and np.allclose(steps, steps[0], atol=0)


def require_numbers(path: Path, features, labels: np.ndarray):
    """Return the columns to learn from; end the program if one has text or a gap."""
    numbers, categories = usable_columns(features, labels)
    if n := len(categories):
        where = f"columns that hold text: {n} ({', '.join(categories)})"
        fail(f"{path}: {where}; model_selection.py encodes them")
    counts = features[numbers].isna().sum()
    if counts.any():
        how = "delete their rows, or use model_selection.py, which imputes them"
        where = ", ".join(f"{n} in {name}" for name, n in counts.items() if n)
        fail(f"{path}: {counts.sum()} cells missing; {how} ({where})")
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
