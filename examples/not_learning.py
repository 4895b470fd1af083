"""
A network that does not learn
=============================

The loss does not fall, or the accuracy stays at 0.1, and there is no error. Why? Before
you try another learning rate, check what must hold. Each check has an answer that you
know before. Here are seven checks, and seven mistakes that people really made.
Afterwards you can find the cause, and say why a falling loss is no proof.
"""

# %%
# Setup
# -----

import math

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.optim import SGD

from cli import parse_args
from common import batches, compare, save_figure
from lesson_data import CLASSES, SAMPLE_FOLDER, load_fashion_mnist

args = parse_args(__doc__, epochs=40, lr=0.1, hidden=64, seed=0)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# 500 images of Fashion-MNIST to train on, and 1000 *new images*, which no model is
# trained on. Look at some with their labels: it is the check before all others.

sample = SAMPLE_FOLDER.exists()  # if not, all images are downloaded
images, labels, *_ = load_fashion_mnist(sample, "cpu")
train_x, train_y = images[:500], labels[:500]
new_x, new_y = images[1000:2000], labels[1000:2000]
fig, axes = plt.subplots(2, 5, figsize=(10, 4.6))
for image, label, ax in zip(train_x, train_y, axes.flat):
    ax.imshow(image.reshape(28, 28).numpy(), cmap="gray")
    ax.set_title(CLASSES[label])
    ax.axis("off")
save_figure(fig, args.output / "not_learning_data.png")

# %%
# A healthy training
# ------------------
# It has three parts, each a function: a start, a step, and a measure. Each mistake below
# will replace one of them.

loss_fn = nn.CrossEntropyLoss()


def start():
    layers = [nn.Linear(784, args.hidden), nn.ReLU(), nn.Linear(args.hidden, 10)]
    model = nn.Sequential(*layers)
    return model, SGD(model.parameters(), lr=args.lr)


def step(model, optimizer, x, y):
    loss = loss_fn(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def accuracy(logits, y):
    return (logits.argmax(dim=1) == y).sum().item() / len(y)


# %%
# Seven checks
# ------------
# - ``count``: two linear layers have 784 h + h + h 10 + 10 parameters.
# - ``first``: the first loss is near log 10 = 2.303, that of ten equal probabilities.
# - ``gradient``: after a step, each parameter has a gradient, and not all of it is 0.
# - ``step``: the step has moved each parameter by -lr times its gradient.
# - ``ten``: ten images can be learned by heart, so that their loss is nearly 0.
# - ``new``: on new images the accuracy is far above that of guessing, 0.1.
# - ``perfect``: the accuracy of perfect predictions is 1. Here they are 10 times 100.

table, losses = {}, {}


def examine(name, start=start, step=step, accuracy=accuracy, x=train_x):
    torch.manual_seed(args.seed)
    model, optimizer = start()
    parameters = list(model.parameters())
    before = [p.detach().clone() for p in parameters]
    first = step(model, optimizer, x[:50], train_y[:50])
    arrived = [p.grad is not None and p.grad.any().item() for p in parameters]
    moved = [
        p.grad is not None and torch.allclose(p, old - args.lr * p.grad)
        for p, old in zip(parameters, before)
    ]
    model, optimizer = start()
    for _ in range(200):
        ten = step(model, optimizer, x[:10], train_y[:10])

    model, optimizer = start()
    losses[name] = []
    for _ in range(args.epochs):
        for rows in batches(len(x), 50):
            step(model, optimizer, x[rows], train_y[rows])
        with torch.no_grad():
            losses[name].append(loss_fn(model(x), train_y).item())
    with torch.no_grad():
        new = accuracy(model(new_x), new_y)
    y = torch.arange(10).repeat(100)
    perfect = accuracy(nn.functional.one_hot(y), y)

    count = sum(p.numel() for p in parameters)
    table[name] = {
        "count": count == 784 * args.hidden + args.hidden + args.hidden * 10 + 10,
        "first": abs(first - math.log(10)) < 0.3,
        "gradient": all(arrived),
        "step": all(moved),
        "ten": ten < 0.1,
        "new": new > 0.3,
        "perfect": perfect == 1,
    }
    print(f"{name}: count {count}, first {first:.3f}, gradient {arrived}, step {moved}")
    print(f"    ten {ten:.4f}, new {new:.3f}, perfect {perfect}")
    print("    trips:", ", ".join(c for c in table[name] if not table[name][c]) or "none")


examine("healthy")

# %%
# Mistakes in model and optimizer
# -------------------------------
# First: in a notebook, the cell with the model was run again, but not the one with the
# optimizer. It still holds the parameters of the old model, so the weights of the new
# one do not change.


def other_model():
    model, optimizer = start()
    model, _ = start()  # run again
    return model, optimizer


examine("other model", start=other_model)
model, optimizer = other_model()
print(model[0].weight is optimizer.param_groups[0]["params"][0])

# %%
# Second: a softmax in the model. ``CrossEntropyLoss`` takes another one, of numbers
# from 0 to 1. So even a model that is certain and right has the loss log(1 + 9 / e).
#
# .. guess::
#
#    Does the loss still fall? Which check trips?


def softmax():
    model, optimizer = start()
    return model.append(nn.Softmax(dim=1)), optimizer


examine("softmax", start=softmax)
print(f"lowest possible loss {math.log(1 + 9 / math.e):.4f}")

# %%
# Third: layers in a Python list. A module finds the parameters of its attributes, but
# does not look into lists: use ``nn.ModuleList`` or ``nn.Sequential``. With all layers
# in the list, the error is ``optimizer got an empty parameter list``. (So it is if
# ``__init__`` is misspelt, such as ``_init_``.)


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(784, args.hidden), nn.ReLU()]
        self.last = nn.Linear(args.hidden, 10)

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.last(x)


def listed():
    model = Listed()
    return model, SGD(model.parameters(), lr=args.lr)


examine("list", start=listed)

# %%
# Mistakes in the step
# --------------------
# PyTorch keeps a record of the operations on parameters, the *graph*. ``backward()``
# follows it back. ``detach()``, ``no_grad()`` and a new ``torch.tensor(...)`` return
# numbers without it. The error is then this one:

logits = start()[0](train_x)
try:
    loss_fn(logits.detach(), train_y).backward()
except RuntimeError as error:
    print(error)

# %%
# Fourth: a cure often passed on is ``loss.requires_grad_()``. The error is gone, but the
# loss is the start of a new graph, which no parameter is part of.


def silenced(model, optimizer, x, y):
    loss = loss_fn(model(x).detach(), y)
    loss.requires_grad_()  # instead of removing detach()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


examine("silenced", step=silenced)

# %%
# Fifth: ``zero_grad()`` between ``backward()`` and ``step()`` deletes what the step
# needs.


def zeroed(model, optimizer, x, y):
    loss = loss_fn(model(x), y)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


examine("zeroed", step=zeroed)

# %%
# Mistakes in data and measure
# ----------------------------
# Sixth: the images are shuffled, but not their labels. Then the label of an image says
# nothing about it.

examine("shuffled", x=train_x[torch.randperm(len(train_x))])

# %%
# Seventh: with ``keepdim=True``, predictions have the shape (n, 1), labels (n,). ``==``
# compares each of n predictions with each of n labels (linear regression 2).


def broadcast(logits, y):
    return (logits.argmax(dim=1, keepdim=True) == y).sum().item() / len(y)


examine("broadcast", accuracy=broadcast)

# %%
# Perfect predictions 10 times 100: each of the 1000 equals 100 labels, so this
# "accuracy" is 100. Other code divides by n again (``.mean()``) and gets 0.1, as by guessing. An
# accuracy of 0: the largest logit was compared instead of its index.

