import shutil
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
from torchvision.datasets import FashionMNIST, utils
from torchvision.transforms import ToTensor

import lesson_data as data
from conftest import fails, serve
from lesson_data import load_fashion_mnist, read_csv, read_files

NAN = np.nan
ROWS = "1,2.5,0\n3,-4e2,1\n3,7,1\n"
WORDS = ["", "?", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "NULL", "null", "None", "-"]


def table(folder, text):
    path = folder / "table.csv"
    path.write_text(text, "utf-8", "surrogateescape", newline="")
    return path


@pytest.mark.parametrize("first", ["", "a,b,y", '"a 1 2 3",Na,y'])
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


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b,y\nx y,?,0\n,2,1\nNa,3,1\n", {"a": ["x y", NAN, "Na"], "b": [NAN, 2, 3]}),
        ("a,y,\n5,0\n6,1\n", {"a": [5, 6], "Unnamed: 2": [NAN, NAN]}),
        (",a,y\n7,,0\nx,6,1\n", {"Unnamed: 0": ["7", "x"], "a": [NAN, 6]}),
        ('"a, 1, 2?";y\n5;0\n6;1\n', {"a, 1, 2?": [5, 6]}),
        ('a,y\n"y,z",0\n"a ""b""",1\n', {"a": ["y,z", 'a "b"']}),
    ],
)
def test_missing_cells_and_quotes(tmp_path, text, expected):
    features, _ = read_csv(table(tmp_path, text))
    features, expected = features.reset_index(drop=True), pd.DataFrame(expected)
    pd.testing.assert_frame_equal(features, expected, check_dtype=False)


def test_words_for_missing(tmp_path, capsys):
    rows = "".join(f"{word},{i},{i % 2}\n" for i, word in enumerate(WORDS))
    features, labels = read_csv(path := table(tmp_path, f"{rows}1,,1\n"))
    assert features["column 1"].isna().tolist() == [True] * len(WORDS) + [False]
    words = [path, "1 have missing cells (column 1)", "model_selection.py"]
    fails(capsys, words, data.require_numbers, path, features, labels)


def test_columns_that_are_left_out(lesson, tmp_path, capsys):
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
    argv = "logistic_regression_case2", "--data", path, "--label", "y"
    fails(capsys, [path, "2 columns hold text", "(city, plan)"], lesson, *argv)


@pytest.mark.parametrize("cell", ["1e39", "inf", "69,65", "1,234", "12O"])
def test_what_float32_cannot_hold_is_text(tmp_path, capsys, cell):
    features, _ = read_csv(table(tmp_path, f"a;y\n1;0\n\n{cell};1\n"))
    assert features["a"].to_dict() == {2: "1", 4: cell}
    assert f"a is text: '{cell}' in row 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["table.csv"]),
        ("a,b,y\n", ["not 0", "'a, b, y'"]),
        (ROWS + "1,2,3,0\n", ["line 4", "saw 4", "'1,2.5,0'"]),
        (ROWS + '1,"2,0\n', ["table.csv"]),
        (ROWS + "1,2\n", ["row 4", "3 cells", "'1, 2.5, 0'"]),
        (ROWS + "1,2,2\n", ["column 3", "not 3", "'2' (1 rows)", "--label"]),
        ("1,2,0\n3,4,0\n", ["column 3", "not 1", "--label"]),
        ("a,a,y\n5,6,0\n1,2,1\n", ["not 3", "'y' (1 rows)", "a, a, y"]),
        ("# from a tool\na,b,y\n5,6,0\n", ["#, from, a, tool"]),
        (",X1,Y\nID,a,b\n1,2,0\n2,1,1\n", ["not 3", "'b' (1 rows)", ", X1, Y"]),
        *((text, ["UTF-8"]) for text in ("gr\udcf6\udcdfe,y\n5,0", "\udcff\udcfea\0")),
    ],
)
def test_tables_that_are_refused(tmp_path, capsys, text, words):
    path = table(tmp_path, text)
    fails(capsys, [path, *words], read_csv, path)


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


LABELS = "train-labels-idx1-ubyte.gz"
GOOD = (data.SAMPLE_FOLDER / LABELS).read_bytes()


@pytest.mark.parametrize("bad", [b"", GOOD[:-9]], ids=["empty", "cut"])
def test_bad_images(tmp_path, capsys, monkeypatch, bad):
    """None are used; the next download repairs them. The sample is all there is."""
    sample, patch = read_files(sample=True), monkeypatch.setattr
    raw, package, net = (tmp_path / name for name in ("FashionMNIST/raw", "usr", "net"))
    for folder in (raw, package, net):
        shutil.copytree(data.SAMPLE_FOLDER, folder)
        (folder / LABELS).write_bytes(bad)
    patch(data, "PACKAGE", package)
    patch(data, "DOWNLOADS", raw)
    packed = [(p.name, utils.calculate_md5(p)) for p in data.SAMPLE_FOLDER.iterdir()]
    patch(FashionMNIST, "resources", packed)
    patch(utils, "tqdm", partial(utils.tqdm, disable=True))
    patch("socket.setdefaulttimeout", lambda _: None)  # would hold for other tests
    patch(data, "SAMPLE_FOLDER", package)
    fails(capsys, [package], load_fashion_mnist, True, "cpu")
    with serve(net) as address:
        patch(FashionMNIST, "mirrors", [address])
        fails(capsys, ["data/README.md"], load_fashion_mnist, False, "cpu")
        (net / LABELS).write_bytes(GOOD)
        assert read_files() == sample
    patch(data, "_download", None)
    assert read_files() == sample
