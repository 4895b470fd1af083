"""Tables of numbers with a 0/1 label in the last column, read from CSV files."""

import csv
import gzip
import hashlib
import io
import zlib
from array import array

from common import ROOT
from endings import fail

import numpy as np

DIABETES = (ROOT / "data" / "diabetes.csv").resolve()  # it may be a link
_DIABETES_MD5 = "6ed7ed8295d837eceacc5b3d78d176f2"  # of its numbers, in float64
_LARGEST = 32_000_000  # bytes, unpacked: a bound on what a damaged .gz can unpack to
_HUGE = 1e30  # float32, which the lessons compute in, ends at 3.4e38


def read_table(path):
    """Read a CSV file, plain or ``.gz``, with or without a header line.

    Returns ``features``, float64 of shape (n, d), and ``labels``, float64 of shape (n,)
    with the values 0 and 1, from the last column. A first line without any number in it
    is a header; empty lines are skipped.

    Exits with code 1, and names the file, the line and the column, if the file cannot
    be read, a line is longer or shorter than the first, a cell is missing or no finite
    number, a label is neither 0 nor 1, or only one label occurs.
    """
    reader = csv.reader(_open_text(path), strict=True)
    header, cells = None, array("d")
    try:
        for row in filter(None, reader):
            row = [cell.strip() for cell in row]
            if header is None:
                header = [""] * len(row)
                if not any(_is_number(cell) for cell in row):
                    header = [f" ({' '.join(name.split()):.40})" for name in row]
                    continue
            cells.extend(_numbers(row, header, f"{path}, line {reader.line_num}"))
    except csv.Error as error:
        fail(f"{path}, line {reader.line_num}: {error}")
    except UnicodeDecodeError:
        fail(f"{path} is not a text file in UTF-8; save the table as CSV")
    if not cells:
        fail(f"{path} holds no rows of numbers; the last number of each is its label")
    table = np.array(cells).reshape(-1, len(header))
    if (
        path.resolve() == DIABETES
        and hashlib.md5(table, usedforsecurity=False).hexdigest() != _DIABETES_MD5
    ):
        fail(f"{path} was changed; restore it, and pass your own table with --data")
    features, labels = table[:, :-1], table[:, -1]
    if labels.min() == labels.max():
        fail(f"{path}: every label is {labels[0]:g}; a classifier needs both, 0 and 1")
    return features, labels


def _open_text(path):
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            data = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        fail(f"cannot read {path} ({getattr(error, 'strerror', None) or error})")
    if len(data) > _LARGEST:
        fail(f"{path} holds more than {_LARGEST // 10**6} MB; take fewer of its rows")
    return io.TextIOWrapper(io.BytesIO(data), encoding="utf-8-sig", newline="")


def _is_number(cell):
    try:
        return "_" not in cell and abs(float(cell)) < _HUGE  # 1_0 is Python's, no CSV's
    except ValueError:
        return False


def _numbers(row, header, where):
    if len(row) != len(header):
        fail(f"{where}: {len(row)} cells, but the first line has {len(header)}")
    if len(row) < 2:
        fail(f"{where}: one cell only; expected features, commas between, and a label")
    for column, (cell, name) in enumerate(zip(row, header, strict=True), start=1):
        if not _is_number(cell):
            cell = f"{cell!r:.40} is not a number below {_HUGE:g}" if cell else "empty"
            fail(f"{where}, column {column}{name}: {cell}")
    if float(row[-1]) not in (0, 1):
        fail(f"{where}: the label, in the last column, is {row[-1]!r:.40}, not 0 or 1")
    return map(float, row)
