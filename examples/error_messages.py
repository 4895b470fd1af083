"""
What an error message says
==========================

Most messages name two things that do not fit: two shapes, two types, two devices. Here
a model works, then one line after the other fails. You see what your version of PyTorch
says, a line that repairs it, and the number which that line must give. Afterwards you
can find the two things in your own line, repair it, and check that it is right.
"""

# %%
# Setup
# -----
# You can also search the web pages for the words of a message. Leave out the numbers,
# which are those of your own tensors.

import textwrap
import warnings

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.autograd import Variable

from cli import parse_args
from common import compare, fit, save_figure
from lesson_data import CLASSES, SAMPLE_FOLDER, load_fashion_mnist

args = parse_args(__doc__, seed=0)
torch.manual_seed(args.seed)

# %%
# Data and a model that works
# ---------------------------
# Here are eight images of Fashion-MNIST, and a model trained on these and on others.
# The printed shapes and types fit. Compare those of a line that fails with them.

images, labels, _, _ = load_fashion_mnist(SAMPLE_FOLDER.exists(), "cpu")
x, y = images[:8], labels[:8]
print(", ".join(CLASSES[k] for k in y))
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
# ``lambda:`` makes a function of a line. ``provoke`` runs it, and prints its error or
# warning. The model takes the pixels of an image in one row, but ``pictures`` has 28.
#
# .. guess::
#
#    ``pictures`` is (8, 28, 28). The message names two shapes, of two numbers each. The
#    second one, 784x10, belongs to the weights. What is the first?


def provoke(code):
    try:
        with warnings.catch_warnings(action="error"):
            print("no message:", code())
    except Exception as error:
        print(textwrap.fill(" ".join(f"{type(error).__name__}: {error}".split()), 88))


def check(repaired, right):
    print(f"    repaired: {repaired:.4f}, must be {right:.4f}")


pictures = x.reshape(8, 28, 28)
provoke(lambda: model(pictures))
check(loss_fn(model(pictures.flatten(1)), y), loss)

# %%
# A linear layer multiplies two matrices: ``mat1`` is the input, ``mat2`` the weights.
# ``mat1`` must have as many columns as ``mat2`` has rows. The layer took each row of
# pixels for an example: 8 * 28 = 224 examples with 28 numbers, where it wants 784.

matrices = [pictures.reshape(224, 28), pictures.flatten(1), model.weight.detach().T]
fig, axes = plt.subplots(1, 3, figsize=(10, 5.5), width_ratios=[1, 4, 1])
for ax, matrix in zip(axes, matrices):
    ax.imshow(matrix.numpy(), cmap="gray", aspect="auto", interpolation="nearest")
    ax.set(xticks=[], yticks=[], title=f"{matrix.shape[0]}x{matrix.shape[1]}")
axes[0].set_xlabel("pictures:\n28 columns", color="darkred")
axes[1].set_xlabel("pictures.flatten(1):\n784 columns", color="darkgreen")
axes[2].set_ylabel("weights: 784 rows", color="darkgreen")
save_figure(fig, args.output / "error_messages.png")

# %%
# Now an axis is missing. Five inputs of ``line`` are taken for one example with five
# features. The logits of a single image are (10,): such a tensor has no dimension 1,
# only 0 (from the end: -1). A convolution takes an image with three axes, the first for
# its channels, or a batch of them: "Expected 3D (unbatched) or 4D (batched) input".

line, inputs = nn.Linear(1, 1), torch.arange(5.0)
provoke(lambda: line(inputs))
check(line(inputs.reshape(-1, 1))[4, 0], line.weight[0, 0] * 4 + line.bias[0])
provoke(lambda: model(x[0]).softmax(dim=1))
check(model(x[0:1]).softmax(dim=1)[0, 9], model(x).softmax(dim=1)[0, 9])

# %%
# Labels
# ------
# ``CrossEntropyLoss`` takes the index of a class, an int64, which PyTorch calls Long.
# Here are four faults, in this order:
#
# - The labels are floats. (Some versions say "expected scalar type Long but found
#   Float".)
# - They have an axis too many.
# - They are *one-hot*: a row for each, with a 1 in the column of its class. Such rows
#   are taken for probabilities: they must be floats.
# - Ten classes are 0 to 9, not 1 to 10. (A GPU says "CUDA error: device-side assert
#   triggered", often at a later line: run it on the CPU.)

floats, column, from_1 = y.float(), y.reshape(-1, 1), y + 1
one_hot = nn.functional.one_hot(y, num_classes=10)
provoke(lambda: loss_fn(model(x), floats))
check(loss_fn(model(x), floats.long()), loss)
provoke(lambda: loss_fn(model(x), column))
check(loss_fn(model(x), column.flatten()), loss)
provoke(lambda: loss_fn(model(x), one_hot))
check(loss_fn(model(x), one_hot.float()), loss)
provoke(lambda: loss_fn(model(x), from_1))
check(loss_fn(model(x), from_1 - 1), loss)

# %%
# For two classes, ``BCEWithLogitsLoss`` takes floats in the shape of the logits. These
# labels have two faults. PyTorch reports one; after you repair it, the other. With
# logits of 0 the loss must be log 2.

logits, targets, bce = torch.zeros(8, 1), (y == 9).long(), nn.BCEWithLogitsLoss()
provoke(lambda: bce(logits, targets))
provoke(lambda: bce(logits, targets.reshape(-1, 1)))
check(bce(logits, targets.reshape(-1, 1).float()), 0.6931)

# %%
# Gradients
# ---------
# PyTorch records how a number was computed from the parameters: this is its *graph*.
# NumPy records nothing, so a tensor that requires a gradient must be detached first.
# (On a GPU also ``.cpu()``: "can't convert cuda:0 device type tensor to numpy".) Then
# ``backward()`` twice: it frees the graph, so each call needs a new forward pass. In a
# training loop, compute the loss inside the loop.
#
# .. guess::
#
#    After two calls of ``backward()``, is ``grad`` right, too small or too large?

provoke(lambda: model(x).numpy())
check(model(x).detach().numpy()[0, 9], model(x)[0, 9])
model.zero_grad()
again = loss_fn(model(x), y)
again.backward()
provoke(lambda: again.backward())
again = loss_fn(model(x), y)  # repaired: a new forward pass
again.backward()
once = (model(x).softmax(dim=1) - one_hot).T @ x / 8  # the formula of the gradient
check(model.weight.grad.norm() / once.norm(), 2)

# %%
# Twice as large: gradients are added until ``zero_grad()``. Next: an *in-place
# operation*, like ``-=``, changes a tensor itself. A "leaf" is a tensor that was not
# computed from others, such as a parameter: change it inside ``no_grad``.
# "One of the variables needed for gradient computation has been modified by an inplace
# operation": ``backward()`` needs the old numbers; write ``s = s + 1``, not ``s += 1``.

w = torch.tensor([1.0, 2.0], requires_grad=True)
(w**2).sum().backward()  # the gradient is 2 w
provoke(lambda: w.sub_(0.25 * w.grad))  # the same as w -= 0.25 * w.grad
with torch.no_grad():
    w -= 0.25 * w.grad
check(w[0], 1 - 0.25 * 2)

# %%
# Devices and saved models
# ------------------------
# ``meta`` is a device without numbers that every machine has. Here it stands for a GPU,
# where you read "Expected all tensors to be on the same device". Move the data to the
# device of the model. Then loading fails: "Missing" are names that only the model has,
# "Unexpected" those of the file only. Training in several processes adds ``module.``.

provoke(lambda: model(x.to("meta")))
check(loss_fn(model(x.to(model.weight.device)), y), loss)
state = {f"module.{name}": tensor for name, tensor in model.state_dict().items()}
loaded = nn.Linear(784, 10)
provoke(lambda: loaded.load_state_dict(state))
loaded.load_state_dict({name.removeprefix("module."): state[name] for name in state})
check(loss_fn(loaded(x), y), loss)

# %%
# Old programs
# ------------
# An old line, its new form with a value, and what your version says of the old one. (In
# old versions ``/`` divided whole numbers like ``//``: an accuracy below 1 was 0.)

total = nn.MSELoss(reduction="sum")(w, 2 * w).item()
for old, new, value, code in [
    ("loss.data[0]", "loss.item()", loss.item(), lambda: loss.data[0]),
    ("Variable(w)", "w", w.tolist(), lambda: Variable(w).tolist()),
    ("volatile=True", "torch.no_grad()", "", lambda: Variable(x, volatile=True)),
    ("size_average=False", 'reduction="sum"', total, lambda: nn.MSELoss(False)),
]:
    print(f"{old:18} -> {new:15} {value}")
    provoke(code)

# %%
# In short
# --------
# - Most messages name two things that do not fit. Find both in your line.
# - Print shape, type and device of what works beside those of what fails.
# - Check the repaired line by a number that you know: other faults have no message.
#
# Next: a network that does not learn, without any message.

# %%
# Try it
# ------
# 1. *Predict.* Which four numbers does the message name for one picture, of shape (28,
#    28)? Write them down, then add ``provoke(lambda: model(pictures[0]))`` at the end
#    of the cell under *Shapes*. Does ``flatten(1)`` repair this line, too?
# 2. *Change.* The message about a second ``backward()`` offers ``retain_graph=True``.
#    Under *Gradients*, replace the first ``again.backward()`` by
#    ``again.backward(retain_graph=True)``. What is printed now, and why? Would you use
#    it in a training loop, with the line of the loss above the loop?
# 3. *Write.* Here are the images in bytes, from 0 to 255, and the labels as a table has
#    them. Put ``yours = loss_fn(model(raw), table)`` in place of ``yours = None``, run,
#    and repair this line until its loss is right. Four faults have a message.

raw = (pictures * 255).round().byte()  # (8, 28, 28)
table = column.float()  # (8, 1)
yours = None
compare("loss", yours, loss)

# %%
# Answers
# -------
# 1. 28x28 and 784x10: each row of pixels is taken for an example. ``flatten(1)`` leaves
#    the first axis as it is, so (28, 28) stays. The axis of the batch is missing:
#    ``pictures[0:1].flatten(1)`` is (1, 784).
# 2. "no message", and 3 times the gradient: the second call adds one more. In a
#    training loop each call would give the gradient for the weights of the first epoch,
#    and with this model there is no message. (With a hidden layer there is one, about
#    an inplace operation.)
# 3. Type and shape of the images, then shape and type of the labels, in any order: a
#    message can stay until both are right. The fifth fault has no message: the model
#    was trained on numbers from 0 to 1::
#
#        yours = loss_fn(model(raw.flatten(1).float() / 255), table.flatten().long())
