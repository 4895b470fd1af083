"""
Where the time of an epoch goes
===============================

Training is slow. What do you do? First measure: the slow part may not be the one that
you expect. Then make one change at a time, and check that the model still learns the
same. Here a simple loop over Fashion-MNIST becomes some ten times as fast. Afterwards
you can find the slow part of your own loop, and check what a faster one learns.
"""

# %%
# Setup
# -----
# Each lesson uses one *thread*, that is, one core of the processor, unless you set the
# environment variable ``OMP_NUM_THREADS``.

import copy
import time

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision.transforms import ToTensor

from cli import parse_args
from common import batches, evaluate, pick_device, save_figure, train_epoch
from lesson_data import load_fashion_mnist

options = {"epochs": 5, "lr": 1e-3, "batch_size": 64, "seed": 0, "device": "cpu"}
args = parse_args(__doc__, **options, sample=False)
device = pick_device(args.device)

# %%
# Data
# ----
# torchvision's ``FashionMNIST`` keeps images as bytes, from 0 to 255. Each time you ask
# for one, it makes a PIL image, and a tensor of that. So does this ``Dataset``.

train_x, train_y, test_x, test_y = load_fashion_mnist(args.sample, device)


class ImageDataset(Dataset):
    def __init__(self, x, y):
        self.pixels = (255 * x).round().byte().reshape(-1, 28, 28).cpu()
        self.labels = y.tolist()

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = Image.fromarray(self.pixels[index].numpy())
        return ToTensor()(image), self.labels[index]


images = ImageDataset(train_x[:4000], train_y[:4000])
print(f"{len(train_x)} images, each {tuple(images[0][0].shape)}")

# %%
# Measure first
# -------------
# ``time.perf_counter()`` is a clock, in seconds. Read it after each part of a step. (On
# a GPU a call may return before its work is done: there take ``torch.profiler``.)
#
# .. guess::
#
#    A step has four parts: fetch the images, forward pass, backward pass, update. Which
#    share of the time does fetching take?

model = nn.Linear(784, 10).to(device)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
times = [time.perf_counter()]
for x, y in DataLoader(images, args.batch_size):
    x, y = x.reshape(-1, 784).to(device), y.to(device)
    times.append(time.perf_counter())
    loss = loss_fn(model(x), y)
    times.append(time.perf_counter())
    optimizer.zero_grad()
    loss.backward()
    times.append(time.perf_counter())
    optimizer.step()
    times.append(time.perf_counter())
seconds = np.diff(times).reshape(-1, 4).sum(axis=0)  # from a row for each step
for part, share in zip(["fetch", "forward", "backward", "update"], seconds):
    print(f"{part:9}{share / seconds.sum():4.0%}")

# %%
# The loop
# --------
# Most of the time goes into fetching. So look at the data first. An epoch here is a
# pass over the training images, with a step for each batch, and a pass over the test
# images. Loss and accuracy are added up batch by batch.


def simple_epoch(train, test, model):
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    metrics = []
    for loader in (train, test):
        loss_sum = correct = count = 0
        with torch.set_grad_enabled(loader is train):  # else as under no_grad
            for x, y in loader:
                x, y = x.reshape(-1, 784).to(device), y.to(device)
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


def with_loaders(model, train, test, **options):
    lists = [part.tolist() for part in batches(len(train), args.batch_size)]
    train = DataLoader(train, batch_sampler=lists, **options)
    return simple_epoch(train, DataLoader(test, args.batch_size, **options), model)


# %%
# Four changes
# ------------
# 1. *Images as tensors.* Make the tensors once, not in each epoch again: replace
#    ``ImageDataset`` by PyTorch's ``TensorDataset``.
# 2. *A batch in one call.* For a batch a ``DataLoader`` calls ``dataset[i]`` 64 times,
#    and then its ``collate_fn`` stacks the 64 images. A dataset can also have a method
#    ``__getitems__``: it gets the 64 numbers at once, and here it returns the whole
#    batch, two tensors. Then nothing is left to stack: ``collate_fn=tuple``.
# 3. *No DataLoader.* Cut the tensors into batches yourself.
# 4. *Metrics at the end.* `common.train_epoch` keeps the logits of all batches, and
#    computes loss and accuracy once.
#
# How fast can it be at best? Each step needs two matrix products: one for the logits,
# one for the gradient. The *floor* is the time of these two alone.


def select(x, y, indices):  # the same as x[indices], y[indices], but faster
    indices = indices.to(x.device)
    return x.index_select(0, indices), y.index_select(0, indices)


class BatchDataset(TensorDataset):
    def __getitems__(self, indices):  # a list of 64 numbers
        x, y = self.tensors
        return select(x, y, torch.tensor(indices))


def without_loader(model):
    parts = batches(len(train_x), args.batch_size)
    train = (select(train_x, train_y, indices) for indices in parts)
    test = zip(test_x.split(args.batch_size), test_y.split(args.batch_size))
    return simple_epoch(train, test, model)


def metrics_at_the_end(model):
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    parts = batches(len(train_x), args.batch_size)
    train = train_epoch(model, train_x, train_y, loss_fn, optimizer, parts)
    return *train, *evaluate(model, test_x, test_y, loss_fn)


@torch.no_grad()
def floor():
    for x in train_x.split(args.batch_size):
        logits = x @ model.weight.T
        gradient = logits.T @ x
    gradient.sum().item()  # waits for a GPU


pil = ImageDataset(train_x, train_y), ImageDataset(test_x, test_y)
tensor = TensorDataset(train_x, train_y), TensorDataset(test_x, test_y)
batch = BatchDataset(train_x, train_y), BatchDataset(test_x, test_y)
loops = {
    "image by image": lambda model: with_loaders(model, *pil),
    "images as tensors": lambda model: with_loaders(model, *tensor),
    "a batch in one call": lambda model: with_loaders(model, *batch, collate_fn=tuple),
    "no DataLoader": without_loader,
    "metrics at the end": metrics_at_the_end,
}

# %%
# Training
# --------
# Each loop trains its own copy of the model, on the same batches. In each epoch all run
# one after the other: if the machine has other work for a while, all are slower.

torch.manual_seed(args.seed)
model = nn.Linear(784, 10).to(device)
models = {name: copy.deepcopy(model) for name in loops}
metrics, times = {}, {name: [] for name in [*loops, "floor"]}
for _ in range(args.epochs):
    state = torch.get_rng_state()
    for name, loop in loops.items():
        torch.set_rng_state(state)  # the same random batches for each loop
        start = time.perf_counter()
        metrics[name] = loop(models[name])
        times[name].append(time.perf_counter() - start)
    start = time.perf_counter()
    floor()
    times["floor"].append(time.perf_counter() - start)

# %%
# Result
# ------
# Is it still the same training? The loss alone does not tell. So compare the weights,
# too: their largest difference from the first loop, relative to the largest weight.

expected = models["image by image"].weight
for name, trained in models.items():
    apart = (trained.weight - expected).abs().max() / expected.abs().max()
    print(f"{name:20} train loss {metrics[name][0]:.6f}, weights {apart:.1e} apart")

# %%
# At most the rounding differs. Now the times, each a median over the epochs.
#
# .. guess::
#
#    Which of the four changes helps most?

median = {name: np.median(seconds) for name, seconds in times.items()}
for name, seconds in median.items():
    faster = median["image by image"] / seconds
    print(f"{name:20} {seconds:6.3f} s, {faster:5.1f} times as fast")
fig, ax = plt.subplots(figsize=(9, 5))
ax.bar_label(ax.barh(list(median), median.values()), fmt="{:.3f}", padding=5)
ax.margins(x=0.1)  # room for the numbers
ax.set(xlabel="seconds for an epoch, median of all epochs")
ax.invert_yaxis()
save_figure(fig, args.output / "faster_training.png")

# %%
# Other means
# -----------
# ``benchmarks/README.md`` has measurements of other means, from November 2026 on an AMD
# EPYC. A second thread took 12 % off the time of the last loop. ``torch.compile`` makes
# one function of many calls. For single steps of this loop it took 1.4 times as long.
# *Mixed precision* (``torch.autocast``) multiplies matrices with 16 bits. Model and
# loss took 1.5 times as long with it: the matrices are small here.

# %%
# In short
# --------
# - Measure first: read a clock between the parts of a step.
# - Do the same work once, not in each epoch, and in one call, not in 64.
# - A faster loop must end at the same weights. The same loss is not enough.
#
# Next: several processes, which share the work of a step.

# %%
# Try it
# ------
# 1. *Predict.* Take batches of 512. Does the loop with no DataLoader gain more on the
#    first loop than with 64, or less? Write it down, then run
#    ``python examples/faster_training.py --batch-size 512``. The training loss is
#    higher now: why?
# 2. *Change.* In ``without_loader`` replace
#    ``batches(len(train_x), args.batch_size)`` by
#    ``torch.arange(len(train_x)).split(args.batch_size)``, and run with ``--sample``.
#    Nothing is shuffled any more. Is this a faster form of the same training?
# 3. *Write.* Which part of a step is the slowest in the last loop? Under *Measure
#    first*, take the batches from ``train_x`` and ``train_y`` by ``index_select``.

# %%
# Answers
# -------
# 1. More. Much of its time is a fixed cost of each step, and an epoch has
#    an eighth of the steps. The cost of the first loop is one of each image, and there
#    are as many as before. The loss is higher: fewer steps at the same learning rate.
# 2. No. The loss is nearly the same, but the weights are more than 0.01 apart: each
#    step has other images.
# 3. Replace ``for x, y in DataLoader(images, args.batch_size):`` by the lines below.
#    ``benchmarks/README.md`` has a median of 26 microseconds for a new batch, and of 75
#    for ``backward``, the slowest part::
#
#        for i in batches(4000, args.batch_size):
#            x, y = train_x.index_select(0, i), train_y.index_select(0, i)
