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

# %%
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
# `common.evaluate` takes large batches.


def case_3(model, x, y, batch_size):
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    return train_epoch(model, x, y, loss_fn, optimizer, batches(len(x), batch_size))


def with_test(train, model):
    metrics = train(model, train_x, train_y, args.batch_size)
    return *metrics, *evaluate(model, test_x, test_y, loss_fn)


# %%
# The ladder and its floor
# ------------------------
# The floor is the two products as ``nn.Linear`` and autograd compute them, on slices
# of the data: no shuffling, no softmax, no update, no test. It is a yardstick, not a
# bound: ``benchmarks/ladder.py`` has a faster form of the first product.

rungs = {
    "published loop": with_loaders(ImageDataset),
    "images as tensors": with_loaders(TensorDataset),
    "a batch in one call": with_loaders(BatchDataset, collate_fn=tuple),  # no stacking
    "no DataLoader": without_loader,
    "metrics at the end (case 3)": partial(with_test, case_3),
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
# largest weight. By default it is below 1e-6: at most the rounding of sums differs.

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
# to the next is the change that helped most. ``benchmarks/ladder.py`` goes on from the
# last rung, without optimizer and autograd. ``benchmarks/README.md`` has its times and
# more: the parts of a step, the number of threads, and how the time depends on the
# number of images and the batch size.

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
# 2. In ``with_test`` replace ``*metrics`` with
#    ``*evaluate(model, train_x, train_y, loss_fn)``, and run with ``--sample``. The
#    loss of rung 4 is no longer that of the others, its weights still are. Why?
# 3. In ``without_loader`` replace ``batches(len(train_x), args.batch_size)`` with
#    ``torch.arange(len(train_x)).split(args.batch_size)``, and run with ``--sample``.
#    Nothing is shuffled now, yet the loss is nearly the same. Is this a faster form of
#    the same training?

# %%
# Answers
# -------
# 1. Above all rungs 2 and 3: most of their overhead is per step, and an epoch has an
#    eighth of the steps. That of the published loop is per image. The training loss
#    ends at 1.60 instead of 0.88: fewer steps, at the same learning rate.
# 2. It is now the loss of the model after the epoch. The other rungs report the loss on
#    the way: each image counts before the update with its own batch. The model improves
#    during the epoch, so their loss is higher.
# 3. No: the weights of rung 3 are more than 0.01 from those of the others, and rounding
#    is below 1e-6. It takes other steps, each with other images. The loss alone would
#    not show it, so the lesson compares the weights, too.
