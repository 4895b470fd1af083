"""Does every lesson run as a reader runs it?"""

import shutil

import pytest

from conftest import ROOT, environment, quick, slow_except


@pytest.mark.parametrize(
    "name", slow_except("linear_regression_case1", "logistic_regression_case3")
)
def test_lesson(run, output, tmp_path, name):
    """No warning, at least one figure, and nothing outside the folder of outputs."""
    flags = {"epochs": "--epochs=2", "sample": "--sample"}
    done = run(name, *map(flags.get, quick(name)))
    assert (done.returncode, done.stderr) == (0, "")
    assert {p.read_bytes()[:4] for p in output.glob(f"{name}*.png")} == {b"\x89PNG"}
    assert list(tmp_path.iterdir()) == [output]


def test_another_place(lesson, run, tmp_path, monkeypatch):
    """A space and Chinese characters in the path, a C locale, no HOME."""
    usual = lesson("linear_regression_case3")
    monkeypatch.setattr("conftest.ROOT", here := tmp_path / "我的 课程")
    shutil.copytree(ROOT / "examples", here / "examples")
    env = environment(LC_ALL="C")
    env.pop("HOME", None)
    done = run("linear_regression_case3", "--output", here, env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == usual.out.replace(str(usual.output), str(here))
