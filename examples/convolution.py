"""
A network that knows that pixels have neighbours
================================================

A linear layer takes the 784 pixels of an image in a row. It does not know which ones
are neighbours. A *convolution* looks at a few neighbours at a time. Is it better, and
because of the neighbours? Afterwards you can build a small convolutional network, count
its parameters, continue an interrupted run, and take a whole training program home.
"""

# %%
# Setup
# -----
# The lesson takes about a minute; with ``--sample``, on few images, some seconds.

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from torch import nn

from checkpoint import load_checkpoint, save_checkpoint
from cli import HERE, parse_args
from common import compare, evaluate, pick_device, save_figure
from lesson_data import load_fashion_mnist

args = parse_args(__doc__, epochs=5, seed=0, device="auto", sample=False, resume=False)
device = pick_device(args.device)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# A convolution takes a batch of the shape (images, channels, height, width), here with
# one channel, grey. A sixth of the training images is held out for validation. All are
# in memory, so a batch is some rows of a tensor: faster than a ``DataLoader``.

images, labels, test_x, test_y = load_fashion_mnist(args.sample, device)
images, test_x = images.reshape(-1, 1, 28, 28), test_x.reshape(-1, 1, 28, 28)
order, sixth = torch.randperm(len(images)), len(images) // 6
held_out, kept = order[:sixth], order[sixth:]
print("images", tuple(images.shape), "trained on", len(kept))

# %%
# A convolution by hand
# ---------------------
# Here is a small image, dark on the left and light on the right, and a *kernel* of 3 x
# 3 weights. Lay the kernel on the image, multiply each weight by the pixel below it,
# and add the nine products. This is one number of the output. Then move the kernel by
# one pixel. It fits in three places in each direction, so the output is 3 x 3.

small = torch.tensor([[0.0, 0.0, 0.0, 1.0, 1.0]] * 5)
kernel = torch.tensor([[-1.0, 0.0, 1.0]] * 3)
print(small, kernel, sep="\n")
print("at the top left:", (small[0:3, 0:3] * kernel).sum().item())
print("one to the right:", (small[0:3, 1:4] * kernel).sum().item())
print(F.conv2d(small[None, None], kernel[None, None])[0, 0])

# %%
# On a shoe, this kernel finds left edges (white) and right edges (black). Transposed
# (``kernel.T``), it finds upper and lower ones. ``padding=1`` puts a frame of zeros
# around the image, so that the output has 28 x 28 numbers, too.

shoe = images[labels == 9][:1].cpu()
kernels = torch.stack([kernel, kernel.T]).reshape(2, 1, 3, 3)
edges = F.conv2d(shoe, kernels, padding=1)
fig, axes = plt.subplots(1, 3, figsize=(10, 3.6))
titles = ["a shoe", "its left and right edges", "its upper and lower edges"]
for ax, image, title in zip(axes, [shoe[0, 0], *edges[0]], titles):
    ax.imshow(image.numpy(), cmap="gray")
    ax.set_title(title)
    ax.axis("off")
save_figure(fig, args.output / "convolution.png")

# %%
# Models
# ------
# In ``nn.Conv2d`` the kernels are parameters: training finds them. The first layer has
# 16 kernels of 5 x 5 weights, each with a bias, and returns 16 channels. With
# ``stride=2`` a kernel moves by two pixels, so height and width are halved. The second
# layer has 32 kernels. Each looks at all 16 channels: it has 16 x 5 x 5 weights, and a
# bias. The last layer is linear: 32 x 7 x 7 inputs, 10 outputs.
#
# .. guess::
#
#    How many parameters has each of the three layers with weights?


def build(name):
    torch.manual_seed(args.seed)  # the same start in each call
    if name == "linear":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    if name == "hidden layer":
        layers = nn.Linear(784, 100), nn.ReLU(), nn.Linear(100, 10)
        return nn.Sequential(nn.Flatten(), *layers)
    layers = [nn.Conv2d(1, 16, 5, stride=2, padding=2), nn.ReLU()]
    layers += [nn.Conv2d(16, 32, 5, stride=2, padding=2), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 7 * 7, 10))


x = images[:1].cpu()
for layer in build("convolution"):
    x = layer(x)
    count = sum(parameter.numel() for parameter in layer.parameters())
    print(f"{type(layer).__name__:8} {tuple(x.shape)!s:16} {count:5} parameters")

# %%
# 16 (25 + 1), 32 (16 * 25 + 1) and 10 (32 * 7 * 7 + 1): in all 28,938. The network with
# a hidden layer has 100 (784 + 1) + 10 (100 + 1) = 79,510. But a kernel is used in many
# places of the image, so a step takes longer.

# %%
# Training
# --------
# The loop of logistic regression 3. The convolution comes first. After each of its
# epochs a *checkpoint* is saved: the parameters, the state of the optimizer (Adam keeps
# averages of the gradients), the state of the random numbers, and the results so far.
# Stop the lesson with Ctrl-C, and start it with ``--resume``: it continues, and on a
# CPU it ends with exactly the same numbers. With the parameters alone, the next steps
# would be others: Adam's averages and the order of the batches would start anew.

loss_fn = nn.CrossEntropyLoss()


def train(name, inputs, path=None):
    x, y = inputs[kept], labels[kept]
    model = build(name).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    torch.manual_seed(args.seed)  # the same batches in each call
    history = load_checkpoint(path, args, model, optimizer) if path else []
    for epoch in range(len(history) + 1, args.epochs + 1):
        model.train()
        for rows in torch.randperm(len(x)).split(64):
            loss = loss_fn(model(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        loss, accuracy = evaluate(model, inputs[held_out], labels[held_out], loss_fn)
        print(f"{name:12} epoch {epoch}  loss {loss:.4f} accuracy {accuracy:.4f}")
        history.append(loss)
        if path:
            save_checkpoint(path, args, history, model, optimizer)
    return model, history


print("on the validation images:")
models, runs = {}, {}
for name in ["convolution", "hidden layer", "linear"]:
    path = args.output / "convolution.checkpoint" if name == "convolution" else None
    models[name], runs[name] = train(name, images, path)

# %%
# Result
# ------
# The model with the lowest validation loss is chosen, and tested once. In the `paper
# <https://arxiv.org/abs/1708.07747>`__ on Fashion-MNIST, which has no convolution, the
# test accuracy of logistic regression is 0.842, of a hidden layer with 100 units 0.871,
# and of the best method there 0.897.

best = min(runs, key=lambda name: runs[name][-1])  # by its last loss
test_loss, test_accuracy = evaluate(models[best], test_x, test_y, loss_fn)
print(f"chosen: {best}, test loss {test_loss:.4f}, test accuracy {test_accuracy:.4f}")

# %%
# Is it the neighbours?
# ---------------------
# To see, destroy the neighbourhood: draw one order of the 784 pixels, and put the
# pixels of all images in this order. All else, start and batches, stays as before. How
# much larger does the validation loss become, on average over the epochs?
#
# .. guess::
#
#    Which becomes worse, the hidden layer or the convolution?

mixed = images.flatten(1)[:, torch.randperm(784)].reshape(-1, 1, 28, 28)
lost = {}
for name in ["convolution", "hidden layer"]:
    _, mixed_run = train(name, mixed)
    lost[name] = (sum(mixed_run) - sum(runs[name])) / args.epochs
    print(f"{name}: mean loss {lost[name]:+.4f} by mixing")

# %%
# The convolution. The hidden layer has a weight for each pixel, and all start at
# random. So one order is as good as another, and its loss changes only by chance.

# %%
# The whole program
# -----------------
# ``convolution_program.py``, beside this lesson, is all of it without a helper of this
# collection: seed, device, ``DataLoader``, loop, validation, saving, loading, one test.
# Run a copy in an empty folder: it downloads Fashion-MNIST. For images of your own, put
# an ``ImageFolder`` with ``Grayscale`` and ``Resize`` in place of ``FashionMNIST``.

print((HERE / "convolution_program.py").read_text("utf-8"))

# %%
# In short
# --------
# - A convolution multiplies, at each place, a kernel by the pixels below it, and adds.
# - It knows which pixels are neighbours, with fewer parameters than a hidden layer.
# - A checkpoint holds model, optimizer, random numbers and results so far.
#
# Next: what an error message says.

# %%
# Try it
# ------
# 1. *Predict.* In ``build``, replace ``5, stride=2, padding=2`` by
#    ``3, stride=2, padding=1``, in both convolutions. Which shapes change, and how many
#    parameters has each layer? Write them down, then run it with
#    ``--sample --epochs 1``.
# 2. *Change.* Let the rate fall with a *schedule*. In ``train``, below the line
#    ``optimizer = ...``, add ``schedule = torch.optim.lr_scheduler.LinearLR(optimizer,
#    1, 0, args.epochs)``: from 1 times the rate to 0 times. At the end of each epoch,
#    add ``print(schedule.get_last_lr())`` and ``schedule.step()``. Run it with
#    ``--sample``. Which rates are printed? Then move ``schedule.step()`` to the top of
#    the epoch, above ``model.train()``. What does PyTorch say, and what do the last two
#    epochs show?
# 3. *Write.* Convolve ``padded``, the shoe with its frame of zeros, with ``kernel``, by
#    loops and with a stride of 2. The result has the shape (14, 14).

padded = F.pad(shoe[0, 0], (1, 1, 1, 1))  # (30, 30)
yours = None
compare("edges", yours, F.conv2d(shoe, kernels[:1], stride=2, padding=1)[0, 0])

# %%
# Answers
# -------
# 1. No shape changes. The convolutions have 16 (9 + 1) = 160 and 32 (16 * 9 + 1) = 4640
#    parameters, the linear layer the same 15,690 as before: its number depends on the
#    shape of its input.
# 2. 0.001, 0.0008, 0.0006, 0.0004 and 0.0002, rounded. From the top of the epoch,
#    ``schedule.step()`` is called before the first ``optimizer.step()``, and PyTorch
#    warns: the rate 0.001 is skipped. The last epoch has the rate 0, so its loss is
#    that of the epoch before. (A checkpoint would need ``schedule.state_dict()``, too.)
# 3. The kernel begins at row 2 i and column 2 j::
#
#        yours = torch.zeros(14, 14)
#        for i in range(14):
#            for j in range(14):
#                part = padded[2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
#                yours[i, j] = (part * kernel).sum()
