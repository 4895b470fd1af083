r"""
Logistic regression, case 1: from a line to a probability
=========================================================

Four points, each with an answer that is no or yes: 0 or 1. A line would leave that
range on both sides. Logistic regression bends it into a probability,

.. math:: P(y = 1 \mid x) = \sigma(w x + b), \qquad \sigma(z) = \frac{1}{1 + e^{-z}}.

The number :math:`z = w x + b` is called the *logit*. Two things are new: this sigmoid,
and a loss for probabilities, which turns out to be best computed from the logit.
"""

# %%
# Setup
# -----

import matplotlib.pyplot as plt
import torch
from torch import nn
from torch.nn import functional as F

from cli import parse_args
from common import fit, save_figure

args = parse_args(__doc__, epochs=500, lr=0.01, published=False)

# %%
# Data
# ----

x = torch.tensor([[0.6], [1.0], [3.5], [4.0]], device=args.device)  # (4, 1)
y = torch.tensor([[0.0], [0.0], [1.0], [1.0]], device=args.device)

# %%
# The sigmoid turns every logit into a probability: 0 into one half, large ones into
# nearly 1, and very negative ones into nearly 0. It never gets there.

z = torch.linspace(-8, 8, 200)

fig, ax = plt.subplots()
ax.plot(z, torch.sigmoid(z))
ax.plot(0, 0.5, "o")
ax.set(xlabel="logit z", ylabel=r"$\sigma(z)$")
save_figure(fig, args.output / "logistic_regression_case1_sigmoid.png")

# %%
# Model
# -----
# The model is the line alone, and returns logits. The sigmoid comes in where a
# probability is wanted.

model = nn.Linear(1, 1).to(args.device)
if args.published:
    with torch.no_grad():
        model.weight.fill_(-0.99529386)
        model.bias.fill_(-0.21878541)

# %%
# Loss and optimizer
# ------------------
# The loss of a probability :math:`p` is the *binary cross-entropy*: :math:`-\log p`
# where the answer was yes, :math:`-\log(1 - p)` where it was no. PyTorch has it twice:
# for probabilities, ``BCELoss``, and for logits, ``BCEWithLogitsLoss``. As long as the
# numbers are moderate, the two agree. Here the answer is no, and the model is ever more
# sure of a yes; ``requires_grad`` makes autograd follow the logit, and
# ``autograd.grad`` returns the gradient of a loss with respect to it:

for logit in (0.0, 5.0, 20.0, 200.0):
    sure = torch.tensor(logit, requires_grad=True)
    no = torch.tensor(0.0)
    naive = F.binary_cross_entropy(torch.sigmoid(sure), no)
    (naive_gradient,) = torch.autograd.grad(naive, sure)
    stable = F.binary_cross_entropy_with_logits(sure, no)
    (gradient,) = torch.autograd.grad(stable, sure)
    print(
        f"logit {logit:3.0f}: BCELoss {naive:9.5f}, gradient {naive_gradient:.5f}; "
        f"with logits {stable:9.5f}, gradient {gradient:.5f}"
    )

# %%
# In float32 the sigmoid of 20 is exactly 1, and :math:`\log(1 - 1)` is minus infinity.
# ``BCELoss`` cuts that off at 100, the wrong number, and its gradient is 0: the worst
# mistake of all teaches the model nothing. From the logit the loss of a no is computed
# as
# :math:`\max(z, 0) + \log(1 + e^{-|z|})`, which neither rounds to 1 nor overflows. So
# models return logits.

loss_fn = nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)

# %%
# Training
# --------
# The published log counts from 0: its loss of epoch 20 is the one after 20 updates.

losses = fit(model, x, y, loss_fn, optimizer, args.epochs, first=0)

# %%
# Result
# ------
# The model says yes where the probability is above one half, the logit above 0. For a
# positive weight, that is to the right of the boundary :math:`x = -b / w`.

weight, bias = model.weight.item(), model.bias.item()
with torch.inference_mode():
    right = ((model(x) > 0) == (y == 1)).sum().item()
    low, high = torch.sigmoid(model(torch.tensor([[0.5], [7.0]]).to(args.device)))
print(f"P(y = 1 | x = 0.5) = {low.item():.4f}")
print(f"P(y = 1 | x = 7.0) = {high.item():.4f}")
print(f"learned:             weight {weight:6.3f}, boundary {-bias / weight:.3f}")
print(f"right: {right} of the {len(x)} points")

# %%
# These points are separable: a boundary between 1 and 3.5 makes no mistake, and then
# every larger weight makes the loss still smaller. There is no best weight; it grows
# for ever. scikit-learn's `LogisticRegression` adds a penalty on the weight, divided by
# C, so that there is an answer. The less penalty, the larger the weight, while the
# boundary goes to the middle of the gap, 2.25. The learned one is still on its way.

from sklearn.linear_model import LogisticRegression

references = {}
for C in (1, 100, 10_000):
    reference = LogisticRegression(C=C).fit(x.cpu().numpy(), y.flatten().cpu().numpy())
    w, b = reference.coef_.item(), reference.intercept_.item()
    print(f"scikit-learn C={C:<6}: weight {w:6.3f}, boundary {-b / w:.3f}")
    references[C] = reference

# %%
# The learned curve is not as steep as it could be, and its boundary is still too far to
# the left: more epochs would go on moving both.

grid = torch.linspace(-1, 8, 200).reshape(-1, 1)
with torch.inference_mode():
    probability = torch.sigmoid(model(grid.to(args.device))).cpu()
reference_probability = references[1].predict_proba(grid.numpy())[:, 1]

fig, ax = plt.subplots()
ax.plot(x.cpu(), y.cpu(), "ko", label="data")
ax.plot(grid, probability, label="learned")
ax.plot(grid, reference_probability, "--", label="scikit-learn, C = 1")
ax.plot(-bias / weight, 0.5, "s", label=f"learned boundary, x = {-bias / weight:.2f}")
ax.axhline(0.5, color="black", linewidth=0.8, linestyle=":")
ax.set(xlabel="x", ylabel="P(y = 1 | x)")
ax.legend()
save_figure(fig, args.output / "logistic_regression_case1.png")
