r"""
Faster training: where the time of an epoch goes
================================================

Most of the time of the published Fashion-MNIST loop is overhead, not arithmetic. This
lesson speeds it up, one change at a time, without changing what a step computes. Each
version, a *rung* of the ladder, is a function that trains a model for one epoch. The
*floor* below them is the two matrix products that each step needs, and nothing else.
"""

# %%
# Setup
# -----
# As in all lessons, PyTorch uses one thread unless ``OMP_NUM_THREADS`` is set.

import copy
import time
from functools import partial

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms import ToTensor

from cli import parse_args
from common import (
    batches,
    evaluate,
    loss_and_accuracy,
    pick_device,
    require_finite,
    save_figure,
    train_epoch,
)
from lesson_data import load_fashion_mnist

options = {"epochs": 5, "lr": 1e-3, "batch_size": 64, "seed": 0, "device": "cpu"}
args = parse_args(__doc__, **options, sample=False)
args.device = pick_device(args.device)
torch.manual_seed(args.seed)

# %%
# Data, model and loss
# --------------------
# As in logistic regression, case 3.

train_x, train_y, test_x, test_y = load_fashion_mnist(args.sample, args.device)
model = nn.Linear(784, 10).to(args.device)
loss_fn = nn.CrossEntropyLoss()

# %%
# The published loop
# ------------------
# An epoch is a pass over the training images, with a step for each batch, and a pass
# over the test images. The batches come from a ``DataLoader`` over torchvision's
# ``FashionMNIST``, which stores bytes. For each image it makes a PIL image of them, and
# converts that with ``ToTensor``. ``ImageDataset`` does the same.


def published_epoch(train, test, model):
    """Train one epoch; return train loss and accuracy, test loss and accuracy."""
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    metrics = []
    for loader in (train, test):
        loss_sum = correct = count = 0
        with torch.set_grad_enabled(loader is train):
            for x, y in loader:
                x, y = x.to(args.device).reshape(-1, 784), y.to(args.device)
                logits = model(x)
                loss = loss_fn(logits, y)
                if loader is train:
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                loss_sum += loss.item() * len(y)
                correct += (logits.argmax(1) == y).sum().item()
                count += len(y)
        metrics += [loss_sum / count, correct / count]
    return metrics


class ImageDataset(Dataset):
    def __init__(self, x, y):
        self.pixels = x.mul(255).round().byte().reshape(-1, 28, 28).cpu()
        self.labels = y.cpu()
        self.transform = ToTensor()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = Image.fromarray(self.pixels[index].numpy())
        return self.transform(image), int(self.labels[index])


def with_loaders(dataset, **options):
    train, test = dataset(train_x, train_y), dataset(test_x, test_y)
    test = DataLoader(test, args.batch_size, **options)

    def epoch(model):
        lists = [part.tolist() for part in batches(len(train), args.batch_size)]
        loader = DataLoader(train, batch_sampler=lists, **options)
        return published_epoch(loader, test, model)

    return epoch


# %%
# Rung 1: images as tensors
# -------------------------
# PIL image and ``ToTensor`` repeat the same work for each image in each epoch. Do it
# once and keep the tensors: PyTorch's ``TensorDataset`` in place of ``ImageDataset``.
#
# Rung 2: a batch in one call
# ---------------------------
# The ``DataLoader`` takes images one by one and stacks them. But a dataset may have a
# method `__getitems__ <https://docs.pytorch.org/docs/stable/data.html>`__ for a batch,
# and ``index_select`` takes it in one call. (So does ``x[indices]``, but more slowly.)


def select(x, y, indices):
    indices = indices.to(x.device)
    return x.index_select(0, indices), y.index_select(0, indices)


class BatchDataset(TensorDataset):
    def __getitems__(self, indices):
        return select(*self.tensors, torch.tensor(indices, device=args.device))


# %%
# Rung 3: no DataLoader
# ---------------------
# The ``DataLoader`` handles each batch in Python. Without it, the loop takes the same
# batches, those of `common.batches`, directly.


def without_loader(model):
    parts = batches(len(train_x), args.batch_size)
    train = (select(train_x, train_y, indices) for indices in parts)
    test = test_x.split(args.batch_size), test_y.split(args.batch_size)
    return published_epoch(train, zip(*test), model)


# %%
# Rung 4: metrics at the end
# --------------------------
# Counting correct predictions and ``item()`` cost a few calls per batch.
# `common.train_epoch` keeps the logits and computes the metrics once per epoch, and
# `common.evaluate` takes large batches. So does logistic regression, case 3.


def case_3(model, x, y, batch_size):
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    return train_epoch(model, x, y, loss_fn, optimizer, batches(len(x), batch_size))


def with_test(train, model):
    metrics = train(model, train_x, train_y, args.batch_size)
    return *metrics, *evaluate(model, test_x, test_y, loss_fn)


# %%
# Rung 5: no optimizer
# --------------------
# ``torch.optim.SGD`` serves any number of parameters, with momentum, weight decay and
# more. Plain SGD is one line per parameter, and ``autograd.grad`` returns the gradients
# instead of storing them in the parameters. In rungs 5 to 7 only the step differs.


def by_steps(step, model, x, y, batch_size):
    weight, bias = model.parameters()
    parts = batches(len(x), batch_size)
    with torch.no_grad():
        logits = [step(weight, bias, *select(x, y, indices)) for indices in parts]
    return loss_and_accuracy(torch.cat(logits), y[torch.cat(parts)], loss_fn)


def step_by_autograd(weight, bias, x, y):
    with torch.enable_grad():
        logits = nn.functional.linear(x, weight, bias)
        gradients = torch.autograd.grad(loss_fn(logits, y), (weight, bias))
    weight -= args.lr * gradients[0]
    bias -= args.lr * gradients[1]
    return logits.detach()


# %%
# Rung 6: the gradient by hand
# ----------------------------
# Autograd records each operation, then goes back through the record. Here the gradient
# is known. For a batch :math:`X` of :math:`B` images with *one-hot* labels :math:`Y`,
# rows of ``eye``, and the softmax :math:`P` of the logits it is
#
# .. math:: \frac{\partial L}{\partial W} = \frac{1}{B} (P - Y)^\top X.

eye = torch.eye(10, device=args.device)


def step_by_hand(weight, bias, x, y):
    logits = x @ weight.T + bias
    error = (logits.softmax(1) - eye.index_select(0, y)) / len(y)  # (B, 10)
    weight -= args.lr * (error.T @ x)
    bias -= args.lr * error.sum(0)
    return logits


# %%
# Rung 7: fewer calls
# -------------------
# Each call has some overhead, and its result needs a new tensor. ``addmm`` multiplies
# and adds in one call. A method whose name ends in ``_`` overwrites its own tensor.


def step_in_place(weight, bias, x, y):
    logits = torch.addmm(bias, x, weight.T)
    error = logits.softmax(1).sub_(eye.index_select(0, y))
    weight.addmm_(error.T, x, alpha=-args.lr / len(y))
    bias.sub_(error.sum(0), alpha=args.lr / len(y))
    return logits


# %%
# Rung 8: transposed logits
# -------------------------
# So far the logits were of shape (B, 10). Transposed, :math:`O^\top = W X^\top + b`,
# they are ten rows as long as the batch, and both the product and the softmax are
# faster. One-hot labels and metrics are transposed too, for the whole epoch at once.
#
# Rung 9: pixels as bytes
# -----------------------
# A batch reads its images from all over the memory, and as bytes they are a quarter as
# large. ``float()`` converts one batch at a time. The division by 255 becomes a factor
# of the products, ``scale``, which is 1 in rung 8.


@torch.no_grad()
def by_columns(scale, model, x, y, batch_size):
    weight, bias = model.weight, model.bias[:, None]  # (10, 784), (10, 1)
    parts = batches(len(x), batch_size)
    y = y[torch.cat(parts)]
    targets = eye.index_select(1, y).split(batch_size, dim=1)  # (10, B) each
    logits = []
    for indices, target in zip(parts, targets):
        images = x.index_select(0, indices).float()  # (B, 784)
        logits.append(torch.addmm(bias, weight, images.T, alpha=scale))
        error = logits[-1].softmax(0).sub_(target)
        weight.addmm_(error, images, alpha=-args.lr / len(indices) * scale)
        bias.sub_(error.sum(1, keepdim=True), alpha=args.lr / len(indices))
    return column_metrics(torch.cat(logits, 1), y)


def column_metrics(logits, y):
    correct = logits.gather(0, y[None]) == logits.amax(0)  # argmax(0) takes longer
    return loss_fn(logits[None], y[None]).item(), correct.sum().item() / len(y)


@torch.no_grad()
def with_column_test(scale, x, model):
    metrics = by_columns(scale, model, x, train_y, args.batch_size)
    logits = torch.addmm(model.bias[:, None], model.weight, test_x.T)
    return *metrics, *column_metrics(logits, test_y)


train_bytes = train_x.mul(255).round().byte()

# %%
# The ladder and its floor
# ------------------------
# The floor is the two products as ``nn.Linear`` and autograd compute them, on slices
# of the data: no shuffling, no softmax, no update, no test. It is a yardstick, not a
# bound: rung 8 has a faster form of the first product.

rungs = {
    "published loop": with_loaders(ImageDataset),
    "images as tensors": with_loaders(TensorDataset),
    "a batch in one call": with_loaders(BatchDataset, collate_fn=tuple),  # no stacking
    "no DataLoader": without_loader,
    "metrics at the end (case 3)": partial(with_test, case_3),
    "no optimizer": partial(with_test, partial(by_steps, step_by_autograd)),
    "gradient by hand": partial(with_test, partial(by_steps, step_by_hand)),
    "fewer calls": partial(with_test, partial(by_steps, step_in_place)),
    "transposed logits": partial(with_column_test, 1, train_x),
    "pixels as bytes": partial(with_column_test, 1 / 255, train_bytes),
}


@torch.no_grad()
def floor():
    for x in train_x.split(args.batch_size):
        logits = x @ model.weight.T
        gradient = logits.T @ x
    gradient.sum().item()  # waits for a GPU, as the metrics of a rung do


# %%
# Training
# --------
# Each rung trains its own model, from the same start and with the images in the same
# order. They take turns, so that a slow spell of the machine does not hit one alone.

models = {name: copy.deepcopy(model) for name in rungs}
history = {name: [] for name in rungs}
times = {name: [] for name in [*rungs, "floor"]}
for epoch in range(1, args.epochs + 1):
    state = torch.get_rng_state()
    for name, rung in rungs.items():
        torch.set_rng_state(state)
        start = time.perf_counter()
        metrics = rung(models[name])
        times[name].append(time.perf_counter() - start)
        history[name].append(metrics)
        require_finite(metrics[0] + metrics[2], epoch, args.lr)  # both losses
    start = time.perf_counter()
    floor()
    times["floor"].append(time.perf_counter() - start)
    print(f"epoch {epoch:4d}  train loss {metrics[0]:.4f}  test loss {metrics[2]:.4f}")

# %%
# Result
# ------
# A faster loop that learns something else is not faster. So compare the last training
# loss and the weights: the largest difference from the published loop, relative to the
# largest weight. By default it is below 1e-6: only the rounding of sums differs.

expected = models["published loop"].weight
for name, trained in models.items():
    apart = (trained.weight - expected).abs().max() / expected.abs().max()
    print(f"{name:28}train loss {history[name][-1][0]:.6f}, weights {apart:.1e} apart")

# %%
# The times are medians over the epochs. Their ratios depend on the machine, and vary
# from run to run if it has other work.

median = {name: np.median(seconds) for name, seconds in times.items()}
faster = {name: median["published loop"] / median[name] for name in times}
print(f"{'rung':28}{'seconds':>8}{'x faster':>10}{'x floor':>9}")
for name, seconds in median.items():
    ratio = seconds / median["floor"]
    print(f"{name:28}{seconds:8.3f}{faster[name]:10.1f}{ratio:9.2f}")

# %%
# On a logarithmic scale equal distances are equal factors: the longest jump from a bar
# to the next is the change that helped most. ``benchmarks/README.md`` has more
# measurements: the parts of a step, the number of threads, and how the time depends on
# the number of images and the batch size.

fig, ax = plt.subplots(figsize=(9, 5))
bars = ax.barh(list(times), faster.values(), color=["C0"] * len(rungs) + ["C1"])
ax.bar_label(bars, fmt="{:.1f} x faster", padding=5)
ax.set(xscale="log", xlabel="speed, relative to the published loop")
ax.set_xlim(1, 3 * faster["floor"])
ax.xaxis.set_major_formatter("{x:g}")
ax.invert_yaxis()
ax.grid(axis="y", visible=False)
save_figure(fig, args.output / "faster_training.png")

# %%
# Try it
# ------
# 1. Run ``python examples/faster_training.py --batch-size 512``. Which rungs come much
#    closer to the floor, and why? What is the loss now?
# 2. Run ``python examples/faster_training.py --sample --lr 1``. The test loss jumps,
#    and rungs 6 to 9 no longer agree with the others. Is the gradient by hand wrong?
# 3. In ``step_in_place`` replace ``logits.softmax(1).sub_`` with
#    ``torch.softmax(logits, 1, out=logits).sub_``, and run with ``--sample``. That
#    saves a tensor. What is wrong?

# %%
# Answers
# -------
# 1. Above all rungs 2 and 3: most of their overhead is per step, and an epoch has an
#    eighth of the steps. That of the published loop is per image. The training loss
#    ends at 1.60 instead of 0.88: fewer steps, at the same learning rate. The weights
#    of rungs 7 to 9 may be about 1e-05 from those of the published loop. That is still
#    rounding: ``addmm_`` adds a large batch to the weights in several parts.
# 2. No: with ``--lr 0.1`` all rungs agree. At a rate of 1 the steps overshoot, and each
#    one magnifies what rounding has changed before.
# 3. The loss of "fewer calls", but not its weights: the logits are overwritten, and the
#    loss is computed from them at the end.
