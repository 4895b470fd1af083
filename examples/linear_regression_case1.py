r"""
Linear regression, case 1: the training loop and the learning rate
==================================================================

Most lessons take the same steps: data, model, loss and optimizer, and a training loop
of *forward, backward, update*. Here the loop is written out, on the smallest problem
there is: three points on the line :math:`y = 2x`, and a model with two parameters,

.. math:: \hat y = w x + b.

A loss of two parameters can be drawn as a surface. It shows why the loss falls fast and
then crawls, and how to choose the learning rate.
"""

# %%
# Setup
# -----
# `parse_args` reads the command line: ``--epochs 10``, ``--lr 0.02``, ``--help`` for
# all options. It also seeds the random number generator, so that the same command draws
# the same numbers.

import matplotlib.pyplot as plt
import torch
from torch import nn

from cli import parse_args
from common import pick_device, require_finite, save_figure

args = parse_args(__doc__, epochs=50, lr=0.01, published=False, seed=0, device="cpu")
args.device = pick_device(args.device)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# One row per example, one column per feature, even if there is only one feature.

x = torch.tensor([[1.0], [2.0], [3.0]], device=args.device)  # (3, 1)
y = torch.tensor([[2.0], [4.0], [6.0]], device=args.device)

# %%
# Model
# -----
# ``nn.Linear(1, 1)`` holds the weight :math:`w` and the bias :math:`b`. PyTorch draws
# both at random, here from -1 to 1, so another ``--seed`` prints other losses.
# ``--published`` sets the values that the published tutorial (README, *Credits*)
# started from; they were computed from the losses that it printed.

model = nn.Linear(1, 1).to(args.device)
if args.published:
    with torch.no_grad():  # do not record this for backward()
        model.weight.fill_(-0.79839007)
        model.bias.fill_(-0.53242773)
start = torch.cat([model.weight[0], model.bias]).detach().cpu()  # (w, b)
print(f"start:   weight {start[0]:.6f}, bias {start[1]:.6f}")

# %%
# Loss and optimizer
# ------------------
# The loss is the sum of the squared errors of the three points. SGD updates each
# parameter by subtracting its gradient times the learning rate.

loss_fn = nn.MSELoss(reduction="sum")
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)

# %%
# Where is the gradient? ``backward()`` computes the derivative of the loss with respect
# to each parameter and adds it to the ``grad`` attribute of that parameter. For this
# loss the derivative with respect to :math:`w` is
# :math:`2 \sum_i (\hat y_i - y_i) x_i`, so it can be checked.

prediction = model(x)
loss_fn(prediction, y).backward()
error = prediction.detach() - y
formula = 2 * torch.sum(error * x).item()
print(f"weight.grad: {model.weight.grad.item():.3f}, by the formula: {formula:.3f}")

# %%
# Training
# --------
# ``zero_grad()`` clears the old gradients, since ``backward()`` adds to what is there.
# The published tutorial shows a run of 10 epochs and one of 50; with ``--published``
# the output contains both.

losses = []
for epoch in range(args.epochs):
    prediction = model(x)  # forward
    loss = loss_fn(prediction, y)
    optimizer.zero_grad()
    loss.backward()  # backward
    optimizer.step()  # update
    losses.append(loss.item())
    require_finite(losses[-1], epoch, args.lr)  # stops if infinite or NaN
    print(f"epoch {epoch:4d}  loss {losses[-1]:#.6g}")

# %%
# Result
# ------
# The points lie exactly on a line, so the best possible answer is known.

with torch.no_grad():
    weight, bias = model.weight.item(), model.bias.item()
    prediction = model(torch.tensor([[4.0]], device=args.device)).item()
print(f"learned: weight {weight:.6f}, bias {bias:.6f}  (exact: 2 and 0)")
print(f"prediction for 4: {prediction:.6f}  (exact: 8)")

# %%
# Why the loss falls fast and then crawls
# ---------------------------------------
# For a linear model and squared errors, the loss as a function of weight and bias is a
# bowl, here with one minimum. It is steep in one direction and flat in the direction
# perpendicular to it. The second derivatives of the loss form a matrix, the *Hessian*
# :math:`2 A^\top A`, where the rows of :math:`A` are :math:`(x_i, 1)`. Its eigenvectors
# are the two directions, and its eigenvalues :math:`\lambda` are the *curvatures* of
# the loss in these directions.
#
# Along each direction, a step multiplies the offset from the minimum by
# :math:`1 - \text{lr} \cdot \lambda`. At the default rate a third of the distance is
# gone after one step in the steep direction, and less than a hundredth in the flat one.
# So the loss falls fast at first, and crawls when only the flat direction is left.

A = torch.cat([x, torch.ones_like(x)], dim=1).cpu()  # (3, 2)
flat, steep = torch.linalg.eigvalsh(2 * A.T @ A).tolist()  # in ascending order
print(f"steep direction: curvature {steep:5.2f}, factor {1 - args.lr * steep:.3f}")
print(f"flat direction:  curvature {flat:5.2f}, factor {1 - args.lr * flat:.3f}")

# %%
# Choosing the learning rate
# --------------------------
# Training converges if both factors lie between -1 and 1, that is, if the rate is below
# 2 divided by the largest curvature. To see what happens below and above this limit,
# take 50 steps from the same start with four rates. The gradient comes from the formula
# now, for weight and bias together: :math:`2 A^\top` times the errors.

targets = y.flatten().cpu()


def loss_at(points):  # of shape (..., 2): one loss for each (w, b)
    return ((points @ A.T - targets) ** 2).sum(-1)


rates = (0.01, 0.03, 0.055, 0.061)
paths, curves = {}, {}
print(f"limit of the learning rate: 2 / {steep:.2f} = {2 / steep:.4f}")
print("  rate   steep    flat   loss after 10 steps   after 50")
for rate in rates:
    points = [start]
    for _ in range(50):
        points.append(points[-1] - rate * 2 * A.T @ (A @ points[-1] - targets))
    paths[rate] = torch.stack(points)  # (51, 2)
    curves[rate] = loss_at(paths[rate])
    factors = f"{1 - rate * steep:7.3f} {1 - rate * flat:7.3f}"
    print(f"{rate:6} {factors} {curves[rate][10]:21.5f} {curves[rate][50]:10.5f}")

# %%
# The contours below are lines of equal loss: the bowl is a long, narrow valley. The
# square is the start, the cross the minimum. Compare how each path crosses the valley,
# in the steep direction, and how far it gets along it, in the flat one:
#
# - 0.01 goes straight to the bottom of the valley and then crawls along it.
# - 0.03 is half of the limit. Its steep factor is nearly 0, so the first step ends
#   almost at the bottom of the valley. Along the valley it is faster than 0.01.
# - 0.055 jumps across the valley at every step, each time a bit less far. Along the
#   valley it is the fastest of the three. So it is behind 0.03 after 10 steps, and
#   ahead of it after 50.
# - 0.061 is above the limit and jumps further at every step: it *diverges*.

w, b = torch.meshgrid(
    torch.linspace(-1.5, 5.5, 141), torch.linspace(-2.2, 2.2, 89), indexing="xy"
)
surface = loss_at(torch.stack([w, b], dim=-1))  # (89, 141)

fig, axes = plt.subplots(2, 2, figsize=(9, 6.3), sharex=True, sharey=True)
for index, (ax, (rate, path)) in enumerate(zip(axes.flat, paths.items())):
    ax.contour(w, b, surface, [0.1, 0.5, 2, 8, 32, 128], colors="0.6", linewidths=1)
    ax.plot(path[:, 0], path[:, 1], f"C{index}o-", markersize=4, linewidth=0.6)
    ax.plot(start[0], start[1], "ks")
    ax.plot(2, 0, "kx", markersize=9)
    ax.set(xlim=(-1.5, 5.5), ylim=(-2.2, 2.2), title=f"learning rate {rate}")
    ax.set_aspect("equal")
    ax.grid(False)
fig.supxlabel("weight")
fig.supylabel("bias")
save_figure(fig, args.output / "linear_regression_case1.png")

# %%
# The curvatures of a larger model are seldom known, but its loss is. So raise the rate
# until the loss rises, then take a half or a third of that rate. Here this gives
# 0.03 or 0.02. A rate closer to the limit can be faster, as 0.055 is in the end, but it
# leaves no margin: a tenth more diverges.

# %%
# Try it
# ------
# 1. Run ``python examples/linear_regression_case1.py --lr 0.06`` and
#    ``python examples/linear_regression_case1.py --lr 0.061``. In which of the two does
#    the loss rise? Is the other one a good rate?
# 2. How many times fewer epochs does three times the rate need? Compare the first epoch
#    with a loss below 0.001 in the output of
#    ``python examples/linear_regression_case1.py --epochs 500`` and
#    ``python examples/linear_regression_case1.py --epochs 500 --lr 0.03``.
# 3. In the training loop, replace ``optimizer.zero_grad()`` by ``pass`` and run the
#    lesson. What does the loss do, and why?

# %%
# Answers
# -------
# 1. It rises with 0.061, which is above the limit of 0.0601. With 0.06 it falls in
#    every epoch, but so slowly that it ends above 31, where 0.01 ends below 0.3: the
#    steep factor is -0.997, so a step keeps nearly all of the distance across the
#    valley.
# 2. Epoch 443 with 0.01 and epoch 147 with 0.03, so three times fewer. Along the valley
#    a rate three times as large is three times as fast, as long as it is below the
#    limit.
# 3. It goes up and down and does not settle. ``backward()`` adds to the old gradients,
#    so each step uses the sum of all gradients so far, not that of the current loss.
