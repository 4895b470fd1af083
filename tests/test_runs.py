"""Does every lesson run, from any folder, without a screen and without a warning?"""

import pytest
from conftest import LESSONS, NAMES, QUICK


def test_the_glob_finds_the_lessons():
    names = {path.stem for path in LESSONS}
    assert {f"linear_regression_case{case}" for case in (1, 2, 3)} <= names
    assert "common" not in names


@pytest.mark.parametrize("name", NAMES)
def test_two_epochs(run, output, tmp_path, name):
    done = run(name, *QUICK[name])
    assert done.stderr == ""
    assert done.returncode == 0
    figures = list(output.glob(f"{name}*.png"))
    assert figures
    for figure in figures:
        assert figure.read_bytes().startswith(b"\x89PNG")
        assert f"saved {figure}" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]


@pytest.mark.parametrize("name", NAMES)
def test_help_is_short_and_names_the_options(run, name):
    done = run(name, "--help")
    assert done.returncode == 0
    title = (
        next(p for p in LESSONS if p.stem == name)
        .read_text(encoding="utf-8")
        .splitlines()[1]
    )
    assert done.stdout.startswith(title + "\n")
    for option in ("--epochs", "--lr", "--seed", "--device", "--output"):
        assert option in done.stdout
    assert len(done.stdout.splitlines()) <= 24
