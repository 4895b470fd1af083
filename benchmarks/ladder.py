"""The ladder of `faster_training.py`, six rungs further, down to the floor.

Rungs 0 to 4 are those of the lesson. Rung 5 and the next do without an optimizer, rung
6 and the next without autograd. What a step computes stays the same, and so do losses
and weights. All rungs take turns, an epoch each, on one thread, and only the time of
their process counts. The table shows medians over the epochs after the first, in which
the last rung is compiled. Without a C++ compiler that rung is left out.

    python benchmarks/ladder.py
"""

import copy
import os
import shutil
import statistics
import sys
import time
from functools import cache, partial

import torch
from measure import environment, parser, run_lesson, timed
from torch.nn.functional import cross_entropy, linear

from common import batches, evaluate, loss_and_accuracy

READABLE, BYTES = "metrics at the end", "pixels as bytes"
COMPILED = "sixteen steps in a compiled call"
COMPILER = shutil.which(os.environ.get("CXX", "g++"))
EYE = torch.eye(10)  # its rows and columns are the one-hot labels


def by_steps(step, lr, model, x, y, batch_size):
    """Train one epoch, a call of ``step`` for each batch; return loss and accuracy."""
    weight, bias = model.parameters()
    parts = batches(len(x), batch_size)
    logits = []
    with torch.no_grad():
        for indices in parts:
            batch = x.index_select(0, indices), y.index_select(0, indices)
            logits.append(step(lr, weight, bias, *batch))
    loss_fn = torch.nn.CrossEntropyLoss()
    return loss_and_accuracy(torch.cat(logits), y[torch.cat(parts)], loss_fn)


def step_by_autograd(lr, weight, bias, x, y):
    """Take a step without an optimizer (rung 5).

    ``torch.optim.SGD`` serves any number of parameters, with momentum, weight decay and
    more. Plain SGD is one line per parameter, and ``autograd.grad`` returns gradients
    instead of storing them in the parameters.
    """
    with torch.enable_grad():
        logits = linear(x, weight, bias)
        gradients = torch.autograd.grad(cross_entropy(logits, y), (weight, bias))
    weight -= lr * gradients[0]
    bias -= lr * gradients[1]
    return logits.detach()


def step_by_hand(lr, weight, bias, x, y):
    """Take a step with the gradient by hand (rung 6).

    Autograd records each operation, then goes back through the record. Here the
    gradient is known. For B images X with one-hot labels Y, and the softmax P of the
    logits, it is (P - Y).T @ X / B.
    """
    logits = x @ weight.T + bias
    error = (logits.softmax(1) - EYE.index_select(0, y)) / len(y)  # (B, 10)
    weight -= lr * (error.T @ x)
    bias -= lr * error.sum(0)
    return logits


def step_in_place(lr, weight, bias, x, y):
    """Take a step with fewer calls (rung 7).

    Each call has some overhead, and its result needs a new tensor. ``addmm`` multiplies
    and adds in one call. A method whose name ends in ``_`` overwrites its own tensor.
    """
    logits = torch.addmm(bias, x, weight.T)
    error = logits.softmax(1).sub_(EYE.index_select(0, y))
    weight.addmm_(error.T, x, alpha=-lr / len(y))
    bias.sub_(error.sum(0), alpha=lr / len(y))
    return logits


def steps(scale, lr, weight, bias, x, indices, targets, batch_size):
    """Take a step for each batch of ``x[indices]``; return the logits, (10, B) each.

    Rung 8: transposed logits. So far the logits were of shape (B, 10). As W X.T + b
    they are ten rows as long as the batch, and both the product and the softmax are
    faster. ``targets`` (one-hot) and the metrics are transposed too, for many steps at
    once.

    Rung 9: pixels as bytes. A batch reads its images from all over the memory, and as
    bytes they are a quarter as large. ``float()`` converts one batch at a time, and the
    division by 255 becomes a factor of the products, ``scale`` (1 in rung 8).
    """
    logits = []
    pairs = zip(indices.split(batch_size), targets.split(batch_size, 1), strict=True)
    for batch, target in pairs:
        images = x.index_select(0, batch).float()  # (B, 784)
        logits.append(torch.addmm(bias, weight, images.T, alpha=scale))  # (10, B)
        error = logits[-1].softmax(0).sub_(target)
        weight.addmm_(error, images, alpha=-lr / len(batch) * scale)
        bias.sub_(error.sum(1, keepdim=True), alpha=lr / len(batch))
    return logits


def sixteen_steps(*arguments):
    """Take `steps` in one call (rung 10); return their logits, put together.

    ``torch.compile`` makes one function in C++ of all that is called here: no Python
    between the steps, and fewer passes over the memory.
    """
    return [torch.cat(steps(*arguments), 1)]


@cache
def compile_steps():
    """Return `sixteen_steps`, compiled at the first call: importing takes seconds."""
    return torch.compile(sixteen_steps, dynamic=False)


@torch.no_grad()
def by_columns(scale, lr, model, x, y, batch_size, compiled=False):
    """Train one epoch; return loss and accuracy."""
    weight, bias = model.weight, model.bias[:, None]  # (10, 784), (10, 1)
    order = torch.cat(batches(len(x), batch_size))
    y, logits = y[order], []
    size = 16 * batch_size if compiled else len(x)
    targets = EYE.index_select(1, y).split(size, 1)
    for indices, target in zip(order.split(size), targets, strict=True):
        take = compile_steps() if compiled and len(indices) == size else steps
        logits += take(scale, lr, weight, bias, x, indices, target, batch_size)
    return column_metrics(torch.cat(logits, 1), y)


def column_metrics(logits, y):
    """Return loss and accuracy, given logits of shape (10, n)."""
    correct = logits.gather(0, y[None]) == logits.amax(0)  # argmax(0) takes longer
    return cross_entropy(logits[None], y[None]).item(), correct.sum().item() / len(y)


def to_bytes(x):
    """Return the pixels, 0 to 1, as bytes."""
    return x.mul(255).round().byte()


def make_rungs(lesson):
    """Return ``{name: function(model)}``, given the variables of the lesson.

    Each function trains one epoch, and returns loss and accuracy in training and test.
    """
    lr, batch_size = lesson["args"].lr, lesson["args"].batch_size
    images, pixels = lesson["train_x"], to_bytes(lesson["train_x"])
    y, test_x, test_y = (lesson[name] for name in ("train_y", "test_x", "test_y"))

    def rows(step):
        def epoch(model):
            train = by_steps(step, lr, model, images, y, batch_size)
            return *train, *evaluate(model, test_x, test_y, lesson["loss_fn"])

        return epoch

    def columns(scale, x, compiled=False):
        @torch.no_grad()
        def epoch(model):
            train = by_columns(scale, lr, model, x, y, batch_size, compiled)
            logits = torch.addmm(model.bias[:, None], model.weight, test_x.T)
            return *train, *column_metrics(logits, test_y)

        return epoch

    rungs = lesson["loops"] | {
        "no optimizer": rows(step_by_autograd),
        "gradient by hand": rows(step_by_hand),
        "fewer calls": rows(step_in_place),
        "transposed logits": columns(1, images),
        BYTES: columns(1 / 255, pixels),
    }
    if COMPILER:
        rungs[COMPILED] = columns(1 / 255, pixels, compiled=True)
    else:
        print(f"left out: {COMPILED} (no C++ compiler)", file=sys.stderr)
    return rungs


def main():
    args = parser(__doc__, repetitions=9).parse_args()
    machine = environment()
    lesson = run_lesson(args.sample)
    rungs = make_rungs(lesson)
    models = {name: copy.deepcopy(lesson["model"]) for name in rungs}
    times = {name: [] for name in [*rungs, "floor"]}
    losses, clock = {}, partial(timed, clock=time.process_time)
    for _ in range(1 + args.repetitions):
        state = torch.get_rng_state()
        for name, rung in rungs.items():
            torch.set_rng_state(state)
            seconds, (losses[name], *_) = clock(rung, models[name])
            times[name].append(seconds)
        times["floor"].append(clock(lesson["floor"])[0])

    print(f"{machine}; medians of {args.repetitions} epochs\n")
    print("| rung | seconds | times faster | times the floor | loss | weights apart |")
    print("|---|---|---|---|---|---|")
    median = {name: statistics.median(values[1:]) for name, values in times.items()}
    expected = models["image by image"].weight
    for name, seconds in median.items():
        faster = median["image by image"] / seconds
        print(f"| {name} | {seconds:.3f} | {faster:.1f} ", end="")
        print(f"| {seconds / median['floor']:.2f} ", end="")
        if name in models:
            apart = (models[name].weight - expected).abs().max() / expected.abs().max()
            print(f"| {losses[name]:.4f} | {apart:.0e} |")
        else:
            print("| | |")


if __name__ == "__main__":
    main()
