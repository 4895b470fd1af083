r"""
Linear regression, case 2: from NumPy and scikit-learn to PyTorch
=================================================================

Data seldom comes as tensors. This lesson takes 1000 points from scikit-learn, converts
them to tensors and shows three things to watch: shared memory, the data type and the
shape. A wrong shape is the worst of them: the script runs, and the model learns nothing
from its input.

The model is the line of case 1, :math:`\hat y = w x + b`, now written as a class. The
training loop of case 1 is imported as `common.fit`.
"""

# %%
# Setup
# -----

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.datasets import make_regression
from sklearn.linear_model import LinearRegression
from torch import nn

from cli import parse_args
from common import fit, pick_device, save_figure

args = parse_args(__doc__, epochs=200, lr=1e-2, seed=0, device="cpu")
args.device = pick_device(args.device)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# The points scatter around a line through the origin: ``noise=10`` is the standard
# deviation of the noise in the targets, and ``coef=True`` also returns the true slope.

features, targets, true_weight = make_regression(
    n_samples=1000, n_features=1, noise=10, coef=True, random_state=args.seed
)
print(f"features {features.shape} {features.dtype}, targets {targets.shape}")

# %%
# From NumPy to PyTorch
# ---------------------
# `torch.from_numpy` does not copy: array and tensor share their memory, so a change
# of one changes the other. ``astype`` does copy.

array = np.zeros(3)
tensor = torch.from_numpy(array)
array[0] = 7
print(f"after array[0] = 7 the tensor is {tensor.tolist()}")

# %%
# The default floating-point type is float64 in NumPy and float32 in PyTorch, and
# ``nn.Linear`` does not accept a mixture. The targets also need a second axis, since
# the model returns one column: (1000,) becomes (1000, 1).

x = torch.from_numpy(features.astype(np.float32)).to(args.device)  # (1000, 1)
y = torch.from_numpy(targets.astype(np.float32)).reshape(-1, 1).to(args.device)

# %%
# Model
# -----
# A model is a class: ``__init__`` creates the layers, and ``forward`` computes the
# output from the input. For a single layer, ``nn.Linear`` alone would do.


class Line(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, x):
        return self.linear(x)


model = Line().to(args.device)
print(model)
for name, parameter in model.named_parameters():
    print(f"{name}: {tuple(parameter.shape)}, {parameter.dtype}")
# Training changes the parameters in place, so keep a copy for later.
start = {name: value.clone() for name, value in model.state_dict().items()}

# %%
# Loss and optimizer
# ------------------
# Case 1 took the sum of the squared errors, this lesson takes their *mean*. The sum
# grows with the number of points, and its curvatures grow with it, so the learning rate
# would have to shrink. The limits, 2 divided by the largest curvature, for both:

loss_fn = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)

A = np.column_stack([features, np.ones(len(features))])  # (1000, 2)
for n in (100, 1000):
    curvature = np.linalg.eigvalsh(2 * A[:n].T @ A[:n]).max()
    limit = 2 / curvature
    print(f"limit for {n:4} points: sum {limit:.5f}, mean {n * limit:.2f}")

# %%
# Training
# --------

losses = fit(model, x, y, loss_fn, optimizer, args.epochs)

# %%
# Result
# ------
# ``model.eval()`` switches off what only training needs, for example dropout, and
# ``model.train()``, which `common.fit` calls, switches it on. It changes nothing in
# this model, but it is a good habit. `torch.inference_mode` is like ``no_grad`` (case
# 1), with even less overhead, for code that only computes predictions.
#
# scikit-learn computes the best line directly. Even the best line is not quite the true
# one, because of the noise.

model.eval()
with torch.inference_mode():
    predictions = model(x)
    final_loss = loss_fn(predictions, y).item()
weight, bias = model.linear.weight.item(), model.linear.bias.item()

best = LinearRegression().fit(features, targets)
best_loss = np.mean((best.predict(features) - targets) ** 2)
print(f"learned:       weight {weight:8.4f}, bias {bias:7.4f}, loss {final_loss:.4f}")
print(
    f"least squares: weight {best.coef_[0]:8.4f}, bias {best.intercept_:7.4f}, "
    f"loss {best_loss:.4f}"
)
print(f"true line:     weight {true_weight:8.4f}, bias {0:7.4f}")

# %%
# A forgotten axis
# ----------------
# What if the targets keep the shape (n,)? Subtracting them from predictions of shape
# (n, 1) *broadcasts*: the result has the shape (n, n), every prediction minus every
# target. ``nn.MSELoss`` warns about this, a formula of your own does not. To see
# the effect, train on the first 100 points twice, from the same start: with the axis
# and without it.


def mean_squared_error(prediction, target):
    return ((prediction - target) ** 2).mean()


lines = {}
for target in (y[:100], y[:100].flatten()):
    model.load_state_dict(start)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    curve = fit(
        model, x[:100], target, mean_squared_error, optimizer, args.epochs, log_every=0
    )
    with torch.inference_mode():
        prediction = model(x[:100])
    lines[tuple(target.shape)] = prediction.cpu().numpy()
    w, b = model.linear.weight.item(), model.linear.bias.item()
    print(
        f"targets {tuple(target.shape)}: errors {tuple((prediction - target).shape)}, "
        f"loss {curve[0]:.0f} to {curve[-1]:.0f}, weight {w:.2f}, bias {b:.2f}"
    )
print(f"mean of these targets: {y[:100].mean():.2f}")

# %%
# Without the axis, each prediction is compared with all the targets. The best
# prediction is then their mean, whatever x is, so the weight goes to 0. No error is
# raised, and the loss even falls a little, but the line in the figure is flat. For
# the figure, ``cpu().numpy()`` converted the predictions to arrays.

fig, ax = plt.subplots()
ax.plot(features[:100], targets[:100], "ko", markersize=4, alpha=0.4, label="data")
for shape, line in lines.items():
    ax.plot(features[:100], line, linewidth=3, label=f"learned, targets {shape}")
ax.set(xlabel="feature", ylabel="target")
ax.legend()
save_figure(fig, args.output / "linear_regression_case2.png")

# %%
# Try it
# ------
# 1. The published tutorial says that a rate of 1e-3 needs about 1,900 epochs for what
#    1e-2 does in 200. Run
#    ``python examples/linear_regression_case2.py --lr 1e-3 --epochs 1900`` and compare
#    the learned line and its loss with those of the default run. Is it true? And what
#    does ``python examples/linear_regression_case2.py --lr 0.5 --epochs 10`` learn?
# 2. Replace ``nn.MSELoss()`` by ``nn.MSELoss(reduction="sum")`` and run the lesson.
#    What happens, and which ``--lr`` learns the line of the default run?
# 3. Replace ``features.astype(np.float32)`` by ``features`` and run the lesson. What
#    does PyTorch say?

# %%
# Answers
# -------
# 1. Nearly. The loss ends at 102.52 instead of 101.03, and 2,018 epochs give the same.
#    As long as rate times curvature is small, a tenth of the rate takes about ten times
#    the epochs. A rate of 0.5, about half of the limit, reaches the least-squares line
#    in 10.
# 2. The loss grows until it is infinite, and the lesson stops with an error: the limit
#    is now 0.00097. The sum of 1000 errors is 1000 times their mean, so ``--lr 1e-5``
#    learns the line of the default run.
# 3. ``mat1 and mat2 must have the same dtype``: the input is float64, the weight
#    float32.
