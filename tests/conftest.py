"""Two ways to run a lesson: in this process, and as a reader does."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")  # before a lesson imports pyplot: no window, whatever the screen
import matplotlib.pyplot as plt
import pytest

ROOT = Path(__file__).resolve().parent.parent
LESSONS = sorted(
    path for path in (ROOT / "examples").glob("*.py") if "\n# %%\n" in path.read_text()
)


@pytest.fixture
def output(tmp_path):
    """The folder that the lessons of this test write to."""
    return tmp_path / "outputs"


@pytest.fixture
def lesson(monkeypatch, output):
    """Run a lesson in this process; return its variables, to look at afterwards."""

    def run(name, *argv):
        path = str(ROOT / "examples" / f"{name}.py")
        argv = [path, "--output", str(output), *map(str, argv)]
        monkeypatch.setattr(sys, "argv", argv)
        return runpy.run_path(path, run_name="__main__")

    yield run
    plt.close("all")
    matplotlib.rcdefaults()


@pytest.fixture
def run(tmp_path, output):
    """Run a lesson as a reader does, from another folder, without a screen."""

    def run(name, *argv, **kwargs):
        env = os.environ | kwargs.pop("env", {})
        for variable in ("DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND"):
            env.pop(variable, None)
        path = ROOT / "examples" / f"{name}.py"
        # ResourceWarning: torch 2.6 leaves a temporary folder to the garbage collector.
        flags = ["-W", "error", "-W", "ignore::ResourceWarning"]
        return subprocess.run(
            [sys.executable, *flags, path, "--output", output, *map(str, argv)],
            **{"cwd": tmp_path, "env": env, "capture_output": True, "text": True}
            | kwargs,
        )

    return run


@pytest.fixture(scope="session")
def published():
    """The figures that the tutorial printed, and the starting weights behind them."""
    return json.loads((ROOT / "tests/published_runs.json").read_text())
