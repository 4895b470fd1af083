"""
From NumPy and scikit-learn to PyTorch: type and shape
======================================================

Data often comes as NumPy arrays. Here 1000 points become tensors, and a model learns
the same line as scikit-learn. Then come the two usual mistakes. Inputs of a wrong
*type* end in an error. Answers of a wrong *shape* do not, but the model learns nothing.
Afterwards you can use an array, read an error message, and find a wrong shape.
"""

# %%
# Setup
# -----

import re
import traceback

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import make_regression
from sklearn.linear_model import LinearRegression
from torch import nn

from cli import parse_args
from common import compare, save_figure

args = parse_args(__doc__, epochs=100, lr=0.1, seed=0)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# The inputs are called *features*, the numbers to be predicted *targets*. ``noise=10``
# moves each target off the line, by about 10, so even the best line has a mean squared
# error of about 100.

features, targets = make_regression(1000, 1, noise=10, random_state=args.seed)
print("features", features.shape, features.dtype, *features[:3].round(3))
print("targets", targets.shape, targets.dtype, *targets[:3].round(3))

# %%
# From NumPy to PyTorch
# ---------------------
# - *Type*, or dtype: these arrays are float64, numbers of 64 bits. The layers of
#   PyTorch are float32, and take no float64.
# - *Shape*: the model will return one column, (1000, 1), but the targets are (1000,).
#   ``reshape(-1, 1)`` makes a column of them. (-1 means: as many rows as needed.)

x = torch.from_numpy(features.astype(np.float32))
y = torch.from_numpy(targets.astype(np.float32)).reshape(-1, 1)
print("x", x.shape, x.dtype, "y", y.shape, y.dtype)

# %%
# Model
# -----
# Most models are a ``class``. ``__init__`` creates the layers; its first line prepares
# ``nn.Module`` for them. ``forward`` computes the output. Do not call it: call
# ``model(x)``, which calls ``forward``, and also what tools attach to a model.


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x):
        return self.linear(x)


model = Line()

# %%
# Training
# --------
# The loss is now the *mean* of the squared errors. Their sum is 1000 times as large,
# and so is its gradient. With the mean, one learning rate suits 10 examples and 1000.

loss_fn = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
for epoch in range(1, args.epochs + 1):
    loss = loss_fn(model(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    if epoch <= 3 or epoch % 20 == 0:
        print(f"epoch {epoch:3}  loss {loss.item():.2f}")

# %%
# Result
# ------
# `torch.inference_mode` is a faster ``no_grad``, for results that no ``backward()``
# needs. The line with the *least squares* of the errors comes from scikit-learn, which
# computes it directly.

with torch.inference_mode():
    final_loss = loss_fn(model(x), y).item()
weight, bias = model.linear.weight.item(), model.linear.bias.item()
best = LinearRegression().fit(features, targets)
w, b = best.coef_[0], best.intercept_
best_loss = np.mean((best.predict(features) - targets) ** 2)
print(f"learned:      weight {weight:.3f}, bias {bias:.3f}, loss {final_loss:.2f}")
print(f"scikit-learn: weight {w:.3f}, bias {b:.3f}, loss {best_loss:.2f}")

# %%
# Shared memory
# -------------
# `torch.from_numpy` and ``tensor.numpy()`` do not copy: array and tensor share memory.
# So do a parameter and its ``detach()``, a tensor that ``backward()`` does not follow.
# ``clone()`` copies. (Old programs have ``.data``: a ``detach()`` with fewer checks.)

array = np.zeros(3)
tensor = torch.from_numpy(array)
array[0] = 7
shared = model.linear.weight.detach()
copy = shared.clone()
shared[0] = 7
print(f"{tensor.tolist()}, weight {model.linear.weight.item()}, copy {copy.item()}")
shared[0] = copy  # put the learned weight back

# %%
# A wrong type
# ------------
# What if you forget ``astype``? Here is what Python prints of the error, the
# *traceback*, without folders. (``except`` catches the error, so the lesson goes on.)

try:
    model(torch.from_numpy(features))
except RuntimeError:
    print(re.sub(r'File ".*[\\/]', 'File "', traceback.format_exc()))

# %%
# Read it from the bottom. The last line says *what*: two types differ. (Double is
# float64, Float is float32; mat1 is the input, mat2 the weight.) The lowest line with
# the name of your file (in a notebook it is a number) says *where*: in ``forward``.

# %%
# A forgotten axis
# ----------------
# .. guess::
#
#    Three right predictions, of shape (3, 1), minus their targets, of shape (3,): how
#    many differences are printed? What is the mean of their squares?

table = torch.tensor([[1.0], [2.0], [3.0]]) - torch.tensor([1.0, 2.0, 3.0])
print(table, "mean square", (table**2).mean())

# %%
# Nine: each prediction minus each target. PyTorch repeats column and row until the
# shapes are equal: it *broadcasts* them. Only the diagonal holds the errors, all 0.
# ``nn.MSELoss`` warns, "Using a target size ... that is different to the input size". A
# formula of your own does not. Train with such a formula, from the same start. Each
# prediction is compared with all targets, so the best one is their mean. Its mean
# squared distance to the targets is their *variance*.

torch.manual_seed(args.seed)
wrong = Line()
optimizer = torch.optim.SGD(wrong.parameters(), lr=args.lr)
for _ in range(args.epochs):
    loss = ((wrong(x) - y.flatten()) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"loss {loss.item():.1f}, variance of the targets {targets.var():.1f}")
print(f"prediction {wrong(x[:1]).item():.3f}, mean of the targets {targets.mean():.3f}")
fig, ax = plt.subplots()
ax.plot(features, targets, "k.", alpha=0.2, label="data")
ax.plot(features, weight * features + bias, label="trained with y (1000, 1)")
ax.plot(features, wrong(x).detach(), label="trained with y (1000,)")
ax.set(xlabel="feature", ylabel="target")
ax.legend()
save_figure(fig, args.output / "linear_regression_case2.png")

# %%
# In short
# --------
# - Before you train, print the dtypes, and the shapes of ``model(x)`` and ``y``.
# - A traceback says what in its last line, where in the last one with your file.
# - ``from_numpy``, ``numpy`` and ``detach`` share memory; ``clone`` copies.
#
# Next: inputs that are far from 0, and a model that is saved.

# %%
# Try it
# ------
# 1. *Predict.* Here each epoch leaves about 0.8 of the distance to the best line, and
#    :math:`0.8^{10}` is about 0.11. Which weight do you expect after 10 epochs? Write
#    it down, then run ``python examples/linear_regression_case2.py --epochs 10``.
# 2. *Change.* Replace ``nn.MSELoss()`` by ``nn.MSELoss(reduction="sum")``. What happens
#    to the loss, and why? Which ``--lr`` learns the line of the default run?
# 3. *Write.* The program ``train`` has three faults; PyTorch reports one of them. Put
#    ``train()`` in place of ``None``, run, and repair the fault that you find, until
#    the line is right. What is the loss after each repair?


def train():  # should learn y = 3x - 1
    inputs = np.linspace(0, 3, 31)  # (31,)
    x = torch.from_numpy(inputs).reshape(-1, 1)
    y = torch.from_numpy(3 * inputs - 1).float()
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(1, 251):
        loss = ((model(x) - y) ** 2).mean()
        loss.backward()
        optimizer.step()
        if epoch % 50 == 0:
            print(f"epoch {epoch:3}  loss {loss.item():.3f}")
    return [model.weight.item(), model.bias.item()]


yours = None
compare("weight and bias", yours, [3.0, -1.0], within=0.001)

# %%
# Answers
# -------
# 1. About 0.89 of scikit-learn's, 73.
# 2. It grows until it is infinite, ``inf``, and then ``nan``, *not a number*: infinite
#    minus infinite. The gradient is 1000 times as large, and training diverges. A
#    thousandth of the rate, ``--lr 1e-4``, takes the same steps as the default run.
# 3. The message: x is float64. With ``float()`` the loss goes up and down and does not
#    settle: ``zero_grad()`` is missing. Then it settles, but at 7.200, the variance of
#    the targets: y has no second axis. Then it is 0.000. (If you repair y first, the
#    loss still goes up and down.) The three lines::
#
#        x = torch.from_numpy(inputs).float().reshape(-1, 1)
#        optimizer.zero_grad()
#        y = torch.from_numpy(3 * inputs - 1).float().reshape(-1, 1)
