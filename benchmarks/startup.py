"""What does a lesson on tiny data cost beyond loading the libraries it uses?

Each linear regression lesson runs as a process, training and figures included, in turn
with a bare process that imports the same libraries and makes one optimizer. The table
shows medians and their ratio:

    python benchmarks/startup.py
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
# Making the first optimizer loads torch._dynamo, which takes as long as torch itself.
BARE = """
import matplotlib.pyplot
import torch
torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
"""
SKLEARN = "import sklearn.linear_model\n"
LESSONS = {
    "linear_regression_case1": BARE,
    "linear_regression_case2": BARE + SKLEARN + "import sklearn.datasets\n",
    "linear_regression_case3": BARE + SKLEARN,
}


def seconds(command):
    """The wall time of one run of ``command``, in seconds."""
    start = time.perf_counter()
    env = os.environ | {"MPLBACKEND": "agg"}  # no window that waits for a click
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)
    return time.perf_counter() - start


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--repetitions", type=int, default=7, metavar="N")
repetitions = max(parser.parse_args().repetitions, 1)

with tempfile.TemporaryDirectory() as output:
    commands = {}
    for name, bare in LESSONS.items():
        lesson = [sys.executable, EXAMPLES / f"{name}.py", "--output", output]
        commands[name] = lesson
        commands[name, "bare"] = [sys.executable, "-c", bare]
    for command in commands.values():  # not counted: fills the disk's cache
        seconds(command)
    times = {key: [] for key in commands}
    for _ in range(repetitions):
        for key, command in commands.items():
            times[key].append(seconds(command))

print(f"{'lesson':25}{'seconds':>9}{'bare':>9}{'ratio':>8}")
for name in LESSONS:
    whole = statistics.median(times[name])
    bare = statistics.median(times[name, "bare"])
    print(f"{name:25}{whole:9.2f}{bare:9.2f}{whole / bare:8.2f}")
