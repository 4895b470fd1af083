"""The data of the lessons: tables, Fashion-MNIST, and images of a reader's own."""

import gzip
import re
import socket
import zlib
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from cli import ROOT, fail

DIABETES = ROOT / "data" / "diabetes.csv"
DOWNLOADS = ROOT / "data" / "FashionMNIST" / "raw"
PACKAGE = Path("/usr/share/datasets/fashion-mnist")  # Debian's
SAMPLE_FOLDER = ROOT / "data" / "fashion_mnist_sample"
FILES = (
    "train-images-idx3-ubyte", "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
)  # fmt: skip
# Cells of a table that are missing, as pandas takes them, and a question mark.
MISSING = {"", "?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None"}
CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def read_csv(path: Path, label: str = "") -> tuple[pd.DataFrame, np.ndarray]:
    """Read a table with a label of two values; return features and labels.

    Features are a DataFrame, by the number of the row: columns of float64 or of text,
    NaN where a cell is missing. Labels are 0.0 and 1.0, of shape (n,), for the two
    values in sorted order. The label is the last column that has a name, or ``label``:
    a name, or a number from 1. Ends the program if it is not such a table.
    """
    cells = _read_cells(path)
    first = cells.iloc[0].fillna("")
    names = [f"column {j}" for j in range(1, len(first) + 1)]
    given = first[first != ""]
    if given.is_unique and not MISSING & {*given} and _numbers(given).isna().all():
        cells = cells.iloc[1:]  # without the header
        names = [name or f"Unnamed: {j}" for j, name in enumerate(first)]
    cells.columns = names
    named = [name for name in names if not name.startswith("Unnamed:")]
    by_number = {str(j): name for j, name in enumerate(names, 1)}
    target = by_number.get(label, label or named[-1])
    if target not in names:
        fail(f"argument --label: {path} has no column {label!r:.40}, but {names}", 2)
    if not (whole := cells[named].notna().all(axis=1)).all():
        found = f"row {whole.idxmin()} has fewer than {len(named)} cells"
        fail(f"{path}: {found}; the first row is {', '.join(first)!r:.80}")
    cells = cells.fillna("")
    labels = _numbers_or_text(cells[target])
    classes = cells[target].groupby(labels, dropna=False)
    found = [f"{c.iloc[0]!r:.40} ({len(c)} rows)" for _, c in classes]
    if len(found) != 2 or labels.isna().any():
        row, found = ", ".join(first), f"{len(found)}: {', '.join(found[:4])}"
        found += f"; see --label; the first row is {row!r:.80}"
        fail(f"{path}: the label, {target}, must have 2 values, not {found}")
    print(f"label: {target}; class 0 is {found[0]}, class 1 is {found[1]}")
    features = cells.drop(columns=target).apply(_numbers_or_text)
    return features, (labels == labels.max()).to_numpy(float)


def _read_cells(path):
    """Return the rows that are not blank as text, by number; NaN ends a short one."""
    how = {"header": None, "dtype": str, "keep_default_na": False}
    how |= {"skipinitialspace": True, "skip_blank_lines": False, "engine": "python"}
    try:
        lines = Path(path).read_text("utf-8-sig").strip().split("\n")
        text, first = "\n".join(line.strip(" ") for line in lines), lines[0]
        plain = re.sub('"[^"]*"| ', "", first)
        sep = max(" \t;,", key=plain.count)  # the most frequent, else a space
        cells = pd.read_csv(StringIO(text), sep=sep, **how)
    except UnicodeDecodeError:
        fail(f"{path} is not UTF-8 text; unpack it, or save it as 'CSV UTF-8'")
    except ValueError as error:
        fail(f"cannot read {path}: {error}; the first row is {first!r:.80}")
    cells = cells.map(str.strip, na_action="ignore").set_axis(cells.index + 1)
    return cells[(cells.fillna("") != "").any(axis=1)]


def _numbers(cells):
    """Return the numbers that float32 can hold, and NaN for other cells."""
    cells = cells.str.lower().replace({"true": "1", "false": "0"})
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    return numbers.where(numbers.abs() < 3.4e38)


def _numbers_or_text(cells):
    """Return the numbers of a column, or its text; NaN where a cell is missing."""
    numbers, missing = _numbers(cells), cells.isin(MISSING)
    text = cells[numbers.isna() & ~missing & (cells != "-")]
    if text.empty:
        return numbers
    if cells.str[:1].str.isdigit().any():
        print(f"{cells.name} is text: {text.iloc[0]!r:.40} in row {text.index[0]}")
    return cells.mask(missing)


def usable_columns(features, labels: np.ndarray) -> tuple[list[str], list[str]]:
    """Return the names of the columns of numbers, and of text, to learn from.

    The others are left out, with a line for each reason. The arguments are as read, or
    some of their rows in any order. Ends the program if no column is left.
    """
    numbers, categories, left_out = [], [], {}
    for name, column in features.items():
        text, (codes, values) = column.dtype != float, column.factorize()
        r = 0 if text or len(values) < 3 else column.corr(features.index.to_series())
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
    if names := ", ".join(text + gaps):
        found = f"{len(text)} columns hold text, {len(gaps)} have missing cells"
        fail(f"{path}: {found} ({names}); model_selection.py can take them")
    return features[numbers]


def load_fashion_mnist(sample: bool, device: torch.device | str) -> list[Tensor]:
    """Return train images, train labels, test images and test labels.

    Images are float32 of shape (n, 784), from 0 to 1; labels are int64 of shape (n,),
    indices of `CLASSES`. There are 60,000 and 10,000, downloaded if need be, or 4,000
    and 1,000 with ``sample``. Ends the program if they cannot be had.
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
    """Return the content of each of `FILES`, unpacked, by name."""
    if sample:
        return _unpack(SAMPLE_FOLDER) or fail(f"{SAMPLE_FOLDER} is missing or damaged")
    return _unpack(DOWNLOADS) or _unpack(PACKAGE) or _download()


def _unpack(folder):
    """Return no files if one is missing, damaged or empty."""
    try:
        files = {n: gzip.decompress((folder / f"{n}.gz").read_bytes()) for n in FILES}
    except (OSError, EOFError, zlib.error):
        return {}
    return files if all(files.values()) else {}


def _download():
    from torchvision.datasets import FashionMNIST  # here, since it takes seconds

    print(f"downloading Fashion-MNIST (30 MB) to {DOWNLOADS}")
    socket.setdefaulttimeout(10)  # seconds; torchvision would wait without limit
    try:
        FashionMNIST(DOWNLOADS.parent.parent, download=True)
    except Exception as error:
        fail(f"no Fashion-MNIST: {error}; see data/README.md, or use --sample")
    return _unpack(DOWNLOADS) or fail(f"{DOWNLOADS.parent} is damaged; delete it")


def prepare(path: Path | str) -> tuple[Image.Image, Tensor]:
    """Return the image in a file, and what a model of Fashion-MNIST expects of it.

    That is float32 of shape (28, 28): the article cut out and centred, light (1) on
    black (0). The image is upright, RGBA, at most 400 pixels long. Ends the program if
    there is no such image, or if nothing in it differs from its border.
    """
    try:
        with Image.open(path) as file:
            file.thumbnail((400, 400), Image.Resampling.BOX)  # averages noise away
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
