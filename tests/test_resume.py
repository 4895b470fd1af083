"""Does a run that was killed continue as if nothing had happened?"""

import time

import pytest

from checkpoint import load

NAME = "distributed_logistic_regression"


@pytest.mark.parametrize("kills", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_killed_and_resumed(lesson, start, output, kills):
    argv = [NAME, "--sample", "--epochs", 100]
    path, epochs = output / f"{NAME}.checkpoint", 0
    for _ in range(kills):
        process = start(*argv, *["--resume"] * (epochs > 0))
        while not path.exists() or len(load(path)["history"]) == epochs:
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
        process.communicate()
        epochs = len(load(path)["history"])
    assert epochs < 100
    assert start(*argv, "--resume").communicate()[1] == ""
    whole = {p.name: p.read_bytes() for p in lesson(*argv).output.glob("*.p*")}
    assert {f"{NAME}.pth", f"{NAME}.png"} <= whole.keys()
    assert {name: (output / name).read_bytes() for name in whole} == whole


def test_a_finished_run_trains_longer_or_begins_anew(lesson, output):
    argv = [NAME, "--sample", "--output", output, "--epochs"]
    short = lesson(*argv, 2).vars["history"]
    longer = lesson(*argv, 4, "--resume").vars["history"]
    assert short == longer[:2]
    assert lesson(*argv, 3).vars["history"] == longer[:3]
