"""Folders, the command line of a lesson, and how a lesson ends early: in one line.

Exit codes: 2 for the command line, 130 for Ctrl-C, 141 for a closed pipe, else 1.
"""

import argparse
import atexit
import os
import signal
import sys
import time
from argparse import Namespace
from functools import partial
from glob import glob
from pathlib import Path
from typing import NoReturn

import matplotlib.pyplot as plt
import torch

# Data and outputs are beside examples/, or beside this file where it was downloaded.
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent if (HERE.parent / "data/published_runs.json").exists() else HERE
LAUNCHED = "TORCHELASTIC_RUN_ID" in os.environ  # by torchrun, as one of many processes
if LAUNCHED:  # a normal exit can crash while threads of torch.distributed still run
    atexit.register(lambda: os._exit(hasattr(sys, "last_value")))  # 1 after a traceback

LIMITS = {int: 10**9, float: 3.4e38}  # float32 ends there
HELP = {
    "epochs": "passes over the training data",
    "lr": "learning rate",
    "batch_size": "examples per training step",
    "sample": "use the small sample in data/ instead of the full data set",
    "resume": "continue from the checkpoint of the last run",
    "data": "data of your own: a CSV file, or (data_loading) a folder of images",
    "label": "name or number (from 1) of the label column; else it is the last",
    "seed": "seed of the random numbers",
    "device": "cpu, cuda, mps, xpu, or auto for the accelerator",
    "output": "folder for figures and models",
    "images": "image files",
}


def fail(message: object, code: int = 1) -> NoReturn:
    """End the program with one line on stderr; ``code`` is 2 for the command line."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        time.sleep(10)  # torchrun ends all when one ends: the first is to report
    line = "error: " + " ".join(str(message).split())[:500]
    print(line, file=sys.stderr, flush=True)
    (os._exit if LAUNCHED else sys.exit)(code)


def parse_args(doc: str | None, **defaults) -> Namespace:
    """Read the command line, and create the output folder.

    Each keyword is an option of the lesson with its default; ``output`` is added. The
    first line of ``doc`` becomes the description. Only a script that was itself started
    reads the command line: a notebook, a console or a program that imports a lesson
    gets the defaults.
    """
    parser = argparse.ArgumentParser(
        description=(doc or "").strip().partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    parser.error = partial(fail, code=2)
    for name, default in ({"output": ROOT / "outputs"} | defaults).items():
        flag, kind = "--" + name.replace("_", "-"), type(default)
        how = {"type": Path if name == "data" else kind, "metavar": "X"}
        if kind is bool:
            how = {"action": "store_true"}
        if kind is list:
            flag, how = name, {"nargs": "*", "metavar": name.upper()}
        parser.add_argument(flag, default=default, help=HELP.get(name), **how)
    script = sys._getframe(1).f_globals.get("__file__", "")  # the caller's
    started = Path(script).resolve() == Path(sys.argv[0]).resolve()
    args = parser.parse_args(sys.argv[1:] if started else [])
    if images := getattr(args, "images", []):  # Windows leaves *.png to the program
        args.images = [p for name in images for p in sorted(glob(name)) or [name]]
    for name, value in vars(args).items():
        low, high = 0, LIMITS.get(type(value))
        if name == "seed":
            low, high = -1, 2**32  # as scikit-learn has it
        if high and not low < value < high:
            flag = name.replace("_", "-")
            parser.error(f"argument --{flag}: must be above {low} and below {high}")
    # A console that runs the script sets sys.argv, not the command line of Python.
    prompt = sys.flags.inspect or sys.orig_argv[-len(sys.argv) :] != sys.argv
    if started and not prompt and not hasattr(sys, "ps1"):
        sys.stdout.reconfigure(line_buffering=True)  # also into a pipe
        sys.excepthook = _on_exception
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            hint = "; --resume continues the run" if "resume" in args else ""
            signal.signal(signal.SIGINT, partial(_on_interrupt, hint))
    args.output.mkdir(parents=True, exist_ok=True)
    if not os.access(args.output, os.W_OK):
        fail(f"cannot write to {args.output}; see --output")

    plt.style.use(HERE / "lessons.mplstyle")
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # a second gains little; on a busy machine it costs
    return args


def _on_interrupt(hint, *_):
    """End at once: an exception could be caught, or become another, in a library."""
    if sys.stdout:  # a rank of torchrun that is silent has none
        os.write(2, f"interrupted; saved files are complete{hint}\n".encode())
    os._exit(130)


def _on_exception(kind, error, traceback):
    if issubclass(kind, BrokenPipeError):  # as in: python lesson.py | head
        os._exit(141)
    lost_process = "gloo" in str(error) or "torch.distributed" in str(kind)
    if isinstance(error, OSError) or lost_process:  # no fault of the program
        sys.stderr, sys.stdout = sys.__stderr__, None  # no prefix, no flush at the end
        fail(str(error).partition("\n")[0])
    sys.__excepthook__(kind, error, traceback)
