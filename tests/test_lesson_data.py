"""Is each table and each image read right, or refused in one line?"""

import gzip
import hashlib
import random
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.datasets import FashionMNIST, utils
from torchvision.transforms import ToTensor

import lesson_data as data
from conftest import error_line, fails
from lesson_data import DIABETES, load_fashion_mnist, read_csv, read_files

ROWS = "1,2.5,0\n3,-4e2,1\n3,7,1\n"


def table(folder, text):
    path = folder / "table.csv"
    path.write_text(text, "utf-8", "surrogateescape", newline="")
    return path


@pytest.mark.parametrize("first", ["", "a,b,y", '"a 1 2 3",Na,y', "0,1,0", "0,1,y"])
@pytest.mark.parametrize(("zero", "one"), [(0, "1.0"), (9, 10), (False, True), "+-"])
@pytest.mark.parametrize("mark", [",", ";", "\t", "  ", "\n\n", "\r\n", " \n,,\n"])
def test_tables_that_are_read(tmp_path, capsys, first, zero, one, mark):
    text = f"\ufeff{first}\n1,2.5,{zero}\n3,-4e2,{one}\n3,7,{one}"
    text = text.replace("\n" if "\n" in mark else ",", mark)
    features, labels = read_csv(table(tmp_path, text))
    assert features.to_numpy().tolist() == [[1, 2.5], [3, -400], [3, 7]]
    assert features.index[2] - features.index[1] == 1 + (mark in ("\n\n", " \n,,\n"))
    assert labels.tolist() == [0, 1, 1]
    out = capsys.readouterr().out
    assert f"class 0 is '{zero}' (1 rows), class 1 is '{one}' (2 rows)" in out
    assert ("label: y;" if "y" in first else "label: column 3;") in out


def test_label_column(tmp_path, capsys):
    path = table(tmp_path, "y,a;,z\n1,5,0\n0,True,1\n1,false,1\n")
    for label in ("y", "1"):
        features, labels = read_csv(path, label)
        assert "label: y; class 0 is '0' (1 rows)" in capsys.readouterr().out
        assert features.to_dict("list") == {"a;": [5, 1, 0], "z": [0, 1, 1]}
        assert labels.tolist() == [1, 0, 1]
    for label in ("0", "4", "-1", "x", "9" * 9999):
        fails(capsys, ["--label", path, label[:9]], read_csv, path, label, code=2)
    # A first row of numbers is data, unless a third cell makes it a header of pandas.
    for text in ("0,1\n5,0\n6,1\n", "0,1,1\n5,0,0\n6,1,1\n"):
        assert [*read_csv(table(tmp_path, text))[0]["column 1"]] == [0, 5, 6]


WORDS = ("?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "None", "-")


@pytest.mark.parametrize(
    "text",
    [
        "\n".join(["a,b,y", *(f"{word},3,1" for word in WORDS), ",,0", "7,5,0"]),
        "a,b,y\nx y,?,0\n,2,1\nNa,3,1\n",  # text
        "a,y,\n5,0\n6,1\n",  # a comma ends the header, or each row
        "a,y,\n5,0,\n6,1,\n",
        ",a,y\n7,,0\nx,6,1\n",
        '"a, 1, 2?";y\n5;0\n6;1\n',
        'a,b,y\n"1,234",x,0\n"-12,345.5","y,z",1\n3,"a ""b""",1\n',
    ],
)
def test_cells_are_those_of_pandas(tmp_path, text):
    path = table(tmp_path, text)
    how = {"sep": ";" if ";" in text else ",", "index_col": False}
    expected = pd.read_csv(path, na_values=["?", "-"], thousands=",", **how)
    labels = expected.pop("y")
    expected = expected.astype({n: float for n in expected if expected[n].dtype == int})
    path.with_suffix(".csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    for file in (path, path.with_suffix(".csv.gz")):
        features, found = read_csv(file)
        pd.testing.assert_frame_equal(features.reset_index(drop=True), expected)
        assert (found == labels).all()


def test_columns_that_are_left_out(run, tmp_path, capsys):
    """By all rows or by a few of them, in any order: one line for each reason."""
    n, i, y = 60, np.arange(60), np.arange(60) >= 30
    columns = {
        "id": 900 + 7 * i, "back": -i, "": i % 7, "none": "", "same": 3, "y": y,
        "word": np.where(y, "ill", "well"), "opposite": np.where(y, 2, 4),
        "nearly": [*i[1:], 0], "other": np.where(i % 30, y, ~y),
        "name": [f"Doe, {j}" for j in i], "code": [f"c{j % 21}" for j in i],
        "city": [f"c{j % 20}" for j in i], "plan": np.where(i % 5, "basic", "?"),
    }  # fmt: skip
    pd.DataFrame(columns).to_csv(path := tmp_path / "table.csv", index=False)
    features, labels = read_csv(path, "y")
    few = np.r_[59:28:-3, 11:-1:-1, 58]
    for rows in (i, np.random.default_rng(0).permutation(n), few):
        capsys.readouterr()
        found = data.usable_columns(features.iloc[rows], labels[rows])
        city = ["city"] * (len(rows) == n)
        assert found == (["same", "nearly", "other"], [*city, "plan"])
        left = ["id, back", "Unnamed: 2", "none", "word, opposite", "name, code"]
        left[-1] += ", city" * (not city)
        lines = capsys.readouterr().out.splitlines()
        assert [line.partition(": ")[2] for line in lines] == left
    fails(capsys, [], data.usable_columns, features[["none"]], labels)
    done = run("logistic_regression_case2", "--data", path, "--label", "y")
    assert done.returncode == 1
    error_line(done.stderr, path, "text: 2 (city, plan)", "model_selection.py")


def test_missing_cells_and_files(tmp_path, capsys):
    path = table(tmp_path, "?,,0\nNA,1,1\n2,nan,1\n")
    features, labels = read_csv(path)
    np.testing.assert_array_equal(features, [[np.nan] * 2, [np.nan, 1], [2, np.nan]])
    words = [path, "missing", "2 (column 1, column 2)", "model_selection.py"]
    fails(capsys, words, data.require_numbers, path, features, labels)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(ROWS.encode())[:-9])
    for name in ("", "none.csv", "cut.gz"):
        fails(capsys, [tmp_path / name], read_csv, tmp_path / name)


@pytest.mark.parametrize("cell", ["1e39", "inf", "69,65", "1_0", "12O", "2024-01-01"])
def test_what_float32_cannot_hold_is_text(tmp_path, capsys, cell):
    features, _ = read_csv(table(tmp_path, f"a;y\n1;0\n\n{cell};1\n"))
    assert features["a"].to_dict() == {2: "1", 4: cell}
    assert f"a is text: '{cell}' in row 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["two rows"]),
        (ROWS + "1,2,3,0\n", ["row 4", "4 cells", "not 3"]),
        (ROWS + "1,2\n", ["row 4", "2 cells", "not 3"]),
        ('"a,b",y\n5,6,0\n', ["row 2", "3 cells, not 2"]),
        (ROWS + '1,"2"5,0\n', ["table.csv"]),
        (ROWS + "1,2,\n", ["column 3", "not 3", "'' (1 rows)"]),
        (ROWS + "1,2,2\n", ["column 3", "not 3", "'2' (1 rows)", "--label"]),
        ("1,2,0\n3,4,\n", ["column 3", "'' (1 rows)"]),
        ("1,2,0\n3,4,0\n", ["column 3", "not 1", "--label"]),
        ("a,a,y\n5,6,0\n1,2,1\n", ["not 3", "'y' (1 rows)", "a, a, y"]),
        ("# from a tool\na,b,y\n5,6,0\n", ["row 2", "#, from, a, tool"]),
        (",X1,Y\nID,a,b\n1,2,0\n2,1,1\n", ["not 3", "'b' (1 rows)", ", X1, Y"]),
        *((text, ["UTF-8"]) for text in ("gr\udcf6\udcdfe,y\n5,0", "\udcff\udcfea\0")),
    ],
)
def test_tables_that_are_refused(tmp_path, capsys, text, words):
    path = table(tmp_path, text)
    fails(capsys, [path, *words], read_csv, path)


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_damaged_tables(tmp_path, capsys, count):
    """A damaged table is refused in one line, or what it says is what comes out."""
    rng, good = random.Random(count), 0
    for _ in range(count):
        text = "".join(DIABETES.read_text("utf-8").splitlines(keepends=True)[:20])
        for _ in range(rng.randint(1, 3)):
            i = rng.randrange(len(text))
            new = rng.choice(["", *',;"\n\r\t ?._e-Nx0179é', text[i : i + 40]])
            text = text[:i] + new + text[i + rng.randint(0, 2) :]
        try:
            features, labels = read_csv(table(tmp_path, text))
        except SystemExit:
            error_line(capsys.readouterr().err, tmp_path)
            continue
        good += 1
        _, *lines = [line.split(",") for line in text.splitlines() if line.strip()]
        for row, line in zip(np.c_[features, labels].tolist(), lines, strict=True):
            for found, cell in zip(row, line, strict=True):
                plain = (cell := cell.strip(" \t")).strip(' \t"')
                if found not in (cell, plain):  # a number
                    cell = "nan" if plain in ("", "?", "-") else plain
                    np.testing.assert_array_equal(found, float(cell), text)
    assert 0.1 < good / count < 0.9


def test_diabetes_table():
    features, labels = read_csv(DIABETES)
    assert (features.shape, labels.sum()) == ((768, 8), 268)
    zeros = (features == 0).sum(axis=0)  # missing in columns 1 to 5
    assert zeros.tolist() == [111, 5, 35, 227, 374, 11, 0, 0]


@pytest.mark.parametrize("sample", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_images_are_those_of_torchvision(tmp_path, sample):
    (raw := tmp_path / "FashionMNIST" / "raw").mkdir(parents=True)
    for name, content in read_files(sample).items():
        (raw / name).write_bytes(content)
    ours = load_fashion_mnist(sample, "cpu")
    for train in (True, False):
        theirs = FashionMNIST(tmp_path, train=train, transform=ToTensor())
        images, labels = zip(*theirs, strict=True)
        assert torch.equal(ours.pop(0), torch.cat(images).flatten(1))
        assert torch.equal(ours.pop(0), torch.tensor(labels))
    assert list(data.CLASSES) == FashionMNIST.classes


@pytest.mark.slow
def test_sample_is_the_first_images_of_each_class():
    sample, full = load_fashion_mnist(True, "cpu"), load_fashion_mnist(False, "cpu")
    for i, count in ((0, 400), (2, 100)):
        for c in range(10):
            real = full[i][full[i + 1] == c][:count]
            assert torch.equal(sample[i][sample[i + 1] == c], real)


LABELS = "train-labels-idx1-ubyte.gz"
SAMPLE = {path.name: path.read_bytes() for path in data.SAMPLE_FOLDER.iterdir()}
UNPACKED = {name[:-3]: gzip.decompress(content) for name, content in SAMPLE.items()}
MD5 = {name: hashlib.md5(content).hexdigest() for name, content in UNPACKED.items()}
BAD = {
    "empty": b"",
    "cut": SAMPLE[LABELS][:-9],
    "swapped": SAMPLE["t10k-labels-idx1-ubyte.gz"],
    "wrong": gzip.compress(UNPACKED[LABELS[:-3]][:-1] + b"\1"),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_images(tmp_path, capsys, monkeypatch, fault):
    """None are used; the next download repairs them. The sample is all there is."""
    raw, package, net = (tmp_path / name for name in ("FashionMNIST/raw", "usr", "net"))
    for folder in (raw, package, net):
        shutil.copytree(data.SAMPLE_FOLDER, folder)
        (folder / LABELS).write_bytes(BAD[fault])
    handler, patch = SimpleHTTPRequestHandler, monkeypatch.setattr
    patch(handler, "log_message", lambda *_: None)
    patch(data, "MD5", MD5)
    patch(data, "FOLDERS", [package, raw])
    patch(data, "DOWNLOADS", raw)
    packed = [(p.name, utils.calculate_md5(p)) for p in data.SAMPLE_FOLDER.iterdir()]
    patch(FashionMNIST, "resources", packed)
    patch(utils, "tqdm", partial(utils.tqdm, disable=True))
    patch("socket.setdefaulttimeout", lambda _: None)  # would hold for other tests
    if fault not in ("swapped", "wrong"):  # the sample comes with git, and has no MD5
        patch(data, "SAMPLE_FOLDER", package)
        fails(capsys, [package], load_fashion_mnist, True, "cpu")
    serve = partial(handler, directory=net)
    with ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        patch(FashionMNIST, "mirrors", [f"http://127.0.0.1:{server.server_port}/"])
        fails(capsys, ["data/README.md"], load_fashion_mnist, False, "cpu")
        (net / LABELS).write_bytes(SAMPLE[LABELS])
        assert read_files() == UNPACKED
        server.shutdown()
    patch(data, "_download", None)
    assert read_files() == UNPACKED
