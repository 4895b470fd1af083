"""Run a lesson in this process, as a reader does, or in the background."""

import contextlib
import io
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import matplotlib

matplotlib.use("agg")  # before a lesson imports pyplot: no window, whatever the screen
import matplotlib.pyplot as plt
import pytest

from lessons import LESSONS

# Started in the background by a script, a process ignores Ctrl-C, and `python -i` too.
signal.signal(signal.SIGINT, signal.default_int_handler)

ROOT = Path(__file__).resolve().parent.parent
HANG = 1200  # seconds: far more than a busy machine takes
NAMES = [path.stem for path in LESSONS]
LATE = (pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 7))
SEEDS = pytest.mark.parametrize("seed", [0, 3, *LATE])


def script(name):
    return ROOT / "examples" / f"{name}.py"


def usual(name, output):
    """The options of each run: its folder, and the CPU, whose numbers tests expect."""
    asks = "args.device" in script(name).read_text("utf-8")
    return [*["--device", "cpu"] * asks, "--output", output]


def run_in_process(name, output, *argv):
    """Run a lesson here; return its variables, printed text, figures and folder."""
    argv = [str(x) for x in (script(name), *usual(name, output), *argv)]
    text = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(text):
        patch.setattr(sys, "argv", argv)
        try:
            variables = runpy.run_path(argv[0], run_name="__main__")
            figures = [plt.figure(number) for number in plt.get_fignums()]
        finally:
            plt.close("all")
            matplotlib.rcdefaults()
    return SimpleNamespace(
        vars=variables, out=text.getvalue(), figures=figures, output=output
    )


def run_changed(name, output, change, *argv):
    """Run a lesson here with a passage that it has once replaced: an exercise."""
    code = re.sub("^#.*\n", "", script(name).read_text("utf-8"), flags=re.M)
    assert code.count(change[0]) == 1  # in code: its comments are gone
    (output.parent / f"{name}.py").write_text(code.replace(*change), "utf-8")
    return run_in_process(output.parent / name, output, *argv)


def slow_except(*names):
    return [pytest.param(n, marks=[pytest.mark.slow] * (n not in names)) for n in NAMES]


def quick(name):
    source, few = script(name).read_text("utf-8"), {"epochs": 2, "sample": True}
    return {key: few[key] for key in few if f"{key}=" in source}


@pytest.fixture(scope="session")
def lesson(tmp_path_factory):
    """Run a lesson in this process, each command line once for all tests that ask."""
    runs = {}

    def run(name, *argv):
        key = (name, *map(str, argv))
        if key[-2:] == ("--seed", "0"):  # the default
            key = key[:-2]
        if key not in runs:
            output = tmp_path_factory.mktemp(name) / "outputs"
            runs[key] = run_in_process(name, output, *argv)
        return runs[key]

    return run


@pytest.fixture
def output(tmp_path):
    """The folder that `start` writes to, with a name as people have it."""
    return tmp_path / "我的 outputs"


def environment(**variables):
    """What a reader's shell may hold, without a screen."""
    odd = {"DISPLAY", "WAYLAND_DISPLAY", "MPLBACKEND", "PYTHONUNBUFFERED"}
    kept = {key: value for key, value in os.environ.items() if key not in odd}
    if sys.platform != "linux":  # there is always a screen, and a window would wait
        kept["MPLBACKEND"] = "agg"
    return kept | variables


@pytest.fixture
def start(tmp_path, output):
    """Start a lesson as a process, from another folder; it ends with the test."""
    with contextlib.ExitStack() as stack:

        def popen(name, *argv, stdout=subprocess.PIPE, env=None):
            argv = [script(name), *usual(name, output), *argv]
            process = subprocess.Popen(
                [sys.executable, "-W", "error", *map(str, argv)],
                cwd=tmp_path,
                env=env or environment(),
                stdout=stdout,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield popen


@contextlib.contextmanager
def serve(folder):
    """The address of a server of the files in ``folder``, on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as s:
        threading.Thread(target=s.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{s.server_port}/"
        s.shutdown()


def error_line(stderr, *words):
    """Check that ``stderr`` is one line of error, which names all of ``words``."""
    assert stderr.startswith("error: "), stderr
    assert stderr.count("\n") == 1, stderr
    for word in words:
        assert str(word) in stderr


def fails(capsys, words, function, *args, code=1):
    """Check that ``function(*args)`` ends in one line of error, naming ``words``."""
    with pytest.raises(SystemExit) as error:
        function(*args)
    assert error.value.code == code
    error_line(capsys.readouterr().err, *words)


@pytest.fixture(scope="session")
def published():
    """The numbers that the tutorial printed, and the starting weights behind them."""
    return json.loads((ROOT / "data/published_runs.json").read_text(encoding="utf-8"))
