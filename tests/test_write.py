import re
from textwrap import dedent

import numpy as np
import pytest
import torch

from common import compare
from conftest import run_in_process, script

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


@pytest.mark.parametrize("name", WRONG)
def test_task(capsys, output, name):
    code, _, answers = script(name).read_text("utf-8").partition("# Answers\n")
    answer = re.sub("^# ?", "", answers.partition("::\n#\n")[2], flags=re.M)
    lines, wrong = dedent(answer), WRONG[name]
    assert lines.count(wrong[0]) == 1
    call = code.partition("yours = None\n")[2]
    what = re.search(r"^compare\(\s*\"(.+?)\"", call, re.M)[1]
    run = run_in_process(name, output, *FEW.get(name, []))
    assert f"{what}: not yet written\n" in run.out
    for text, verdict in ((lines, "right"), (lines.replace(*wrong), "differs by")):
        exec(text + call, run.vars)
        assert f"{what}: {verdict}" in capsys.readouterr().out


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
    ],
)
def test_compare(capsys, yours, verdict):
    compare("line", yours, [3.0, -1.0])
    compare("zero", 1e-6, 0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"line: {verdict}")
    assert lines[-1] == "zero: right"
