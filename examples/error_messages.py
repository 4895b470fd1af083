"""
What an error message says, word by word
========================================

A message of PyTorch looks long. But most messages name two things that do not fit: two
shapes, two types, two devices. Where are these two in your line? Here a model works.
Then one line after the other fails. You see the message as your version of PyTorch
words it, a line that mends it, and the number which that line must give. Afterwards you
can read a message, mend the line, and check that it is right.
"""

# %%
# Setup
# -----
# This page is also for looking up: its search finds the words of a message. Leave out
# the numbers, which are those of your own tensors.

import textwrap
import warnings

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.autograd import Variable

from cli import parse_args
from common import compare, fit, save_figure
from lesson_data import CLASSES, load_fashion_mnist

args = parse_args(__doc__, seed=0)
torch.manual_seed(args.seed)

# %%
# Data and a model that works
# ---------------------------
# Eight of the 4,000 images that come with the lessons, and a model trained on all of
# them. These shapes and types fit. Each line that fails below differs from them.

images, labels, _, _ = load_fashion_mnist(sample=True, device="cpu")
x, y = images[:8], labels[:8]
print("images:", ", ".join(CLASSES[k] for k in y))
model = nn.Linear(784, 10)
loss_fn = nn.CrossEntropyLoss()
fit(model, images, labels, loss_fn, torch.optim.SGD(model.parameters(), lr=0.1), 60)
for name, tensor in [("x", x), ("model(x)", model(x)), ("y", y)]:
    print(f"{name:8} {tuple(tensor.shape)!s:8} {tensor.dtype}")
loss = loss_fn(model(x), y)
print(f"loss {loss:.4f}")

# %%
# Shapes
# ------
# ``provoke`` runs a line and prints its error or warning. ``lambda:`` makes a function
# of the line, so that it is not run earlier. The first line forgets that the model
# takes the pixels of an image in one row.
#
# .. guess::
#
#    ``pictures`` is (8, 28, 28). The message names two shapes, of two numbers each. The
#    second one, 784x10, belongs to the weights. What is the first?


def provoke(line):
    try:
        with warnings.catch_warnings(action="error"):
            print("no message:", line())
    except Exception as error:
        print(textwrap.fill(f"{type(error).__name__}: {error}", 88))


pictures = x.reshape(8, 28, 28)
provoke(lambda: model(pictures))
print(f"mended: loss {loss_fn(model(pictures.flatten(1)), y):.4f}, must be {loss:.4f}")

# %%
# A linear layer multiplies two matrices: ``mat1``, the input, and ``mat2``, its weights.
# ``mat1`` must have as many columns as ``mat2`` has rows. The layer took each row of
# pixels for an example: 8 * 28 = 224 examples with 28 numbers, where it wants 784.

matrices = [pictures.reshape(224, 28), pictures.flatten(1), model.weight.detach().T]
fig, axes = plt.subplots(1, 3, figsize=(10, 5.5), width_ratios=[1, 4, 1])
for ax, matrix in zip(axes, matrices):
    ax.imshow(matrix.numpy(), cmap="gray", aspect="auto", interpolation="nearest")
    ax.set(xticks=[], yticks=[], title=f"{matrix.shape[0]}x{matrix.shape[1]}")
axes[0].set_xlabel("pictures:\n28 columns", color="red")
axes[1].set_xlabel("pictures.flatten(1):\n784 columns", color="green")
axes[2].set_ylabel("weights: 784 rows", color="green")
save_figure(fig, args.output / "error_messages.png")

# %%
# Now an axis is missing. Five inputs of a line are taken for one example with five
# features. The logits of a single image are (10,): such a tensor has no dimension 1,
# only 0 (from the end: -1). A convolution wants the axis of the batch, too, and one for
# the channels: "Expected 3D (unbatched) or 4D (batched) input".

line, inputs = nn.Linear(1, 1), torch.arange(5.0)
provoke(lambda: line(inputs))
mended = line(inputs.reshape(-1, 1))[4].item()
print(f"mended: {mended:.4f}, must be {line.weight.item() * 4 + line.bias.item():.4f}")
provoke(lambda: model(x[0]).softmax(dim=1))
mended = model(x[0].reshape(1, -1)).softmax(dim=1)
print(f"mended: {mended[0, 9]:.4f}, must be {model(x).softmax(dim=1)[0, 9]:.4f}")

# %%
# Labels
# ------
# ``CrossEntropyLoss`` takes the index of a class, an int64, which PyTorch calls Long.
# Here are floats, as from a table. (Some versions say "expected scalar type Long but
# found Float".) Then there is an axis too many. Then labels are *one-hot*: a row for
# each, with a 1 in the column of its class. The loss takes the row for probabilities,
# so it must be floats. Last, ten classes are 0 to 9, not 1 to 10. (On a GPU this is
# "CUDA error: device-side assert triggered", often at a later line: run it on the CPU.)

floats, column, from_1 = y.float(), y.reshape(-1, 1), y + 1
one_hot = nn.functional.one_hot(y, num_classes=10)
provoke(lambda: loss_fn(model(x), floats))
print(f"mended: loss {loss_fn(model(x), floats.long()):.4f}, must be {loss:.4f}")
provoke(lambda: loss_fn(model(x), column))
print(f"mended: loss {loss_fn(model(x), column.flatten()):.4f}, must be {loss:.4f}")
provoke(lambda: loss_fn(model(x), one_hot))
print(f"mended: loss {loss_fn(model(x), one_hot.float()):.4f}, must be {loss:.4f}")
provoke(lambda: loss_fn(model(x), from_1))
print(f"mended: loss {loss_fn(model(x), from_1 - 1):.4f}, must be {loss:.4f}")

# %%
# ``BCEWithLogitsLoss``, for two classes, is the other way round: targets are floats, in
# the shape of the logits. Here are two faults, but one message at a time. The logits
# are 0, so each probability is 1/2, and the loss must be log 2.

logits, targets, bce = torch.zeros(8, 1), (y == 9).long(), nn.BCEWithLogitsLoss()
provoke(lambda: bce(logits, targets))
provoke(lambda: bce(logits, targets.reshape(-1, 1)))
mended = bce(logits, targets.reshape(-1, 1).float())
print(f"mended: loss {mended:.4f}, must be 0.6931")

# %%
# Gradients
# ---------
# NumPy records nothing for ``backward()``, so a tensor that requires a gradient must be
# detached first. (On a GPU also ``.cpu()``: "can't convert cuda:0 device type tensor to
# numpy".) Then ``backward()`` twice: it frees what the forward pass has kept for it. So
# each call needs a new forward pass. Often the line with the loss has come to stand
# above the loop.
#
# .. guess::
#
#    The mended lines call ``backward()`` twice. How many times the gradient is that?

provoke(lambda: model(x).numpy())
mended = model(x).detach().numpy()
print(f"mended: {mended[0, 9]:.4f}, must be {model(x)[0, 9]:.4f}")
model.zero_grad()
again = loss_fn(model(x), y)
again.backward()
provoke(lambda: again.backward())
again = loss_fn(model(x), y)  # mended: a new forward pass
again.backward()
formula = (model(x).softmax(dim=1) - one_hot).T @ x / 8
print(f"mended: {model.weight.grad.norm() / formula.norm():.4f} times the gradient")

# %%
# Twice: gradients are added until ``zero_grad()``. Next, an operation *in place*, like
# ``-=``, changes the numbers of a tensor. A parameter, here called a leaf, is not
# changed so while PyTorch records: 1 - 0.25 * 2 must be 0.5. Nor are numbers that
# ``backward()`` needs: the slope of a sigmoid is s (1 - s), at 0 it is 1/4.

w = torch.tensor([1.0, 2.0], requires_grad=True)
(w**2).sum().backward()  # the gradient is 2 w
provoke(lambda: w.sub_(0.25 * w.grad))  # the same as w -= 0.25 * w.grad
with torch.no_grad():
    w -= 0.25 * w.grad
print(f"mended: {w.tolist()}, must be [0.5, 1.0]")
z = torch.tensor(0.0, requires_grad=True)
s = torch.sigmoid(z)
s += 1
provoke(lambda: s.backward())
s = torch.sigmoid(z) + 1  # mended: a new tensor
s.backward()
print(f"mended: gradient {z.grad.item()}, must be 0.25")

# %%
# Devices and saved models
# ------------------------
# ``meta`` is a device without numbers that every machine has. Here it stands for a GPU,
# where you read "Expected all tensors to be on the same device". Move the data to the
# device of the model. Then a file has other names than the model: *missing* are those
# of the model, *unexpected* those of the file. Compare them: the file's have a first
# word too many, as from a model that was trained in several processes.

provoke(lambda: model(x.to("meta")))
mended = loss_fn(model(x.to(model.weight.device)), y)
print(f"mended: loss {mended:.4f}, must be {loss:.4f}")
state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
loaded = nn.Linear(784, 10)
provoke(lambda: loaded.load_state_dict(state))
state = {name.removeprefix("module."): tensor for name, tensor in state.items()}
loaded.load_state_dict(state)
print(f"mended: loss {loss_fn(loaded(x), y):.4f}, must be {loss:.4f}")

# %%
# Old programs
# ------------
# Each row: the old line, what is written today with its value, and what your version
# says of the old line. (An old accuracy was 0: whole numbers were divided like ``//``.)

hits, w_sum = model(x).argmax(dim=1) == y, nn.MSELoss(reduction="sum")(w, 0 * w)
for old, new, value, line in [
    ("loss.data[0]", "loss.item()", loss.item(), lambda: loss.data[0]),
    ("Variable(w)", "w", w.tolist(), lambda: Variable(w).tolist()),
    ("volatile=True", "torch.no_grad()", "", lambda: Variable(x, volatile=True)),
    ("size_average=False", 'reduction="sum"', w_sum.item(), lambda: nn.MSELoss(False)),
    ("hits.sum() / 8", "hits.float().mean()", 0, lambda: (hits.sum() / 8).item()),
]:
    print(f"{old:18} -> {new:19} {value}")
    provoke(line)

# %%
# In short
# --------
# - A message names two things that do not fit. Find both in your line.
# - Print shape, type and device of what works, beside those of what fails.
# - One fault at a time has a message, some have none: check the mended line against a
#   number that you know.
#
# Next: a network that does not learn, without any message.
