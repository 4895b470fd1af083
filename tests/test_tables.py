"""Are tables read right, and is a bad one refused with the place where it is bad?"""

import gzip

import numpy as np
import pytest
from conftest import ROOT

from tables import DIABETES, read_table

TABLE = "1,2.5,0\n3,-4e2,1\n"
HEADER = "height,weight,label\n"


@pytest.fixture
def table(tmp_path):
    """Write a table; return its path."""

    def write(data, name="table.csv"):
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


def refusal(path):
    with pytest.raises(SystemExit) as error:
        read_table(path)
    message = error.value.code.partition(": error: ")[2]
    assert "\n" not in message
    assert str(path) in message
    return message.replace(str(path), "FILE")


@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        HEADER + TABLE,
        "\ufeff" + HEADER + TABLE,  # as Excel saves it
        (HEADER + TABLE).replace("\n", "\r\n"),
        "\n" + TABLE.replace("\n", "\n\n"),
        TABLE.rstrip(),
        TABLE.replace("0\n", "0.0\n").replace(",", " , "),
    ],
)
@pytest.mark.parametrize("suffix", ["csv", "csv.gz"])
def test_read(table, text, suffix):
    data = gzip.compress(text.encode()) if suffix == "csv.gz" else text
    features, labels = read_table(table(data, f"table.{suffix}"))
    assert features.tolist() == [[1, 2.5], [3, -400]]
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,x,0\n", "FILE, line 1, column 2: 'x' is not a number below 1e+30"),
        (HEADER + "1,x,0\n", "FILE, line 2, column 2 (weight): 'x' is not a number"),
        (TABLE + "1,nan,0\n", "FILE, line 3, column 2: 'nan' is not a number"),
        (TABLE + "1,-inf,0\n", "FILE, line 3, column 2: '-inf' is not a number"),
        (TABLE + "1,1e31,0\n", "FILE, line 3, column 2: '1e31' is not a number below"),
        (TABLE + "1,,0\n", "FILE, line 3, column 2: empty"),
        (HEADER + "1,2, \n", "FILE, line 2, column 3 (label): empty"),
        (TABLE + "1,2\n", "FILE, line 3: 2 cells, but the first line has 3"),
        (HEADER + "1,2,0,1\n", "FILE, line 2: 4 cells, but the first line has 3"),
        (TABLE + "1,2,2\n", "FILE, line 3: the label, in the last column, is '2', not"),
        ("0\n1\n", "FILE, line 1: one cell only"),
        ("1,2,0\n3,4,0\n", "FILE: every label is 0"),
        (HEADER, "FILE holds no rows of numbers"),
        ("", "FILE holds no rows of numbers"),
        (b"\x80\x81\x82,1\n", "FILE is not a text file in UTF-8"),
        ('1,"2,0\n', "FILE, line 1: unexpected end of data"),
    ],
)
def test_refused(table, text, message):
    assert refusal(table(text)).startswith(message)


def test_a_long_cell_does_not_flood_the_message(table):
    assert len(refusal(table(TABLE + "1," + "x" * 9999 + ",0\n"))) < 150


def test_no_file(tmp_path):
    expected = "cannot read FILE (No such file or directory)"
    assert refusal(tmp_path / "none.csv") == expected
    assert refusal(tmp_path).startswith("cannot read FILE (")


def test_broken_gzip(table):
    whole = gzip.compress(TABLE.encode() * 1000, mtime=0)
    assert "cannot read FILE (" in refusal(table(whole[:50], "cut.csv.gz"))
    assert "Not a gzipped file" in refusal(table(TABLE, "plain.csv.gz"))
    flipped = bytearray(whole)
    flipped[40] ^= 0xFF
    assert "cannot read FILE (" in refusal(table(bytes(flipped), "flipped.csv.gz"))


def test_diabetes_table():
    """The facts that `data/README.md` and the published tutorial tell of it."""
    features, labels = read_table(DIABETES)
    assert features.shape == (768, 8)
    assert labels.sum() == 268
    header = DIABETES.read_text(encoding="utf-8").splitlines()[0].split(",")
    readme = (ROOT / "data/README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in readme for name in header)
    zeros = (features == 0).sum(axis=0)  # missing values, by column
    assert zeros.tolist() == [111, 5, 35, 227, 374, 11, 0, 0]
    assert np.allclose(features.mean(axis=0)[[1, 7]], [120.8945, 33.2409], atol=1e-4)
