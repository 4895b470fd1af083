"""The tasks to write: what is said of no lines, of the answer, and of a wrong one?"""

import re
from textwrap import dedent

import numpy as np
import pytest
import torch

from common import compare
from conftest import run_changed, script

WRONG = {  # a passage of the answer, and one that makes it wrong
    "linear_regression_case1": ("3 * x", "2 * x"),
    "logistic_regression_case1": ("-s.abs()", "-s"),
    "data_loading": ("x.flip(2)", "x.flip(1)"),
    "linear_regression_case3": ("- weight", "+ weight"),
    "activation_functions": ("(1 - s)", "(1 + s)"),
    "overfitting": ("copy.deepcopy(model.state_dict())", "model.state_dict()"),
    "classification": (".clamp(min=0)", ""),
    "logistic_regression_case2": ("log()", "log2()"),
    "model_selection": ("table.iloc[held]", "features.iloc[held]"),
    "logistic_regression_case3": ("z - z.max", "z + z.max"),
    "use_saved_model": ("pale.max() - pale", "pale - pale.min()"),
    "convolution": ("part * kernel", "part + kernel"),
    "error_messages": (" / 255", ""),
    "not_learning": ("loss_fn(model(x), y)", "loss_fn(model(x), y) / 2"),
}
FEW = {  # half a minute or more else
    "logistic_regression_case2": ["--epochs", 2],
    "logistic_regression_case3": ["--sample"],
    "convolution": ["--sample", "--epochs", 1],
}


def answer(name):
    """The lines of code in the answer to the task *Write* of a lesson."""
    text = script(name).read_text("utf-8").partition("# Answers\n")[2]
    block = text.partition("::\n#\n")[2]
    return dedent(re.sub("^# ?", "", block, flags=re.M))


@pytest.mark.parametrize("name", WRONG)
def test_task(lesson, output, name):
    call = re.search(r"^compare\(\s*\"(.+?)\"", script(name).read_text("utf-8"), re.M)
    argv = FEW.get(name, [])
    usual = lesson(name, *argv).out
    assert f"{call[1]}: not yet written\n" in usual
    lines = answer(name)
    assert lines.count(WRONG[name][0]) == 1
    for text, verdict in (
        (lines, "right"),
        (lines.replace(*WRONG[name]), "differs by"),
    ):
        out = run_changed(name, output, ("yours = None\n", text), *argv).out
        assert out.startswith(usual.partition(call[1])[0].partition("saved ")[0])
        assert f"{call[1]}: {verdict}" in out


@pytest.mark.parametrize(
    ("yours", "verdict"),
    [
        (None, "not yet written"),
        ([3, -1], "right"),
        (np.array([3.0, -1.00002]), "right"),  # within 1e-5 times 3
        (torch.tensor([3.0, -1.0], requires_grad=True), "right"),
        ([3, -1.00004], "differs by 4e-05"),
        ([3, np.nan], "differs by nan"),
        ([[3, -1]], "shape (1, 2), not (2,)"),
        (3, "shape (), not (2,)"),
        ("3x - 1", "cannot be compared"),
        ([3, [1]], "cannot be compared"),
    ],
)
def test_compare(capsys, yours, verdict):
    compare("line", yours, [3.0, -1.0])
    assert capsys.readouterr().out.startswith(f"line: {verdict}")


def test_compare_scales_from_1_on(capsys):
    for yours, reference in ((100.0009, 100), (1e-3, 0), (1e-6, 0)):
        compare("number", yours, reference)
    words = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert words == ["right", "differs", "right"]
