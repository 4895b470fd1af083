"""Does every lesson run as a reader runs it?"""

import shutil

import pytest

from conftest import ROOT, environment, quick, slow_except


@pytest.mark.parametrize(
    "name", slow_except("linear_regression_case1", "logistic_regression_case3")
)
def test_lesson(start, output, tmp_path, name):
    """No warning, at least one figure, and nothing outside the folder of outputs."""
    flags = {"epochs": "--epochs=2", "sample": "--sample"}
    process = start(name, *map(flags.get, quick(name)))
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert {p.read_bytes()[:4] for p in output.glob(f"{name}*.png")} == {b"\x89PNG"}
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.slow
def test_another_place(lesson, start, tmp_path, monkeypatch):
    """A space and Chinese characters in the path, a C locale, no HOME."""
    usual = lesson("linear_regression_case3")
    monkeypatch.setattr("conftest.ROOT", here := tmp_path / "我的 课程")
    shutil.copytree(ROOT / "examples", here / "examples")
    env = environment(LC_ALL="C")
    env.pop("HOME", None)
    process = start("linear_regression_case3", "--output", here, env=env)
    expected = usual.out.replace(str(usual.output), str(here)), ""
    assert process.communicate() == expected
