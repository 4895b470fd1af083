r"""
Activation functions: what they do, and what they let through
=============================================================

Linear layers on top of each other are one linear layer. What stands between them makes
a network more than that: an activation function :math:`f`, applied to every number by
itself. Four classical ones are drawn here, each with its derivative.

The derivative is what learning sees. On the way back to the first layer, each
activation multiplies the gradient by :math:`f'`, and where :math:`f'` is small, little
arrives. In case 2 of logistic regression a deep network with sigmoids learned nothing
but a constant. Here is the reason, measured.
"""

# %%
# Setup
# -----

import math

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from cli import parse_args
from common import fit, save_figure
from lesson_data import DIABETES, read_csv

args = parse_args(__doc__, epochs=2000, lr=0.1)

# %%
# Four functions and their formulas
# ---------------------------------
# Beside each function of PyTorch stands its formula, as a textbook writes it.

functions = {
    "ReLU": (torch.relu, lambda x: np.maximum(0, x)),
    "sigmoid": (torch.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (torch.tanh, lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)),
    "softplus": (F.softplus, lambda x: np.log(1 + np.exp(x))),
}
y_limits = {
    "ReLU": (-1, 5),
    "sigmoid": (-0.2, 1.2),
    "tanh": (-1.2, 1.2),
    "softplus": (-0.2, 6),
}

x = torch.linspace(-5, 5, 200, device=args.device)

# %%
# Autograd starts from one number. The sum of all outputs is one, and since each output
# depends on its own input only, the gradient of that sum is the derivative at every
# point.


def derivative(function, x):
    """Return the derivative of ``function`` at each element of ``x``, same shape."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


def report(name, function, formula):
    """Print how far ``function`` is from ``formula``, and its slope at -5, 0 and 5."""
    exact = formula(x.cpu().double().numpy())
    difference = np.abs(function(x).cpu().numpy() - exact).max()
    slopes = derivative(function, torch.tensor([-5.0, 0.0, 5.0], device=args.device))
    print(
        f"{name:10}  within {difference:.0e} of NumPy, slope at -5, 0, 5: "
        + " ".join(f"{slope:z7.4f}" for slope in slopes)
    )


for name, (function, formula) in functions.items():
    report(name, function, formula)

# %%
# A function *saturates* where it is nearly flat: hardly any gradient gets through
# there, however wrong the output is. Sigmoid and tanh saturate on both sides, ReLU and
# softplus on one. And mark the steepest point: the sigmoid's slope is nowhere above a
# quarter. (ReLU has none at 0, where its two lines meet; PyTorch takes 0 there.)

fig, axes = plt.subplots(2, 2, figsize=(9, 7))
for ax, (name, (function, _)) in zip(axes.flat, functions.items(), strict=True):
    slope = derivative(function, x).cpu()
    ax.plot(x.cpu(), function(x).cpu(), label="function")
    ax.plot(x.cpu(), slope, "--", label="derivative")
    ax.fill_between(
        x.cpu(),
        *y_limits[name],
        where=slope < 0.05,
        color="0.9",
        label="saturated: derivative below 0.05",
    )
    ax.set(title=name, xlabel="x", ylim=y_limits[name])
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
save_figure(fig, args.output / "activation_functions.png")

# %%
# Why not write the formula yourself?
# -----------------------------------
# It is right on paper. In a computer :math:`e^{1000}` is infinite, and infinity divided
# by infinity is ``nan``, not a number. One ``nan`` in a sum makes the sum ``nan``, and
# so it spreads to the loss and to every parameter.

far = torch.tensor([-1000.0, 1000.0], device=args.device)
for name, (function, formula) in functions.items():
    with np.errstate(over="ignore", invalid="ignore"):
        naive = formula(far.cpu().numpy()).tolist()
    print(f"{name:10}  at -1000, 1000: {function(far).tolist()}, by formula {naive}")

# %%
# Newer ones
# ----------
# Leaky ReLU keeps a small slope on the left, so that no *unit* (one of the numbers that
# a layer puts out) falls silent for good. GELU, :math:`x \, \Phi(x)`, and SiLU,
# :math:`x \, \sigma(x)`, are smooth and dip below zero before they rise. Here
# :math:`\sigma` is the sigmoid, and :math:`\Phi(x)` the probability that a normally
# distributed number is below :math:`x`.

newer = {
    "leaky ReLU": (F.leaky_relu, lambda x: np.where(x > 0, x, 0.01 * x)),
    "GELU": (F.gelu, lambda x: x / 2 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))),
    "SiLU": (F.silu, lambda x: x / (1 + np.exp(-x))),
}
for name, (function, formula) in newer.items():
    report(name, function, formula)

fig, axes = plt.subplots(1, 3, figsize=(9, 3.5), sharey=True)
for ax, (name, (function, _)) in zip(axes, newer.items(), strict=True):
    ax.plot(x.cpu(), function(x).cpu(), label="function")
    ax.plot(x.cpu(), derivative(function, x).cpu(), "--", label="derivative")
    ax.set(title=name, xlabel="x", xticks=[-4, -2, 0, 2, 4], ylim=(-0.5, 3))
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=2)
save_figure(fig, args.output / "activation_functions_newer.png")

# %%
# What reaches the first layer
# ----------------------------
# Now the network of logistic regression case 2, 8-6-4-1, on the same table, each column
# scaled to mean 0 and standard deviation 1. (Nothing is held out: this is about
# gradients, and no accuracy is claimed.) The sigmoid after the last layer is in the
# loss, where its slope cancels; the two between the layers stay.

features, labels = read_csv(DIABETES)
inputs = torch.tensor(
    (features - features.mean(axis=0)) / features.std(axis=0),
    dtype=torch.float32,
    device=args.device,
)  # (768, 8)
targets = torch.tensor(labels[:, None], dtype=torch.float32, device=args.device)
loss_fn = nn.BCEWithLogitsLoss()
activations = {"sigmoid": nn.Sigmoid(), "tanh": nn.Tanh(), "ReLU": nn.ReLU()}


def network(activation):
    """Return a fresh 8-6-4-1 network, with ``activation`` between its layers."""
    return nn.Sequential(
        nn.Linear(8, 6), activation, nn.Linear(6, 4), activation, nn.Linear(4, 1)
    ).to(args.device)


def gradient_norms(model):
    """Return the norm of the gradient of each layer's weights, first layer first."""
    weights = [model[i].weight for i in (0, 2, 4)]
    gradients = torch.autograd.grad(loss_fn(model(inputs), targets), weights)
    return [gradient.norm().item() for gradient in gradients]


# %%
# How large is each layer's gradient before the first step? Its *norm* is the root of
# the sum of its squares. One random start may be unlucky; take the median of 100.

norms = {}
for name, activation in activations.items():
    starts = [gradient_norms(network(activation)) for _ in range(100)]
    norms[name] = first, second, third = np.median(starts, axis=0)
    print(f"{name:10}  gradient, layer 1 {first:.4f}, 2 {second:.4f}, 3 {third:.4f}")

fig, ax = plt.subplots()
for name, style in zip(norms, ("o-", "s--", "^-."), strict=True):
    ax.semilogy([1, 2, 3], norms[name], style, label=name)
ax.set(xlabel="layer, from the first to the last", ylabel="norm of the gradient")
ax.set_xticks([1, 2, 3])
ax.legend()
save_figure(fig, args.output / "activation_functions_gradients.png")

# %%
# From the last layer to the first the gradient fades in the sigmoid network, and in the
# others it does not. Are its units saturated? Look at the slopes that they work at.

start = network(nn.Sigmoid()).state_dict()
for name, activation in activations.items():
    model = network(activation)
    model.load_state_dict(start)
    first, second = (
        derivative(activation, part(inputs)).mean() for part in (model[0], model[:3])
    )
    print(
        f"{name:10}  mean slope {first:.3f} after layer 1, {second:.3f} after layer 2, "
        f"product {first * second:.3f}"
    )

# %%
# They are not: these slopes are close to the sigmoid's largest. But its largest is a
# quarter, so that two sigmoids pass a sixteenth at best. The products differ about as
# much as the gradients of layer 1 do. Saturated units would pass still less.

# %%
# What that costs
# ---------------
# Train the three from the same weights, at ten times the rate of case 2. The baseline
# is that of case 2: the best answer that ignores the features, a constant, whose loss
# is the entropy of the labels.

base_rate = labels.mean()
entropy = -base_rate * np.log(base_rate) - (1 - base_rate) * np.log(1 - base_rate)
print(f"best constant  loss {entropy:.4f}")

curves = {}
for name, activation in activations.items():
    model = network(activation)
    model.load_state_dict(start)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    curves[name] = curve = fit(
        model, inputs, targets, loss_fn, optimizer, args.epochs, log_every=0
    )
    better = [epoch for epoch, loss in enumerate(curve, 1) if loss < entropy - 0.01]
    since = f"since epoch {better[0]}" if better else "not yet"
    print(f"{name:13}  loss {curve[-1]:.4f}, 0.01 below the constant: {since}")

# %%
# All three learn the constant first; the bias of the last layer is enough for that. To
# go on, they need the first layers, and those of the sigmoid network learn so slowly
# that its loss stands still long after the others have moved on. Case 2 stops there:
# its rate is a tenth, and its columns, scaled to [-1, 1], vary less. Hence the custom:
# ReLU, tanh or a newer one between the layers, a sigmoid only inside the loss.

fig, ax = plt.subplots()
for (name, curve), style in zip(curves.items(), ("-", "--", "-."), strict=True):
    ax.semilogx(range(1, args.epochs + 1), curve, style, label=name)
ax.axhline(entropy, color="black", linestyle=":", label="best constant")
ax.set(xlabel="epoch", ylabel="loss (binary cross-entropy)")
ax.legend()
save_figure(fig, args.output / "activation_functions_training.png")
