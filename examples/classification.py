r"""
Classification: decision regions, a hidden layer, and the best possible accuracy
================================================================================

A network for classification gives each class a score, called a *logit*, and predicts
the class with the highest. This lesson trains one on points in the plane and shows the
regions that it assigns to the classes. The points are drawn from known distributions,
so the network can be compared with the best possible classifier. A second problem shows
what its *hidden layer*, :math:`h = \max(0,\, W_1 x + b_1)`, is for.

The logits are :math:`z = W_2 h + b_2`, and the probability of class :math:`k` is their
softmax, :math:`e^{z_k} / \sum_j e^{z_j}`.
"""

# %%
# Setup
# -----

from copy import deepcopy
from statistics import NormalDist

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.colors import LinearSegmentedColormap
from torch import nn

from checkpoint import replacing
from cli import parse_args
from common import evaluate, fit, pick_device, save_figure

args = parse_args(__doc__, epochs=100, lr=0.02, seed=0, device="cpu")
args.device = pick_device(args.device)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# Two clusters of normally distributed points, with standard deviation 1 in every
# direction. Labels are class indices: integers of shape (n,), not (n, 1).


def draw_points(centres, classes, n):
    """Draw ``n`` points around each of k centres: points (k n, 2), labels (k n,)."""
    cluster = torch.arange(len(centres)).repeat_interleave(n)
    points = torch.tensor(centres)[cluster] + torch.randn(len(cluster), 2)
    return points.to(args.device), torch.tensor(classes)[cluster].to(args.device)


two = [(2.0, 2.0), (-2.0, -2.0)], [0, 1]  # centres, and the class of each
x, y = draw_points(*two, 100)
print(f"points {tuple(x.shape)} {x.dtype}, labels {tuple(y.shape)} {y.dtype}")

# %%
# Model
# -----
# Ten hidden units, for which ``nn.ReLU`` computes the :math:`\max`, and one output per
# class. A copy of the untrained network is kept for the last section.

model = nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 2)).to(args.device)
untrained = deepcopy(model)

# %%
# Loss and optimizer
# ------------------

loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)

# %%
# Training
# --------
# Training pauses up to 20 times to record the probabilities on a grid, and the loss on
# *fresh* points: a million new ones from the same clusters, not used for training.

side = torch.linspace(-6, 6, 201)
grid = torch.cartesian_prod(side, side).to(args.device)  # (40401, 2)
fresh = draw_points(*two, 500_000)


def probabilities(model):
    """Return the probability of class 0 on the grid, one row per y (201, 201)."""
    with torch.inference_mode():
        return model(grid).softmax(dim=1)[:, 0].reshape(201, 201).T.cpu().numpy()


pauses = np.linspace(0, args.epochs, min(args.epochs, 20) + 1).astype(int).tolist()
losses, fresh_losses, frames = [], [], []
for pause in pauses:
    done = len(losses)
    losses += fit(model, x, y, loss_fn, optimizer, pause - done, first=done + 1)
    frames.append(probabilities(model))
    fresh_losses.append(evaluate(model, *fresh, loss_fn)[0])

# %%
# Result
# ------
# The best classifier for these clusters is known. They have equally many points, so by
# Bayes' theorem the probability of a class at :math:`x` is proportional to the density
# of its cluster, and the best logits are the logarithms of the densities. These are
# :math:`c \cdot x` for the centre :math:`c`, plus terms that cancel in the softmax,
# since both centres are equally far from 0. Linear logits need no hidden layer.

best_model = nn.Linear(2, 2, bias=False).to(args.device)
with torch.no_grad():
    best_model.weight.copy_(torch.tensor(two[0]))

# %%
# Its boundary is halfway between the centres, and it misclassifies the points that
# noise moves across, by more than half the distance :math:`d` of the centres. So its
# accuracy is :math:`\Phi(d / 2)`, with the standard normal distribution function
# :math:`\Phi`. This is the *Bayes accuracy*, the highest possible on average.

phi = NormalDist().cdf
best_accuracy = phi(np.linalg.norm(np.subtract(*two[0])) / 2)
print(f"Bayes accuracy {best_accuracy:.4f}")
loss, accuracy = evaluate(model, *fresh, loss_fn)
best_loss, best_seen = evaluate(best_model, *fresh, loss_fn)
print(f"learned on fresh points: accuracy {accuracy:.4f}, loss {loss:.4f}")
print(f"best on fresh points:    accuracy {best_seen:.4f}, loss {best_loss:.4f}")
mistakes, excess = (1 - accuracy) / (1 - best_seen), loss / best_loss
print(f"learned / best: mistakes {mistakes:.1f}, loss {excess:.1f}")

# %%
# The learned model makes more mistakes than the best one, and the ratio of the losses
# is larger still. Nearly all points are on the right side of the boundary, but it takes
# longer to get the probabilities right: in the figure, both learned curves are far
# above the best loss, and still falling. (Which is lower depends on the training data.)

fig, ax = plt.subplots()
ax.semilogy(losses, label="learned, training points")
ax.semilogy(pauses, fresh_losses, "o--", label="learned, fresh points")
ax.axhline(best_loss, color="black", linestyle=":", label="best, fresh points")
ax.set(xlabel="epochs of training", ylabel="loss (cross-entropy)")
ax.legend()
save_figure(fig, args.output / "classification_loss.png")

# %%
# Decision regions
# ----------------
# The colour is the probability that the model gives to class 0. The hue changes at 0.5,
# where the prediction changes. Compare this boundary with the best one: where there are
# no training points, the model extrapolates, and there it can be far from the best.

hues = [(0, "C1"), (0.5, "#f7d9c2"), (0.5, "#bcdcef"), (1, "C0")]
colours = LinearSegmentedColormap.from_list("regions", hues, N=10)


def draw_regions(ax, probabilities, x, y):
    """Draw the probability of class 0 as colour, and the points of both classes."""
    for label, marker in enumerate("os"):
        points = x[y == label].cpu()
        ax.plot(*points.T, marker, ms=5, mec="white", mew=0.5, label=f"class {label}")
    ax.set(xlabel="first coordinate", ylabel="second coordinate")
    window = {"extent": (-6, 6, -6, 6), "origin": "lower"}
    return ax.imshow(probabilities, colours, alpha=0.5, vmin=0, vmax=1, **window)


fig, ax = plt.subplots(figsize=(6.5, 5.5))
regions = draw_regions(ax, frames[-1], x, y)
fig.colorbar(regions, label="probability of class 0", ticks=[0, 0.5, 1])
ax.axline((0, 0), slope=-1, color="black", linestyle="--", label="best boundary")
title = ax.set_title(f"epoch {args.epochs}")
fig.legend(loc="outside lower center", ncols=3)
save_figure(fig, args.output / "classification_regions.png")

# %%
# The same figure during training, from the random start.

fig.set_layout_engine("none")  # keeps the layout, instead of a new one for each frame


def draw(frame):
    regions.set_data(frames[frame])
    title.set_text(f"epoch {pauses[frame]}")


animation = FuncAnimation(fig, draw, frames=[*range(len(frames)), *[-1] * 9])
with replacing(args.output / "classification.gif") as part:
    animation.save(part, PillowWriter(fps=5), dpi=100)
print(f"saved {args.output / 'classification.gif'}")

# %%
# What the hidden layer is for
# ----------------------------
# Now four clusters: two opposite corners of a square are class 0, the other two are
# class 1. (This is the XOR problem.) The best classifier predicts class 0 where both
# coordinates have the same sign. It is right if noise changes the sign of neither
# coordinate or of both, so the Bayes accuracy is :math:`\Phi(2)^2 + (1 - \Phi(2))^2`.
# A linear model and the untrained copy of the network are trained ten times as long.

four = [(2.0, 2.0), (-2.0, -2.0), (2.0, -2.0), (-2.0, 2.0)], [0, 0, 1, 1]
xor_x, xor_y = draw_points(*four, 50)
xor_fresh = draw_points(*four, 250_000)
best_xor = phi(2) ** 2 + (1 - phi(2)) ** 2
print(f"four clusters: Bayes accuracy {best_xor:.4f}, log 2 = {np.log(2):.4f}")

xor = {}
fig, axes = plt.subplots(1, 2, figsize=(9, 5.4), sharey=True)
models = {"linear": nn.Linear(2, 2).to(args.device), "hidden layer": untrained}
for ax, (name, net) in zip(axes, models.items()):
    optimizer = torch.optim.SGD(net.parameters(), lr=args.lr)
    fit(net, xor_x, xor_y, loss_fn, optimizer, 10 * args.epochs, log_every=0)
    xor_loss, xor[name] = evaluate(net, *xor_fresh, loss_fn)
    print(f"  {name:12}  fresh points: accuracy {xor[name]:.4f}, loss {xor_loss:.4f}")
    draw_regions(ax, probabilities(net), xor_x, xor_y)
    ax.axline((0, 0), (1, 0), color="black", linestyle="--", label="best boundary")
    ax.axline((0, 0), (0, 1), color="black", linestyle="--")
    ax.set_title(f"{name}: accuracy {xor[name]:.2f}")
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
save_figure(fig, args.output / "classification.png")

# %%
# The linear model is right about half of the time, the network nearly as often as the
# best classifier. A straight boundary through the middle predicts different classes at
# :math:`x` and at :math:`-x`, where class 0 has the same probability, so half of all
# predictions are wrong. A line that separates one cluster from the others does better,
# but even then less than three quarters are right. And training does not lead there:
# the linear model with the smallest expected loss, :math:`\log 2`, gives each class the
# probability 1/2 at every point. This is why the left panel is so pale.

# %%
# Try it
# ------
# 1. Run ``python examples/classification.py --epochs 1000``. How close does the learned
#    model now come to the best one, in mistakes and in loss? And on the four clusters?
# 2. Delete ``nn.ReLU(),`` from the network. Which of the two problems does it still
#    solve?
# 3. Replace ``nn.Linear(10, 2))`` by ``nn.Linear(10, 2), nn.Softmax(dim=1))``, a common
#    mistake, since the loss applies the softmax itself. Nothing fails. What happens to
#    the loss on fresh points?

# %%
# Answers
# -------
# 1. It makes 1.3 times as many mistakes, with 2.8 times the loss. After 100 epochs it
#    was 2.4 times and 14.1 times. On the four clusters the loss rises, from 0.1261 to
#    0.1590, since the network *overfits*: it fits the noise of the training points.
# 2. The two clusters, with an accuracy of 0.9967. On the four it has the accuracy of
#    the linear model, 0.4811: without the ReLU, two linear layers are one.
# 3. It is 0.4025 instead of 0.0935. The loss gets "logits" from 0 to 1, which give the
#    true class a probability of at most :math:`e / (e + 1)`, or 0.731. However long you
#    train, the loss stays above 0.313.
