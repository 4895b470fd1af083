import re

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import nn

from conftest import SEEDS, run_changed, script

NAME = "error_messages"
MESSAGES = [  # what all versions from 2.10 to 2.15 say, in the order of the lesson
    r"mat1 and mat2 shapes cannot be multiplied \(224x28 and 784x10\)",
    r"mat1 and mat2 shapes cannot be multiplied \(1x5 and 1x1\)",
    r"IndexError: Dimension out of range \(.*\[-1, 0\], but got 1\)",
    r"expected .* Long .* Float$",
    r"1D target tensor expected, multi-target not supported",
    r"floating point type for target with class probabilities, got Long",
    r"IndexError: Target 10 is out of bounds",
    r"Target size .*\[8\].* must be the same as input size .*\[8, 1\]",
    r"Float can't be cast to the desired output type Long",
    r"Can't call numpy\(\) on Tensor that requires grad.*detach",
    r"Trying to backward through the graph a second time.* retain_graph=True",
    r"a leaf Variable that requires grad .* in-place operation",
    r"device (cpu|meta).* device (cpu|meta)",
    r'Missing key.*"weight", "bias".*Unexpected key.*"module.weight", "module.bias"',
    r"invalid index of a 0-dim tensor.*item\(\)",
    r"^UserWarning: volatile .*no_grad",
    r"^UserWarning: size_average .*reduction='sum'",
]


@SEEDS
def test_messages(lesson, seed):
    start = r"^(?=\w+(?:Error|Warning): |    repaired|\S+ +-> |loss)"
    parts = re.split(start, lesson(NAME, "--seed", seed).out, flags=re.M)
    found = [" ".join(part.split()) for part in parts if re.match(r"\w+[rg]: ", part)]
    for message, pattern in zip(found, MESSAGES, strict=True):
        assert re.search(pattern, message), message


@SEEDS
def test_numbers(lesson, seed):
    run = lesson(NAME, "--seed", seed)
    v = run.vars
    weight, bias = (p.detach().double().numpy() for p in v["model"].parameters())
    x, y, line = v["x"].double().numpy(), v["y"].numpy(), v["line"]
    logits, point = x @ weight.T + bias, line.weight.item() * 4 + line.bias.item()
    loss = -log_softmax(logits, 1)[np.arange(8), y].mean()
    exact = [loss, point, softmax(logits, 1)[0, 9], *[loss] * 4, np.log(2)]
    exact += [logits[0, 9], 2, 0.5, loss, loss]
    pairs = np.array(re.findall(r"repaired: (.+), must be (.+)", run.out), float)
    assert pairs == pytest.approx(np.array([exact, exact]).T, abs=2e-4)
    once = (softmax(logits, 1) - np.eye(10)[y]).T @ x / 8
    assert v["once"].detach().numpy() == pytest.approx(once, abs=1e-5)
    rows = re.findall(r"^\S+ +-> \S+ *(.*)\n", run.out, re.M)
    assert float(rows[0]) == pytest.approx(loss, abs=1e-4)
    assert rows[1:] == ["[0.5, 1.0]", "", "1.25"]
    assert "\nno message: [0.5, 1.0]\n" in run.out


def test_messages_that_only_the_prose_has():
    text = re.sub(r"\s+(# )?", " ", script(NAME).read_text("utf-8").lower())
    s = torch.sigmoid(torch.zeros(1, requires_grad=True))
    s += 1
    for pattern, code in [
        (r"Expected 3D .* or 4D \(batched\) input", lambda: nn.Conv2d(1, 1, 3)(s)),
        (r".* modified by an inplace operation", lambda: s.backward()),
    ]:
        with pytest.raises(RuntimeError, match=pattern) as error:
            code()
        assert re.match(pattern, str(error.value))[0].lower() in text
    assert "module.weight" in nn.DataParallel(nn.Linear(1, 1)).state_dict()  # as DDP's


def test_tasks(lesson, output):
    v = lesson(NAME).vars
    model, loss_fn, x, y = (v[name] for name in ("model", "loss_fn", "x", "y"))
    with pytest.raises(RuntimeError, match=r"\(28x28 and 784x10\)"):
        model(v["pictures"][0].flatten(1))
    assert model(v["pictures"][0:1].flatten(1)).equal(model(x[:1]))
    change = "again.backward()\nprovoke", "again.backward(retain_graph=True)\nprovoke"
    out = run_changed(NAME, output, change).out
    assert "no message: None\n    repaired: 3.0000, must be 2.0000\n" in out
    new, gradients = nn.Linear(784, 10), []
    loss = loss_fn(new(x), y)  # above a training loop
    for _ in range(2):
        new.zero_grad()
        loss.backward(retain_graph=True)
        torch.optim.SGD(new.parameters()).step()
        gradients.append(new.weight.grad.tolist())
    assert gradients[0] == gradients[1]
    raw, table, floats = v["raw"], v["table"], v["raw"].flatten(1).float()
    for words, inputs, targets in [
        ("dtype.* Byte and Float", raw.flatten(1), table),
        ("shapes .*224x28", raw.float(), table),
        ("multi-target", floats, table),
        ("Long .*Float", floats, table.flatten()),
    ]:
        with pytest.raises(RuntimeError, match=words):
            loss_fn(model(inputs), targets)
