"""
A network that does not learn
=============================

The loss does not fall, or the accuracy stays at 0.1, and there is no error. Why? Before
you try other learning rates, check what must hold. Here are seven checks, each with an
answer that you know before, and seven mistakes that people have made. Afterwards you
can find such a mistake, and say why a falling loss does not show that all is well.
"""

# %%
# Setup
# -----

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.optim import SGD

from cli import parse_args
from common import compare, save_figure
from lesson_data import CLASSES, SAMPLE_FOLDER, load_fashion_mnist

args = parse_args(__doc__, epochs=250, lr=0.07, hidden=64, seed=0)

# %%
# Data
# ----
# 500 images of Fashion-MNIST to train on, and 1000 new ones, on which no model is
# trained. First of all look at some: does each image belong to its label?

images, labels, *_ = load_fashion_mnist(SAMPLE_FOLDER.exists(), "cpu")
train_x, train_y = images[:500], labels[:500]
new_x, new_y = images[1000:2000], labels[1000:2000]
fig, axes = plt.subplots(1, 5, figsize=(10, 2.6))
for image, label, ax in zip(train_x, train_y, axes):
    ax.imshow(image.reshape(28, 28).numpy(), cmap="gray")
    ax.set_title(CLASSES[label])
    ax.axis("off")
save_figure(fig, args.output / "not_learning_data.png")

# %%
# A healthy training
# ------------------
# It has three parts. Each mistake below replaces one of them, or the images.

loss_fn = nn.CrossEntropyLoss()
hidden = args.hidden


def start():
    model = nn.Sequential(nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 10))
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
# - ``count``: two layers with h hidden units have 784 h + h + 10 h + 10 parameters.
# - ``first``: the first loss is near log 10 = 2.303, that of ten equal probabilities.
# - ``grad``: after a step, all four tensors of parameters have a gradient.
# - ``moved``: the step has moved all four by -lr times their gradient.
# - ``ten``: after 200 steps on the same ten images, their loss is nearly 0.
# - ``new``: the accuracy on new images is far above that of guessing, 0.1.
# - ``perfect``: the accuracy of perfect predictions, here 100 per class, is 1.

losses = {}


def examine(name, start=start, step=step, accuracy=accuracy, x=train_x):
    torch.manual_seed(args.seed)
    model, optimizer = start()
    count = sum(p.numel() for p in model.parameters())
    before = [p.detach().clone() for p in model.parameters()]
    first = step(model, optimizer, x, train_y)
    grad = moved = 0
    for p, old in zip(model.parameters(), before):
        if p.grad is not None and p.grad.any():
            grad += 1
            moved += torch.allclose(p, old - args.lr * p.grad)

    losses[name] = [first]
    for _ in range(args.epochs - 1):
        losses[name].append(step(model, optimizer, x, train_y))
    new = accuracy(model(new_x), new_y)

    model, optimizer = start()  # for ten images
    for _ in range(200):
        ten = step(model, optimizer, x[:10], train_y[:10])
    y = torch.arange(10).repeat(100)
    perfect = accuracy(nn.functional.one_hot(y), y)
    print(f"{name:11} count {count:5} first {first:.3f} grad {grad} ", end="")
    print(f"moved {moved} ten {ten:.3f} new {new:.3f} perfect {perfect:.1f}")


examine("healthy")

# %%
# Mistakes at the start
# ---------------------
# - ``other model``: in a notebook, the cell with the model was run again. The optimizer
#   still holds the parameters of the old model, so the weights do not change. Put both
#   into one cell.
# - ``softmax``: ``CrossEntropyLoss`` has its own softmax. Here its inputs are from 0 to
#   1: at best 1 for the right class, and nine times 0. So the loss cannot fall below
#   log(1 + 9 / e) = 1.461.
# - ``listed``: a module does not find layers in a list. Use ``nn.ModuleList``. (If it
#   finds none, or ``__init__`` is misspelt, the error is ``optimizer got an empty
#   parameter list``.)


def other_model():
    model, optimizer = start()
    model, _ = start()  # run again
    return model, optimizer


def softmax():
    model, optimizer = start()
    return model.append(nn.Softmax(dim=1)), optimizer


class Listed(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = [nn.Linear(784, hidden)]
        self.last = nn.Linear(hidden, 10)

    def forward(self, x):
        return self.last(self.layers[0](x).relu())


def listed():
    model = Listed()
    return model, SGD(model.parameters(), lr=args.lr)


# %%
# Mistakes in the step
# --------------------
# ``backward()`` needs the graph of the loss (see error messages). ``detach()``,
# ``no_grad()`` and ``torch.tensor(...)`` return numbers without it. Then ``backward()``
# stops with the error ``element 0 of tensors does not require grad and does not have a
# grad_fn``.
#
# - ``silenced``: many recommend ``loss.requires_grad_()``. The error is gone, but no
#   parameter is in the graph of this loss. Remove ``detach()`` instead.
# - ``zeroed``: ``zero_grad()`` after ``backward()`` deletes what ``step()`` needs.


def silenced(model, optimizer, x, y):
    loss = loss_fn(model(x).detach(), y)
    loss.requires_grad_()  # without it, an error
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


def zeroed(model, optimizer, x, y):
    loss = loss_fn(model(x), y)
    loss.backward()
    optimizer.zero_grad()
    optimizer.step()
    return loss.item()


# %%
# Mistakes in data and accuracy
# -----------------------------
# - ``shuffled``: the images are in a new order, their labels are not. Use one order for
#   both: ``x[order], y[order]``.
# - ``broadcast``: predictions are (n, 1), labels (n,). ``==`` compares each prediction
#   with each label (linear regression 2), so the sum is too large. With ``.mean()`` it
#   is near 0.1, as by guessing. (If it is 0, look for ``max(dim=1)[0]``: that is the
#   largest logit, ``[1]`` its index.)


def broadcast(logits, y):
    return (logits.argmax(dim=1, keepdim=True) == y).sum().item() / len(y)


# %%
# Result
# ------
# .. guess::
#
#    Choose one mistake. Which of its seven answers change, and does its loss fall?

examine("other model", start=other_model)
examine("softmax", start=softmax)
examine("listed", start=listed)
examine("silenced", step=silenced)
examine("zeroed", step=zeroed)
examine("shuffled", x=train_x[torch.randperm(len(train_x))])
examine("broadcast", accuracy=broadcast)
fig, ax = plt.subplots()
for name, style in zip(losses, 4 * ["-"] + 4 * ["--"]):
    ax.plot(losses[name], style, label=name)
    print(f"{name}: loss from {losses[name][0]:.3f} to {losses[name][-1]:.3f}")
ax.set(xlabel="epoch", ylabel="training loss")
ax.legend()
save_figure(fig, args.output / "not_learning.png")

# %%
# Each mistake changes an answer. With ``other model``, grad is 4, since ``backward()``
# works, but ``step()`` moves the old model. Where no parameter moves, the loss stays
# the same to the last digit. With the other four it falls, even with ``shuffled``: the
# network memorises wrong labels. So a falling loss does not show that all is well.
# (Two pairs have the same curve: ``silenced`` and ``zeroed``, ``healthy`` and
# ``broadcast``.)

# %%
# ``total += loss``
# -----------------
# One more mistake: the network learns, but memory grows in each step. A loss keeps its
# graph, as ``grad_fn``, so a sum of losses keeps all their graphs. ``loss.item()`` is
# only a number.

model, _ = start()
total, number = 0, 0
for _ in range(50):
    loss = loss_fn(model(train_x), train_y)
    total += loss
    number += loss.item()
print(total, number)

# %%
# In short
# --------
# - Check what must hold before you change the learning rate: the first loss, the
#   number of parameters, their gradients, a step, the loss on ten images.
# - A falling loss is not enough: look at the accuracy on new images, too.
# - Never silence an error with ``requires_grad_()``. Add up ``loss.item()``.
#
# Next: where the time of an epoch goes.

# %%
# Try it
# ------
# 1. *Predict.* How many weights and biases has the network with 100 hidden units,
#    and how many has ``listed``? Write it down, then run
#    ``python examples/not_learning.py --hidden 100``.
# 2. *Change.* Replace ``nn.Softmax`` by ``nn.LogSoftmax``. Which answers of ``softmax``
#    are still wrong, and why?
# 3. *Write.* Here is an eighth mistake. Which answer is wrong? Put a step without it in
#    place of ``yours = None``: ``def repaired(model, optimizer, x, y):`` and its lines.
#    End with ``examine("repaired", step=repaired)`` and ``yours = losses["repaired"]``.


def eighth(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = loss_fn(model(x), y) / len(y)
    loss.backward()
    optimizer.step()
    return loss.item()


examine("eighth", step=eighth)
yours = None
compare("losses of the repaired copy", yours, losses["healthy"])

# %%
# Answers
# -------
# 1. 79,510 and 1,010: ``listed`` has only the parameters of its last layer.
# 2. None. The exponentials of what ``LogSoftmax`` returns have the sum 1, so
#    ``CrossEntropyLoss``, which subtracts the logarithm of their sum, subtracts 0.
# 3. ``first`` is 500 times too small: the loss is a mean already, and ``/ len(y)``
#    divides it again. So the steps are too small, too, and ``new`` is that of a network
#    that has hardly learned. (``ten`` is small because it is divided, too.) ::
#
#        def repaired(model, optimizer, x, y):
#            loss = loss_fn(model(x), y)
#            optimizer.zero_grad()
#            loss.backward()
#            optimizer.step()
#            return loss.item()
#
#
#        examine("repaired", step=repaired)
#        yours = losses["repaired"]
