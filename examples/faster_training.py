r"""
Faster training: where the time of an epoch goes
================================================

Most of the time that the published Fashion-MNIST loop takes goes into other things than
computing. This lesson takes its epoch, the same steps with the same result, and makes
it faster, rung by rung. Each rung changes one thing; at the end all are timed together.

How far can that go? For a batch :math:`X` of :math:`B` pictures, with *one-hot* labels
:math:`Y` (a row for each picture, 1 at its class, 0 elsewhere), a step needs at least
two products, one for the logits and one for the gradient:

.. math:: O = X W^\top + b, \qquad P = \operatorname{softmax}(O), \qquad
          \frac{\partial L}{\partial W} = \frac{1}{B} (P - Y)^\top X.

The time of two such products for each batch, and of nothing else, is the *floor*.
"""

# %%
# Setup
# -----
# ``--epochs`` says how often everything is timed. All of it runs on one thread, as in
# all lessons: `parse_args` sees to that. How many PyTorch would take is noted first, for
# the section that tells why.

import copy
import statistics
import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset, default_collate
from torchvision.transforms import ToTensor

from lesson_data import load_fashion_mnist

default_threads = torch.get_num_threads()
from cli import parse_args
from common import (
    evaluate,
    loss_and_accuracy,
    require_finite,
    save_figure,
    shuffled_batches,
    train_epoch,
)

args = parse_args(__doc__, epochs=5, lr=1e-3, batch_size=64, sample=False)

# %%
# Data, model, loss
# -----------------
# As in logistic regression, case 3.

train_x, train_y, test_x, test_y = load_fashion_mnist(args.sample, args.device)
print(f"train: {tuple(train_x.shape)}, test: {tuple(test_x.shape)}, {train_x.device}")
model = nn.Linear(784, 10).to(args.device)
loss_fn = nn.CrossEntropyLoss()

# %%
# The published loop
# ------------------
# A pass over the training pictures, with a step for each batch, and a pass over the
# test pictures, without. Loss and accuracy are added up on the way.


def one_pass(model, batches, optimizer=None):
    """Return the mean loss and the accuracy; train if there is an optimizer."""
    loss_sum = correct = count = 0
    with torch.set_grad_enabled(optimizer is not None):
        for x, y in batches:
            x, y = x.to(args.device).reshape(-1, 784), y.to(args.device)
            logits = model(x)
            loss = loss_fn(logits, y)
            if optimizer:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            loss_sum += loss.item() * len(y)
            correct += (logits.argmax(1) == y).sum().item()
            count += len(y)
    return loss_sum / count, correct / count


def two_passes(train, test, model):
    """Train an epoch; return train loss and accuracy, test loss and accuracy."""
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    return *one_pass(model, train, optimizer), *one_pass(model, test)


# %%
# The batches come from a ``DataLoader`` over torchvision's ``FashionMNIST``. That keeps
# the pictures as bytes. Asked for one, it makes an image of it, and ``ToTensor`` makes
# a tensor of the image. This class does the same.


class Pictures(Dataset):
    def __init__(self, x, y):
        self.pixels = x.mul(255).round().byte().reshape(-1, 28, 28).cpu()
        self.labels = y.cpu()
        self.transform = ToTensor()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, row):
        image = Image.fromarray(self.pixels[row].numpy())
        return self.transform(image), int(self.labels[row])


def with_loaders(train, test, model):
    return two_passes(
        DataLoader(train, args.batch_size, shuffle=True),
        DataLoader(test, args.batch_size),
        model,
    )


rungs = {
    "published loop": partial(
        with_loaders, Pictures(train_x, train_y), Pictures(test_x, test_y)
    )
}

# %%
# Rung 1: pictures as tensors
# ---------------------------
# Image and ``ToTensor`` do the same work on each picture in each epoch. Do it once, and
# keep the tensors. The ``DataLoader`` now only fetches them one by one, and stacks
# them.

rungs["pictures as tensors"] = partial(
    with_loaders, TensorDataset(train_x, train_y), TensorDataset(test_x, test_y)
)

# %%
# Rung 2: a batch in one call
# ---------------------------
# All the pictures are one tensor, and ``index_select`` takes any of its rows at once.
# So the loader need only draw row numbers. (``x[rows]`` is the same, and slower.)


def select(x, y, rows):
    rows = torch.tensor(rows, device=x.device)
    return x.index_select(0, rows), y.index_select(0, rows)


def with_row_numbers(model):
    train, test = range(len(train_x)), range(len(test_x))
    pick, look = partial(select, train_x, train_y), partial(select, test_x, test_y)
    return two_passes(
        DataLoader(train, args.batch_size, shuffle=True, collate_fn=pick),
        DataLoader(test, args.batch_size, collate_fn=look),
        model,
    )


rungs["a batch in one call"] = with_row_numbers

# %%
# Rung 3: no DataLoader
# ---------------------
# It still handles row numbers one by one, in Python. A random order, cut into batches,
# is two calls: see `shuffled_batches`. The test pictures need no order at all.


def without_loader(model):
    batches = shuffled_batches(train_x, args.batch_size)
    return two_passes(
        ((train_x.index_select(0, r), train_y.index_select(0, r)) for r in batches),
        zip(test_x.split(args.batch_size), test_y.split(args.batch_size), strict=True),
        model,
    )


rungs["no DataLoader"] = without_loader

# %%
# Rung 4: scores at the end
# -------------------------
# Counting hits and ``item()`` are a few calls for each batch. `train_epoch` keeps the
# logits instead, and scores them all in the end; `evaluate` takes the test pictures in
# large batches. This is the loop of case 3, no harder to read than the published one.


def case_3(model, x, y, batch_size):
    batches = shuffled_batches(x, batch_size)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    return train_epoch(model, x, y, loss_fn, optimizer, batches)


def and_test(train, x, model):
    figures = train(model, x, train_y, args.batch_size)
    return *figures, *evaluate(model, test_x, test_y, loss_fn)


rungs["scores at the end (case 3)"] = partial(and_test, case_3, train_x)

# %%
# Rung 5: no optimizer
# --------------------
# ``zero_grad`` and ``step`` are made for any optimizer and any number of parameters,
# and pay for it at each call. Plain SGD on two parameters is a line. From here on a
# rung is a step, and the loop around it stays the same.


def by_rows(step, model, x, y, batch_size):
    weight, bias = model.parameters()
    batches = shuffled_batches(x, batch_size)
    with torch.no_grad():
        logits = [
            step(weight, bias, x.index_select(0, rows), y.index_select(0, rows))
            for rows in batches
        ]
    return loss_and_accuracy(torch.cat(logits), y[torch.cat(batches)], loss_fn)


def autograd_step(weight, bias, x, y):
    with torch.enable_grad():
        logits = nn.functional.linear(x, weight, bias)
        gradients = torch.autograd.grad(loss_fn(logits, y), (weight, bias))
    for parameter, gradient in zip((weight, bias), gradients, strict=True):
        parameter -= args.lr * gradient
    return logits.detach()


rungs["no optimizer"] = partial(and_test, partial(by_rows, autograd_step), train_x)

# %%
# Rung 6: the gradient by hand
# ----------------------------
# Autograd notes down each operation, and then goes back through its notes. For this
# model the outcome is known: the formula at the top. One-hot labels are rows of the
# identity matrix.

eye = torch.eye(10, device=args.device)


def gradient_by_hand(logits, x, y):
    error = (logits.softmax(1) - eye.index_select(0, y)) / len(y)  # (B, 10)
    return error.T @ x, error.sum(0)


def step_by_hand(weight, bias, x, y):
    logits = x @ weight.T + bias
    gradients = gradient_by_hand(logits, x, y)
    for parameter, gradient in zip((weight, bias), gradients, strict=True):
        parameter -= args.lr * gradient
    return logits


rungs["gradient by hand"] = partial(and_test, partial(by_rows, step_by_hand), train_x)

# %%
# Is the formula right? Autograd knows.

x, y = train_x[: args.batch_size], train_y[: args.batch_size]
logits = model(x)
by_autograd = torch.autograd.grad(loss_fn(logits, y), model.parameters())
by_hand = gradient_by_hand(logits.detach(), x, y)
for name, theirs, ours in zip(("weight", "bias"), by_autograd, by_hand, strict=True):
    largest, apart = theirs.abs().max(), (ours - theirs).abs().max()
    print(f"gradient of the {name}: up to {largest:.4f}, at most {apart:.1e} apart")

# %%
# Rung 7: fewer calls
# -------------------
# Each call takes time before it computes anything, and more if it makes a new tensor.
# ``addmm`` multiplies and adds in one call. A name that ends with ``_`` means: write
# the result where the operand was.


def step_in_place(weight, bias, x, y):
    logits = torch.addmm(bias, x, weight.T)
    error = logits.softmax(1).sub_(eye.index_select(0, y))
    weight.addmm_(error.T, x, alpha=-args.lr / len(y))
    bias.sub_(error.sum(0), alpha=args.lr / len(y))
    return logits


rungs["fewer calls"] = partial(and_test, partial(by_rows, step_in_place), train_x)

# %%
# Rung 8: long rows
# -----------------
# So far the logits of a picture were a row of ten. Turned round, :math:`O^\top = W
# X^\top + b` has ten rows, as long as the batch. The softmax then works on many
# pictures side by side, where ten numbers were too short a row for the processor, and
# the product is faster too: both are timed below. One-hot labels and scores are turned
# round as well, for the whole epoch at once.


@torch.no_grad()
def by_columns(scale, model, x, y, batch_size):
    weight, bias = model.weight, model.bias[:, None]  # (10, 784), (10, 1)
    batches = shuffled_batches(x, batch_size)
    y = y[torch.cat(batches)]
    targets = eye.index_select(1, y).split(batch_size, dim=1)  # (10, B) each
    logits = []
    for rows, target in zip(batches, targets, strict=True):
        pictures = x.index_select(0, rows).float()  # (B, 784)
        logits.append(torch.addmm(bias, weight, pictures.T, alpha=scale))
        error = logits[-1].softmax(0).sub_(target)
        weight.addmm_(error, pictures, alpha=-args.lr / len(rows) * scale)
        bias.sub_(error.sum(1, keepdim=True), alpha=args.lr / len(rows))
    return score_columns(torch.cat(logits, 1), y)


def score_columns(logits, y):
    hits = logits.gather(0, y[None]) == logits.amax(0)  # argmax(0) is slow
    return loss_fn(logits[None], y[None]).item(), hits.sum().item() / len(y)


@torch.no_grad()
def and_test_columns(scale, x, model):
    figures = by_columns(scale, model, x, train_y, args.batch_size)
    logits = torch.addmm(model.bias[:, None], model.weight, test_x.T)
    return *figures, *score_columns(logits, test_y)


rungs["long rows"] = partial(and_test_columns, 1, train_x)

# %%
# Rung 9: pixels as bytes
# -----------------------
# After the products, the largest part that is left is fetching the pictures: in random
# order, and too many for the processor's cache. As the bytes that they once were, they
# take a quarter of the memory, and ``float()`` then finds its batch in the cache. The
# division by 255 becomes ``scale``, a factor of the products.

train_bytes = train_x.mul(255).round().byte()
print(
    f"pictures: {train_x.nbytes / 1e6:.1f} MB, as bytes {train_bytes.nbytes / 1e6:.1f}"
)

rungs["pixels as bytes"] = partial(and_test_columns, 1 / 255, train_bytes)

# %%
# The floor
# ---------
# The two products as ``nn.Linear`` and autograd write them, for batches that lie ready,
# one after the other. No random order, no softmax, no update, no test. It is a
# yardstick and no bound: rung 8 writes one of the products in a faster way.


@torch.no_grad()
def floor():
    weight = model.weight
    for x in train_x.split(args.batch_size):
        logits = x @ weight.T
        logits.T @ x


# %%
# Timing
# ------
# Each rung trains a model of its own. All start from the same weights, and draw the
# same random numbers in each epoch, so they must end with the same weights. They take
# turns: a machine is now faster and now slower, and that should hit all of them alike.


def wait():
    if args.device.type != "cpu":
        torch.accelerator.synchronize()  # a call there returns before its work is done


def timed(function, *arguments):
    """Call the function; return its result and the seconds that it took."""
    wait()
    start = time.perf_counter()
    result = function(*arguments)
    wait()
    return result, time.perf_counter() - start


models = {name: copy.deepcopy(model) for name in rungs}
history = {name: [] for name in rungs}
times = {name: [] for name in [*rungs, "floor"]}
for epoch in range(1, args.epochs + 1):
    state = torch.get_rng_state()
    for name, rung in rungs.items():
        torch.set_rng_state(state)
        figures, seconds = timed(rung, models[name])
        for loss in figures[::2]:  # in training, and in the test
            require_finite(loss, epoch, args.lr)
        history[name].append(figures)
        times[name].append(seconds)
    times["floor"].append(timed(floor)[1])
    train_loss, _, test_loss, accuracy = figures
    print(
        f"epoch {epoch:4d}  train loss {train_loss:.4f}  test loss {test_loss:.4f}  "
        f"accuracy {accuracy:.4f}"
    )

# %%
# The same result
# ---------------
# A faster loop that learns something else is not faster. Only the last digits may
# differ: a sum in another order is rounded in another way.

losses = np.array([history[name] for name in rungs])[:, :, ::2]  # rung, epoch, loss
apart = abs(losses / losses[0] - 1).max()
print(f"losses of all rungs: at most {apart:.1e} apart (relative)")

weights = torch.stack([model.weight.detach() for model in models.values()])
apart = (weights - weights[0]).abs().max()
print(
    f"weights of all rungs: up to {weights.abs().max():.2f}, at most {apart:.1e} apart"
)

# %%
# The time
# --------
# The median of the epochs, and the fastest. Whatever else runs on the machine adds to a
# time, and to some more than to others. So the ratios differ from run to run, more so
# on a busy machine, and the seconds of two runs should never be compared.

median = {name: statistics.median(values) for name, values in times.items()}
print(f"{'rung':27}{'seconds':>9}{'fastest':>9}{'x faster':>10}{'x floor':>9}")
for name, values in times.items():
    print(
        f"{name:27}{median[name]:9.3f}{min(values):9.3f}"
        f"{median['published loop'] / median[name]:10.1f}"
        f"{median[name] / median['floor']:9.2f}"
    )

# %%
# On a logarithmic scale equal lengths are equal factors. The bars start at the floor;
# the thin lines reach from the fastest epoch to the slowest.

ratios = np.array([times[name] for name in rungs]) / median["floor"]
middle, slowest = np.median(ratios, axis=1), ratios.max(axis=1)
spread = [middle - ratios.min(axis=1), slowest - middle]

fig, ax = plt.subplots(figsize=(9, 5))
ax.barh(list(rungs), middle - 1, left=1, xerr=spread, height=0.6, ecolor="0.3")
for row, (ratio, end) in enumerate(zip(middle, slowest, strict=True)):
    ax.text(1.05 * max(end, 1), row, f"{ratio:.1f}", va="center")
ax.set(xscale="log", xlabel="time of an epoch, in multiples of the floor")
ax.set_xlim(0.9 * min(1, ratios.min()), 1.5 * ratios.max())
ax.xaxis.set_major_formatter("{x:g}")
ax.invert_yaxis()
ax.grid(axis="y", visible=False)
save_figure(fig, args.output / "faster_training.png")

# %%
# Where it went
# -------------
# The parts of a step, the fastest of fifty tries. They all use the same batch, which is
# in the cache then; in an epoch it is not, and fetching it takes longer.

rows = shuffled_batches(train_x, args.batch_size)[0]
x, y = train_x.index_select(0, rows), train_y.index_select(0, rows)
images, tensors = Pictures(x, y), TensorDataset(x, y)
trained = copy.deepcopy(model)
optimizer = torch.optim.SGD(trained.parameters(), lr=args.lr)
logits = trained(x)
loss = loss_fn(logits, y)
loss.backward(retain_graph=True)
weight, short = trained.weight.detach(), logits.detach()
long = short.T.contiguous()

parts = {
    "Image, ToTensor, stack": lambda: default_collate(
        [images[i] for i in range(len(y))]
    ),
    "rows of a tensor, stack": lambda: default_collate(
        [tensors[i] for i in range(len(y))]
    ),
    "x[rows]": lambda: train_x[rows],
    "index_select": lambda: train_x.index_select(0, rows),
    "index_select, bytes": lambda: train_bytes.index_select(0, rows).float(),
    "hits and item()": lambda: (loss.item(), (short.argmax(1) == y).sum().item()),
    "model and loss": lambda: loss_fn(trained(x), y),
    "backward": lambda: loss.backward(retain_graph=True),
    "optimizer.step": optimizer.step,
    "x @ weight.T": lambda: x @ weight.T,
    "weight @ x.T": lambda: weight @ x.T,
    "softmax, short rows": lambda: short.softmax(1),
    "softmax, long rows": lambda: long.softmax(0),
}
for name, part in parts.items():
    fastest = min(timed(part)[1] for _ in range(50))
    print(f"{name:24}{1e6 * fastest:8.1f} microseconds")

# %%
# One thread
# ----------
# By itself PyTorch shares the work of a call among all processors. These calls are so
# short that sharing can take longer than the work; and a shared call is done when its
# slowest part is, so on a busy machine all wait for the processor that has other things
# to do. Here is the published loop, trained on the test pictures, with and without.

pictures = DataLoader(Pictures(test_x, test_y), args.batch_size)
learner = copy.deepcopy(model)
optimizer = torch.optim.SGD(learner.parameters(), lr=args.lr)
waits = {1: [], default_threads: []}
for _ in range(args.epochs):
    for threads in waits:
        torch.set_num_threads(threads)
        waits[threads].append(timed(one_pass, learner, pictures, optimizer)[1])
torch.set_num_threads(1)
for threads, values in waits.items():
    print(f"{statistics.median(values):6.3f} seconds, threads: {threads}")

# %%
# Growth
# ------
# How does the time grow with the number of pictures, and with the batch size? An epoch
# of :math:`n` pictures in batches of :math:`B` should take
#
# .. math:: t = n \left(c + \frac{s}{B}\right),
#
# a time :math:`c` for each picture, and a time :math:`s` for each step however large.
# Let us time two loops without the test pictures: the readable one, and the fastest.

trainers = {
    "case 3": (case_3, train_x),
    "pixels as bytes": (partial(by_columns, 1 / 255), train_bytes),
}
n = len(train_x)
counts = [n // 8, n // 4, n // 2, n]
sizes = [size for size in 2 ** np.arange(4, 13) if size <= n]
settings = [(count, args.batch_size) for count in counts]
settings += [(n, int(size)) for size in sizes]

grown, learned = {name: [] for name in trainers}, {}
for _ in range(args.epochs):
    for name, (train, x) in trainers.items():
        for count, size in settings:
            torch.manual_seed(args.seed)
            fresh = copy.deepcopy(model)
            (loss, _), seconds = timed(train, fresh, x[:count], train_y[:count], size)
            grown[name].append(seconds)
            learned[size] = loss

# %%
# Twice the pictures take twice the time. Twice the batch size halves the steps, and
# with them all that a step costs whatever its size: Python, calls, the optimizer. What
# each picture costs remains, fetching it and multiplying it twice; there the curves
# flatten. The fewer calls a loop makes, the sooner they do.
#
# The dashed curves are fitted to batch sizes up to 512. The largest may lie far above
# them: such a batch takes megabytes, which Linux gets back after each step and has to
# clear before it lends them again. (The environment variables
# ``MALLOC_TRIM_THRESHOLD_`` and ``MALLOC_MMAP_THRESHOLD_``, both at 1000000000, let
# Python keep the memory, and the times come down to the curve.)

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5))
for name, style in zip(trainers, ("C0o", "C1s"), strict=True):
    medians = np.median(np.reshape(grown[name], (args.epochs, -1)), axis=0)
    by_count, by_size = np.split(medians, [len(counts)])
    terms = np.stack([np.full(len(sizes), n), n / np.array(sizes)], axis=1)
    relative = (terms / by_size[:, None])[np.array(sizes) <= 512]  # each time becomes 1
    (c, s), *_ = np.linalg.lstsq(relative, np.ones(len(relative)), rcond=None)
    print(f"{name}: {1e6 * c:.2f} microseconds a picture, {1e6 * s:.1f} a step")
    left.plot(counts, by_count, style + "-", label=name)
    right.semilogx(sizes, by_size, style, label=name)
    right.semilogx(sizes, terms @ (c, s), style[:2] + "--")
left.set(xlabel="pictures", ylabel="time of an epoch (s)", xlim=0, ylim=0)
left.set_xticks(counts, ["1/8", "1/4", "1/2", "all"])
left.legend()
right.plot([], [], "k--", label="fitted")
right.set(xlabel="batch size", ylim=0)
right.set_xticks(sizes[::2], sizes[::2])
right.minorticks_off()
right.legend()
save_figure(fig, args.output / "faster_training_growth.png")

# %%
# Larger batches make an epoch faster, not the learning: at the same learning rate an
# epoch of fewer steps learns less. The ladder above left every step as it was.

for size in (sizes[0], sizes[-1]):
    print(f"batch size {size:4d}: train loss {learned[size]:.4f} in one epoch")
