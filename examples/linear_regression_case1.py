r"""
Linear regression, case 1: three points and the training loop
=============================================================

Every lesson takes the same steps: data, model, loss and optimizer, and a training loop
of *forward, backward, update*. Here the loop is written out, on the smallest problem
there is: three points on the line :math:`y = 2x`, and a model of two numbers,

.. math:: \hat y = w x + b.

Two questions that every beginner asks are answered on the way. Why do two runs of one
script print different losses? And why does the loss fall fast, and then crawl?
"""

# %%
# Setup
# -----
# `parse_args` reads the command line: ``--epochs 10``, ``--lr 0.02``, ``--help`` for all.
# It also seeds the random numbers, so that the same command prints the same figures.

import matplotlib.pyplot as plt
import torch
from torch import nn

from cli import parse_args
from common import require_finite, save_figure

args = parse_args(__doc__, epochs=50, lr=0.01, published=False)

# %%
# Data
# ----
# One row per example, one column per feature, also where there is only one:
# ``nn.Linear`` works along the last axis, and by custom the first one counts examples.

x = torch.tensor([[1.0], [2.0], [3.0]], device=args.device)  # (3, 1)
y = torch.tensor([[2.0], [4.0], [6.0]], device=args.device)

# %%
# Model
# -----
# ``nn.Linear(1, 1)`` holds the weight :math:`w` and the bias :math:`b`. It starts both
# at random: PyTorch draws them from :math:`U(-1/\sqrt n, 1/\sqrt n)` for :math:`n`
# inputs, here :math:`U(-1, 1)`. That is why two runs differ, unless they share a seed.
# ``--published`` puts in the numbers that the published run started from. It did not
# print them; they were solved back from its losses.

model = nn.Linear(1, 1).to(args.device)
if args.published:
    with torch.no_grad():  # autograd watches parameters; this is no training step
        model.weight.fill_(-0.79839007)
        model.bias.fill_(-0.53242773)
start = torch.cat([model.weight[0], model.bias]).detach().cpu()
print(f"start:   weight {start[0]:.6f}, bias {start[1]:.6f}")

# %%
# Loss and optimizer
# ------------------
# The squared errors, summed over the three points. SGD moves each parameter a step
# against its gradient: the gradient times the learning rate.

loss_fn = nn.MSELoss(reduction="sum")
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)

# %%
# Training
# --------
# This loop is the heart of every lesson. The published tutorial ran 10 epochs, then 50;
# with ``--published`` the first ten lines below are its first run.

losses = []
for epoch in range(args.epochs):
    prediction = model(x)  # forward
    loss = loss_fn(prediction, y)
    optimizer.zero_grad()  # backward() adds to the gradients that are there
    loss.backward()  # backward
    optimizer.step()  # update
    losses.append(loss.item())
    require_finite(losses[-1], epoch, args.lr)
    print(f"epoch {epoch:4d}  loss {losses[-1]:#.6g}")

# %%
# Result
# ------
# The points lie on a line exactly, so the best possible answer is known.

with torch.no_grad():
    weight, bias = model.weight.item(), model.bias.item()
    prediction = model(torch.tensor([[4.0]], device=args.device)).item()
print(f"learned: weight {weight:.6f}, bias {bias:.6f}  (exact: 2 and 0)")
print(f"prediction for 4: {prediction:.6f}  (exact: 8)")

# %%
# Why the loss falls fast and then crawls
# ---------------------------------------
# With a squared error and a linear model the loss, over weight and bias, is a bowl, and
# has a steepest direction and, across it, a flattest one. Its second derivatives tell
# which: they form a matrix, the *Hessian* :math:`2 A^\top A`, where the rows of
# :math:`A` are :math:`(x_i, 1)`. Its eigenvectors are the two directions, and its
# eigenvalues :math:`\lambda` the curvatures there. A step of gradient descent
# multiplies the error along each by :math:`1 - \text{lr} \cdot \lambda`: little is
# left of it in the steep direction, nearly all of it in the flat one.

A = torch.cat([x, torch.ones_like(x)], dim=1).cpu()  # (3, 2)
curvatures, directions = torch.linalg.eigh(2 * A.T @ A)  # ascending: flat, steep
shrink = 1 - args.lr * curvatures
for name, curvature, factor in zip(
    ("steep", "flat"), curvatures.flip(0), shrink.flip(0), strict=True
):
    print(
        f"{name:5} direction: curvature {curvature:5.2f}, error x {factor:.3f} an epoch"
    )

# %%
# This loss is :math:`\tfrac12 \sum_i \lambda_i e_i^2`, where :math:`e_i` is the error
# along direction :math:`i`. So each direction contributes a straight line on a
# logarithmic scale, and the loss is the sum of the two. The steep part is soon gone;
# what remains is the flat one.

error = directions.T @ (start - torch.tensor([2.0, 0.0]))  # along the two directions
epochs = torch.arange(args.epochs)
first = curvatures * error**2 / 2  # what each contributes to the loss of epoch 0
flat, steep = first[:, None] * shrink[:, None] ** (2 * epochs)  # (2, epochs)

fig, ax = plt.subplots()
ax.semilogy(epochs, losses, "o", label="loss")
ax.semilogy(epochs, steep, "--", label="part of the steep direction")
ax.semilogy(epochs, flat, "-", label="part of the flat direction")
ax.set(xlabel="epoch", ylabel="loss (sum of squared errors)")
ax.set_ylim(bottom=min(losses) / 10)
ax.legend()
save_figure(fig, args.output / "linear_regression_case1.png")
