import pytest

from conftest import environment, quick, slow_except


@pytest.mark.parametrize(
    "name", slow_except("linear_regression_case1", "logistic_regression_case3")
)
def test_lesson(start, output, tmp_path, name):
    """No warning, at least one figure, and nothing outside the folder of outputs."""
    flags = {"epochs": "--epochs=2", "sample": "--sample"}
    env = environment(LC_ALL="C")
    process = start(name, *map(flags.get, quick(name)), env=env)
    assert process.communicate()[1] == ""
    assert process.returncode == 0
    assert {p.read_bytes()[:4] for p in output.glob(f"{name}*.png")} == {b"\x89PNG"}
    assert list(tmp_path.iterdir()) == [output]
