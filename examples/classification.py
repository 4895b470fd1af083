r"""
Classification: two clouds, a hidden layer, and the best possible answer
========================================================================

A class is a name, not an amount: the model gives every class a score, and the highest
score wins. This lesson puts a hidden layer between points in the plane and two scores,
watches the regions that it assigns to the classes grow, and asks a question that real
data never answers: how good can *any* classifier be here? The clouds are drawn from
known distributions, so there is an exact answer.

The scores, called logits, are :math:`z = W_2 \max(0,\, W_1 x + b_1) + b_2`, and the
probability of class :math:`k` is their softmax, :math:`e^{z_k} / \sum_j e^{z_j}`.
"""

# %%
# Setup
# -----

from itertools import pairwise
from statistics import NormalDist

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.colors import LinearSegmentedColormap
from torch import nn

from cli import parse_args
from common import evaluate, fit, replacing, save_figure

args = parse_args(__doc__, epochs=100, lr=0.02)

# %%
# Data
# ----
# Two clouds of normally distributed points, with the standard deviation 1 in every
# direction. Labels are class *numbers*: whole numbers of the shape (n,), not (n, 1).

centres = torch.tensor([[2.0, 2.0], [-2.0, -2.0]])


def draw_points(n):
    """Draw ``n`` points of each cloud: points (2 n, 2) and labels (2 n,)."""
    labels = torch.arange(2).repeat_interleave(n)
    points = centres[labels] + torch.randn(2 * n, 2)
    return points.to(args.device), labels.to(args.device)


x, y = draw_points(100)
print(f"points {tuple(x.shape)} {x.dtype}, labels {tuple(y.shape)} {y.dtype}")

# %%
# Model
# -----
# One output per class. Without the ReLU between them the two linear layers would be one
# linear layer, only written in a longer way.

model = nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 2)).to(args.device)
print(model)

# %%
# Loss and optimizer
# ------------------
# ``nn.CrossEntropyLoss`` takes the logits themselves and holds the softmax: the loss is
# :math:`-\log` of the probability that the model gives to the right class, averaged. A
# softmax in the model as well is a common mistake: nothing fails, but the loss of two
# classes then never falls below :math:`\log(1 + e^{-1}) = 0.313`.

loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)

# %%
# Training
# --------
# For the animation, training pauses up to 20 times and asks the model about every point
# of a grid. The number of pictures is bounded, however many epochs there are.

side = torch.linspace(-6, 6, 201)
grid = torch.cartesian_prod(side, side).to(args.device)  # (40401, 2)


def snapshot():
    """Return the probability of class 0 over the grid, one row per y (201, 201)."""
    with torch.inference_mode():
        return model(grid).softmax(dim=1)[:, 0].reshape(201, 201).T.cpu().numpy()


pauses = np.linspace(0, args.epochs, min(args.epochs, 20) + 1).astype(int).tolist()
snapshots, losses = [snapshot()], []
for done, stop in pairwise(pauses):
    losses += fit(model, x, y, loss_fn, optimizer, stop - done, first=done + 1)
    snapshots.append(snapshot())

# %%
# Result
# ------
# For these clouds the best classifier is known. At the point :math:`x` the logarithm of
# the density of a cloud around :math:`c` is :math:`c \cdot x` plus terms that are the
# same for both clouds (their centres are equally far from 0), and that softmax ignores.
# So the perfect logits are linear: the hidden layer, which other data need, has nothing
# to add here.

best_model = nn.Linear(2, 2, bias=False).to(args.device)
with torch.no_grad():
    best_model.weight.copy_(centres)

# %%
# Its boundary runs halfway between the centres, and a point is lost if noise carries
# it over half their distance :math:`d`. That leaves an accuracy of :math:`\Phi(d / 2)`,
# the best possible, named after Bayes.
#
# An accuracy on :math:`n` points is an estimate, uncertain by
# :math:`\sqrt{p (1 - p) / n}`. On the 200 training points that is more than all that
# separates the best possible from perfection, and even the best classifier can have bad
# luck there; a million fresh points tell more.

best_accuracy = NormalDist().cdf((centres[0] - centres[1]).norm().item() / 2)
print(f"best possible accuracy {best_accuracy:.4f}")

scores = {}
for points, data in (("training", (x, y)), ("fresh", draw_points(500_000))):
    n = len(data[1])
    noise = (best_accuracy * (1 - best_accuracy) / n) ** 0.5
    print(f"{n} {points} points, an accuracy is uncertain by {noise:.5f}")
    for who, classifier in (("learned", model), ("best", best_model)):
        loss, accuracy = scores[who, points] = evaluate(classifier, *data, loss_fn)
        print(f"  {who:7}  accuracy {accuracy:.4f}, loss {loss:.4f}")

# %%
# After 100 epochs the model makes more than twice as many mistakes as the best one on
# fresh points, near the boundary, where it saw few; its loss is many times the best.
# The boundary is about right; the probabilities are too cautious. Cross-entropy goes on
# to train those, long after the accuracy has settled.

best_loss, _ = scores["best", "fresh"]

fig, ax = plt.subplots()
ax.semilogy(range(1, len(losses) + 1), losses, label="learned, training points")
ax.axhline(best_loss, color="black", linestyle="--", label="best, fresh points")
ax.set(xlabel="epoch", ylabel="loss (cross-entropy)")
ax.legend()
save_figure(fig, args.output / "classification_loss.png")

# %%
# Decision regions
# ----------------
# The colour is the probability that the model gives to class 0; the decision changes
# with the hue, at 0.5. Far from all points the model has nothing to go by, and is as
# sure of itself as near them.

hues = [(0, "C1"), (0.5, "#f7d9c2"), (0.5, "#bcdcef"), (1, "C0")]
fig, ax = plt.subplots(figsize=(6.5, 5.5))
regions = ax.imshow(
    snapshots[-1],
    cmap=LinearSegmentedColormap.from_list("regions", hues, N=10),
    alpha=0.5,
    vmin=0,
    vmax=1,
    extent=(-6, 6, -6, 6),
    origin="lower",
)
fig.colorbar(regions, label="probability of class 0", ticks=[0, 0.5, 1])
for label, marker in enumerate("os"):
    points = x[y == label].cpu()
    ax.plot(
        *points.T, marker, markersize=5, mec="white", mew=0.5, label=f"class {label}"
    )
ax.axline((0, 0), slope=-1, color="black", linestyle="--", label="best boundary")
title = ax.set_title(f"epoch {pauses[-1]}")
ax.set(xlabel="first coordinate", ylabel="second coordinate")
fig.legend(loc="outside lower center", ncols=3)
save_figure(fig, args.output / "classification.png")

# %%
# The same figure, from the random start on. Its layout is settled, and need not be
# computed again for each picture.

fig.set_layout_engine("none")


def draw(frame):
    regions.set_data(snapshots[frame])
    title.set_text(f"epoch {pauses[frame]}")


animation = FuncAnimation(fig, draw, frames=len(snapshots))
with replacing(args.output / "classification.gif") as part:
    animation.save(part, PillowWriter(fps=5), dpi=100)
