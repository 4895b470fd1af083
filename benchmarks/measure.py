"""What the benchmarks share: the command line, the lesson that they time, the clock."""

import argparse
import contextlib
import io
import os
import platform
import runpy
import sys
import tempfile
import time
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))
os.environ.setdefault("MPLBACKEND", "agg")  # no window that waits for a click


def parser(doc, repetitions):
    """Return a parser with the options that all benchmarks have."""
    result = argparse.ArgumentParser(description=doc.partition("\n")[0])
    result.add_argument("--repetitions", type=int, default=repetitions, metavar="N")
    result.add_argument("--sample", action="store_true", help="4,000 images only")
    return result


def run_lesson(sample):
    """Run one epoch of `faster_training.py`; return its variables."""
    path = str(EXAMPLES / "faster_training.py")
    with tempfile.TemporaryDirectory() as output:
        sys.argv = [path, "--epochs", "1", "--output", output] + ["--sample"] * sample
        with contextlib.redirect_stdout(io.StringIO()):
            return runpy.run_path(path, run_name="__main__")


def timed(function, *arguments, clock=time.perf_counter):
    """Call the function; return the seconds that it took, and its result."""
    start = clock()
    result = function(*arguments)
    return clock() - start, result


def environment():
    """Return the date, the processor, how busy it is, and the versions, in one line."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text()
        processor = cpuinfo.partition("model name")[2].partition(":")[2].splitlines()[0]
    except (OSError, IndexError):
        processor = platform.processor()
    parts = [str(date.today()), processor.strip(), f"{os.cpu_count()} processors"]
    if hasattr(os, "getloadavg"):  # not on Windows
        parts.append(f"load {os.getloadavg()[0]:.1f}")
    parts.append(f"Python {platform.python_version()}")
    for name in ("torch", "torchvision", "numpy", "scikit-learn", "jax", "keras"):
        with contextlib.suppress(PackageNotFoundError):
            parts.append(f"{name} {version(name)}")
    return ", ".join(parts)
