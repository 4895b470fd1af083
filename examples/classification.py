r"""
What a hidden layer is for
==========================

Logistic regression separates two classes by a straight line. What if no line can? A
network with a hidden layer draws several lines and combines them. Afterwards you can
build one, choose its size, and say how far it is from the best possible answer.
"""

# %%
# Setup
# -----

import matplotlib.pyplot as plt
import torch
from torch import nn

from cli import parse_args
from common import compare, evaluate, fit, save_figure

args = parse_args(__doc__, epochs=100, lr=0.5, seed=0)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# Each point is the centre of its cluster plus random numbers. ``torch.randn`` draws
# them with mean 0 and standard deviation 1. Clusters at opposite corners are one class.
# The loss below needs labels that are integers, of shape (n,) and not (n, 1). Training
# uses 400 points. The others, 100,000, are *fresh*: they only measure the result.

centres = torch.tensor([[2.0, 2.0], [-2.0, -2.0], [2.0, -2.0], [-2.0, 2.0]])
classes = torch.tensor([0, 0, 1, 1])
cluster = torch.arange(len(centres)).repeat(25_100)  # 0, 1, 2, 3, 0, 1, 2, 3, ...
points = centres[cluster] + torch.randn(len(cluster), 2)
labels = classes[cluster]
x, y, fresh_x, fresh_y = points[:400], labels[:400], points[400:], labels[400:]


def show_points(ax, x, y):
    ax.plot(x[y == 0, 0], x[y == 0, 1], "o", color="mediumblue", ms=3, label="class 0")
    ax.plot(x[y == 1, 0], x[y == 1, 1], "s", color="firebrick", ms=3, label="class 1")
    ax.set(xlim=(-6, 6), ylim=(-6, 6), aspect="equal", xlabel="x1", ylabel="x2")


print(f"points {tuple(x.shape)} {x.dtype}, labels {tuple(y.shape)} {y.dtype}")
fig, ax = plt.subplots(figsize=(5, 4.6))
show_points(ax, x, y)
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)  # above the axes
save_figure(fig, args.output / "classification_data.png")

# %%
# Model
# -----
# The first layer computes ten numbers from a point, each w1 x1 + w2 x2 + b. ``nn.ReLU``
# replaces the negative ones by 0. (*ReLU* is short for "rectified linear unit".) So
# each of the ten is 0 on one side of a line, and grows on the other side. They are the
# units of a *hidden layer*, neither inputs nor outputs. The last layer multiplies them
# by weights and adds: one sum for each class, its logit.

model = nn.Sequential(nn.Linear(2, 10), nn.ReLU(), nn.Linear(10, 2))

# %%
# Loss
# ----
# The *softmax* turns logits into probabilities: it divides each :math:`e^z` by their
# sum. With the logits 2 and 0, the probability of class 0 is the sigmoid of 2.
# ``CrossEntropyLoss`` takes logits, applies the softmax, and returns the mean of -log p
# for the right class. The predicted class has the largest logit: ``argmax``.
# (``dim=1``: along each row.)

loss_fn = nn.CrossEntropyLoss()
logits, label = torch.tensor([[2.0, 0.0]]), torch.tensor([1])
p = logits.softmax(dim=1)
print("softmax", p, "class", logits.argmax(dim=1))
print(f"-log p {-p[0, 1].log():.4f}, loss {loss_fn(logits, label):.4f}")

# %%
# Training
# --------
# `common.fit` is the loop of linear regression 1, ``train`` a call of it.


def train(model, x, y, log_every=0):
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    return fit(model, x, y, loss_fn, optimizer, args.epochs, log_every)


losses = train(model, x, y, log_every=20)

# %%
# Result
# ------
# The clusters overlap, so no rule is always right. The best rule looks at the signs:
# equal signs are class 0. Of the numbers of ``randn``, 2.275 % are above 2 (a table of
# the normal distribution tells), and as many below -2. So a coordinate keeps the sign
# of its centre with a probability of 0.97725. The rule is right if both do, or neither
# does. The accuracy of the best rule is called *Bayes accuracy*. `common.evaluate`
# returns the loss and the accuracy of the model, here on the fresh points.

fresh_loss, accuracy = evaluate(model, fresh_x, fresh_y, loss_fn)
best_accuracy = 0.97725**2 + 0.02275**2
print(f"accuracy on fresh points {accuracy:.4f}, best possible {best_accuracy:.4f}")

# %%
# The part of the plane where a class is predicted is its *decision region*: blue for
# class 0, red for class 1. Each black line is where w1 x1 + w2 x2 + b of a hidden unit
# is 0. Between these lines, the boundary of the regions is straight.

side = torch.linspace(-6, 6, 121)
grid = torch.cartesian_prod(side, side)  # all points of a grid, shape (14641, 2)


def show_regions(ax, model):
    """Draw the probability of class 0, the points, and a line for each hidden unit."""
    with torch.inference_mode():
        p = model(grid).softmax(dim=1)[:, 0].reshape(121, 121).T  # a row for each x2
    show_points(ax, x, y)
    for (w1, w2), b in zip(model[0].weight.tolist(), model[0].bias.tolist()):
        ax.axline((0, -b / w2), slope=-w1 / w2, color="black", linewidth=1)
    return ax.contourf(side, side, p, torch.arange(11) / 10, cmap="RdBu", alpha=0.6)


fig, ax = plt.subplots(figsize=(6.5, 5))
fig.colorbar(show_regions(ax, model), label="probability of class 0")
save_figure(fig, args.output / "classification.png")

# %%
# Without the ReLU
# ----------------
# What makes the difference: the second layer, or the ReLU? First leave out both. Then
# keep both layers, and leave out the ReLU.
#
# .. guess::
#
#    Which accuracy do you expect of one layer, and which of two without a ReLU?

linear = nn.Linear(2, 2)
stacked = nn.Sequential(nn.Linear(2, 10), nn.Linear(10, 2))
for name, net in [("one layer", linear), ("two layers", stacked)]:
    train(net, x, y)
    net_loss, net_accuracy = evaluate(net, fresh_x, fresh_y, loss_fn)
    print(f"{name}: accuracy {net_accuracy:.4f}, loss {net_loss:.3f}")

# %%
# It is the ReLU. A sum of lines is a line, so two linear layers can do no more than
# one. A line through the middle is right for half of the points, and training finds
# nothing better than a probability of about 1/2 everywhere, with a loss of about log 2,
# or 0.693. A function such as the ReLU, between layers, is an *activation function*.

# %%
# How many hidden units?
# ----------------------
# Change only the number of units, from 1 to 100. Train each from five random starts.
#
# .. guess::
#
#    How many lines do four clusters need? Does the start matter? Are 100 units better?

fig, axes = plt.subplots(1, 4, figsize=(12, 3.3))
for i, width in enumerate([1, 2, 3, 4, 10, 100]):
    accuracies = []
    for _ in range(5):
        net = nn.Sequential(nn.Linear(2, width), nn.ReLU(), nn.Linear(width, 2))
        train(net, x, y)
        accuracies.append(evaluate(net, fresh_x, fresh_y, loss_fn)[1])
    print(f"units {width:3}:", *[f"{a:.3f}" for a in accuracies])
    if width <= 4:
        show_regions(axes[i], net)  # after the last start
        axes[i].set_title(f"units: {width}, accuracy {accuracies[-1]:.2f}")
save_figure(fig, args.output / "classification_width.png")

# %%
# One unit draws one line: every start stays below 0.70. Two lines are not enough,
# either: every start stays below 0.90. Three or four can be, but it can depend on the
# start.
# With ten every start comes near the best possible accuracy, and a hundred are about as
# good. No formula tells the number for your data: try 10 and 100, and compare on fresh
# points. On the web page of this lesson you can watch the units learn.
#
# .. interactive:: hidden

# %%
# In short
# --------
# - Linear layers alone draw a line; with a ReLU between them, the boundary bends.
# - ``CrossEntropyLoss`` takes a logit for each class, and labels that are integers.
# - Take more hidden units than seem necessary, and compare on fresh points.
#
# Next: other activation functions, and how much of the gradient they let through.

# %%
# Try it
# ------
# 1. *Predict.* Now two clusters, as two classes: put
#    ``centres = torch.tensor([[2.0, 2.0], [-2.0, -2.0]])`` and
#    ``classes = torch.tensor([0, 1])`` under *Data*. The best possible accuracy is then
#    0.9977. (The lesson still prints that of four clusters.) Which accuracy do you
#    expect of the model, and which of one layer? Write it down, then run the lesson.
# 2. *Change.* A common mistake is a softmax in front of ``CrossEntropyLoss``. In the
#    line that begins with ``model =``, put ``, nn.Softmax(dim=1)`` after
#    ``nn.Linear(10, 2)``. What happens to the accuracy? The loss now takes
#    probabilities for logits. What is the smallest loss then?
# 3. *Write.* Compute the logits of the trained ``model`` for all points x, from its
#    weights and biases: two matrix products (``@``), no call of a layer. A weight has a
#    row for each output, so multiply x by ``weight.T``.

yours = None
compare("logits", yours, model(x))

# %%
# Answers
# -------
# 1. Both come near 0.9977. The best boundary is the line halfway between the centres,
#    so no hidden layer is needed.
# 2. The accuracy is about the same, but the loss stays above 0.3133. The loss applies
#    its own softmax to your probabilities. With the best ones, 1 and 0, the right class
#    gets e / (e + 1) = 0.7311, with a loss of log(1 + 1 / e) = 0.3133. The accuracy
#    only asks which logit is larger, and the softmax keeps their order.
# 3. The ReLU is ``clamp(min=0)``::
#
#        hidden = (x @ model[0].weight.T + model[0].bias).clamp(min=0)
#        yours = hidden @ model[2].weight.T + model[2].bias
