"""
The training loop and the learning rate
=======================================

How does a model learn? It repeats three steps: predict, measure the error, change its
numbers a little. Here is each step on the smallest problem there is: three points on
the line y = 2x, and a model w x + b with two numbers to learn, the *weight* w and the
*bias* b. Afterwards you can write a training loop, and choose its learning rate.
"""

# %%
# Setup
# -----
# From files beside this one: `parse_args` reads options such as ``--epochs 300``, or
# takes these defaults, and `compare` checks your solution of the last task. A model
# starts with random numbers; the same *seed* gives the same ones in each run.

import matplotlib.pyplot as plt
import torch
from torch import nn

from cli import parse_args
from common import compare, save_figure

args = parse_args(__doc__, epochs=200, lr=0.03, seed=0)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# A *tensor* is PyTorch's array. These have a row for each example, and one column. The
# numbers are floats, 1.0 and not 1, since a model computes with floats.

x = torch.tensor([[1.0], [2.0], [3.0]])  # shape (3, 1)
y = torch.tensor([[2.0], [4.0], [6.0]])

# %%
# Model and loss
# --------------
# ``nn.Linear(1, 1)`` takes one number and returns one, w x + b. To find such a line for
# points is *linear regression*. The weight and the bias are its *parameters*: the
# numbers that training changes. They start at random, so the first predictions are
# wrong. The *loss* says how wrong, in one number: here the sum of the three squared
# errors. (``item()`` turns a tensor with one number into a float.)

model = nn.Linear(1, 1)
start = [model.weight.item(), model.bias.item()]
print(f"weight {start[0]:.3f}, bias {start[1]:.3f}")
print("predictions", model(x).flatten().tolist())
loss_fn = nn.MSELoss(reduction="sum")  # "mean squared error", here the sum
loss = loss_fn(model(x), y)
print(f"loss {loss.item():.2f}")

# %%
# Gradient
# --------
# Should the weight become larger or smaller? The *derivative* of the loss tells: if the
# weight grows by 0.001, the loss grows by about 0.001 times the derivative.
# ``backward()`` computes the derivative for each parameter, and stores it in ``grad``.
# These derivatives are the *gradient*. The last lines measure one, as a check.

print("before backward():", model.weight.grad)
loss.backward()
print(f"after backward(): {model.weight.grad.item():.1f}")
with torch.no_grad():  # PyTorch records what it computes for backward(), not here
    moved = loss_fn((model.weight + 0.001) * x + model.bias, y)
print(f"measured: {(moved.item() - loss.item()) / 0.001:.1f}")

# %%
# One step
# --------
# A positive gradient says: the loss grows with the weight. So make the weight smaller.
# A negative one says the opposite. Each parameter moves against its gradient:
#
# ``weight = weight - lr * weight.grad``
#
# The *learning rate* (lr) sets the size of the step. This is *gradient descent*. An
# *optimizer* updates all parameters in this way: its ``step()`` reads their ``grad``.

# SGD: stochastic gradient descent (nothing is random here yet)
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
by_hand = model.weight.item() - args.lr * model.weight.grad.item()
optimizer.step()
print(f"weight after one step: {model.weight.item():.4f}, by hand: {by_hand:.4f}")

# %%
# Training
# --------
# Now all of it, many times, from the same start: the same seed gives the same numbers.
# One pass over all the data is an *epoch*. ``backward()`` adds to the old gradients, so
# ``zero_grad()`` clears them first.
#
# .. guess::
#
#    Does the loss fall by the same amount in each epoch? What will the weight be?

torch.manual_seed(args.seed)
model = nn.Linear(1, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
losses = []
for epoch in range(1, args.epochs + 1):
    prediction = model(x)  # forward: predict
    loss = loss_fn(prediction, y)  # how wrong is it?
    optimizer.zero_grad()  # clear the old gradients
    loss.backward()  # backward: compute the new ones
    optimizer.step()  # update the parameters
    losses.append(loss.item())
    if epoch <= 3 or epoch % 50 == 0:
        print(f"epoch {epoch:3}  loss {loss.item():.6f}")

# %%
# Result
# ------
# Not by the same amount: after the first steps, each epoch multiplies the loss by the
# same factor, a little below 1. On a logarithmic axis that is a straight line.

weight, bias = model.weight.item(), model.bias.item()
print(f"weight {weight:.3f}, bias {bias:.3f} (exact: 2 and 0)")
print(f"prediction for 4: {weight * 4 + bias:.3f} (exact: 8)")
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
left.plot(x, y, "ko", label="data")
left.plot(x, start[0] * x + start[1], "C1--", label="before training")
left.plot(x, weight * x + bias, "C0", label="after training")
left.set(xlabel="x", ylabel="y")
left.legend()
right.semilogy(range(1, args.epochs + 1), losses)
right.set(xlabel="epoch", ylabel="loss")
save_figure(fig, args.output / "linear_regression_case1.png")

# %%
# Choosing the learning rate
# --------------------------
# What does the rate do? Leave out the bias. For x = 1, 2, 3 the error is (w - 2) x, so
# the loss is :math:`(1 + 4 + 9) (w - 2)^2`, a parabola with its minimum at 2. Its
# derivative is :math:`28 (w - 2)`. A step at a rate of 0.01 moves w by 0.28 (w - 2)
# towards 2. It leaves 0.72 of the distance: the factor is :math:`1 - 28 \cdot 0.01`.
#
# .. guess::
#
#    The weight starts at 0. At rates of 0.03, 0.055 and 0.075 the factor is 0.16,
#    -0.54 and -1.1. Where is the weight after one step? And after many?

curve = torch.linspace(-1.4, 5.4, 100)
fig, axes = plt.subplots(1, 4, figsize=(11, 3.4), sharey=True)
for ax, rate in zip(axes, [0.01, 0.03, 0.055, 0.075]):
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    path = [0.0]
    for _ in range(5):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        path.append(model.weight.item())
    print(f"rate {rate}: weight", *[f"{w:.3f}" for w in path])
    ax.plot(curve, 14 * (curve - 2) ** 2, "0.6")
    ax.plot(path, [14 * (w - 2) ** 2 for w in path], "o-", label="steps")
    ax.set(title=f"learning rate {rate}", xlabel="weight", ylim=(-6, 155))
axes[0].set_ylabel("loss")
save_figure(fig, args.output / "linear_regression_case1_rates.png")

# %%
# The grey curve is the loss, the dots the start and five steps. 0.01 is slow, 0.03
# fast. 0.055 jumps to the other side at each step, but comes closer: it *converges*.
# 0.075 jumps further away: it *diverges*. With a model of your own, begin with 0.01. If
# the loss grows, divide the rate by 3; if it falls slowly, multiply it by 3. On the web
# page of this lesson you can try each rate.
#
# .. interactive:: bowl

# %%
# In short
# --------
# - Training repeats: forward, loss, ``zero_grad()``, ``backward()``, ``step()``.
# - ``grad`` says how fast the loss grows with a parameter; ``step()`` goes against it.
# - Too small a learning rate is slow, too large a one diverges.
#
# Next: data from NumPy, and its types and shapes.

# %%
# Try it
# ------
# 1. *Predict.* A third of the rate, but three times as many epochs: which loss do you
#    expect in the last epoch? Write it down, then run
#    ``python examples/linear_regression_case1.py --lr 0.01 --epochs 600``.
# 2. *Change.* In the loop under *Training*, move the line ``optimizer.zero_grad()``: to
#    the top of the loop, to its end (not into the ``if``), or between ``backward()``
#    and ``step()``. Which one spoils the training, and why? And without the line?
# 3. *Write.* Learn the line y = 3x - 1 from the four points with x = 0, 1, 2 and 3:
#    data, model, loss, optimizer, loop, without looking at the code above. Put your
#    lines in place of ``yours = None``. End with
#    ``yours = [model.weight.item(), model.bias.item()]``. If it differs by little, take
#    more epochs; if by much, or by nan (*not a number*), a smaller rate.

yours = None
compare("weight and bias", yours, [3.0, -1.0], within=0.01)

# %%
# Answers
# -------
# 1. About the same as before, 0.0001. Where a step removes only a little, three of them
#    do as much as one that is three times as large.
# 2. Between ``backward()`` and ``step()``: the new gradients are cleared before they
#    are used, so the parameters, and the loss, stay as they are. At the top and at the
#    end nothing changes: the old gradients are cleared before new ones are added.
#    Without the line, each step uses the sum of all gradients so far. The loss goes up
#    and down and does not settle.
# 3. One way to write it, with the mean of the squared errors. It is a quarter of their
#    sum, so its gradient is a quarter, too, and the rate can be larger::
#
#        x = torch.tensor([[0.0], [1.0], [2.0], [3.0]])
#        y = 3 * x - 1
#        model = nn.Linear(1, 1)
#        loss_fn = nn.MSELoss()
#        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
#        for epoch in range(200):
#            loss = loss_fn(model(x), y)
#            optimizer.zero_grad()
#            loss.backward()
#            optimizer.step()
#        yours = [model.weight.item(), model.bias.item()]
