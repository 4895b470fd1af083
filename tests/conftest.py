"""Two ways to run a lesson: in this process, and as a reader does."""

import contextlib
import json
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import matplotlib

matplotlib.use("agg")  # before a lesson imports pyplot: no window, whatever the screen
import matplotlib.pyplot as plt
import pytest

from lessons import LESSONS

# Started in the background by a script, a process ignores Ctrl-C, and so does what it
# starts; the lessons that the tests start should not.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
NAMES = [path.stem for path in LESSONS]
# The options of a run that shows whether a lesson works, and takes seconds.
QUICK = {
    path.stem: ["--epochs", 2]
    + ["--sample"] * ("sample=False" in path.read_text(encoding="utf-8"))
    for path in LESSONS
}
SAME = ["--device", "cpu"]  # the figures that the tests expect are those of a CPU


@pytest.fixture
def output(tmp_path):
    """The folder that the lessons of this test write to."""
    return tmp_path / "outputs"


@pytest.fixture
def lesson(monkeypatch, output):
    """Run a lesson in this process; return its variables, to look at afterwards."""

    def run(name, *argv):
        path = str(ROOT / "examples" / f"{name}.py")
        argv = [path, *SAME, "--output", str(output), *map(str, argv)]
        monkeypatch.setattr(sys, "argv", argv)
        return runpy.run_path(path, run_name="__main__")

    yield run
    plt.close("all")
    matplotlib.rcdefaults()


def command(name, output, *argv):
    """The command line with which a reader runs a lesson; warnings are errors."""
    # ResourceWarning: torch 2.6 leaves a temporary folder to the garbage collector.
    flags = ["-W", "error", "-W", "ignore::ResourceWarning"]
    path = ROOT / "examples" / f"{name}.py"
    return [sys.executable, *flags, path, *SAME, "--output", output, *map(str, argv)]


def environment(**variables):
    """What a reader's shell may hold, without a screen."""
    odd = {"DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND", "PYTHONUNBUFFERED"}
    kept = {key: value for key, value in os.environ.items() if key not in odd}
    if sys.platform != "linux":  # there is always a screen, and a window would wait
        kept["MPLBACKEND"] = "agg"
    return kept | variables


@pytest.fixture
def start(output):
    """Start a lesson, with pipes to its output; it ends with the test at the latest."""
    with contextlib.ExitStack() as stack:

        def popen(name, *argv, stdout=subprocess.PIPE):
            process = subprocess.Popen(
                command(name, output, *argv),
                env=environment(),
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield popen


@pytest.fixture
def run(tmp_path, output):
    """Run a lesson as a reader does, from another folder, without a screen."""

    def run(name, *argv, env=None, **kwargs):
        return subprocess.run(
            command(name, output, *argv),
            cwd=tmp_path,
            env=env or environment(),
            capture_output=True,
            text=True,
            **kwargs,
        )

    return run


class Trap:
    """Unpickled, it would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.fixture(scope="session")
def published():
    """The figures that the tutorial printed, and the starting weights behind them."""
    return json.loads((ROOT / "tests/published_runs.json").read_text(encoding="utf-8"))
