r"""
Activation functions: what they do, and what they let through
=============================================================

Several linear layers in a row are no more than one linear layer. A network needs a
nonlinear *activation function* between them, applied to each number separately. This
lesson plots four common ones and their derivatives.

Learning depends on the derivatives. On its way back to the first layer, the gradient is
multiplied by the weights of each layer and the derivative of each activation that it
passes. The published network of logistic regression, case 2, learned only a constant.
Here you see how little of the gradient reaches its first layer, and why.
"""

# %%
# Setup
# -----

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from cli import parse_args
from common import pick_device, save_figure
from lesson_data import DIABETES, read_csv

args = parse_args(__doc__, seed=0, device="cpu")
args.device = pick_device(args.device)
torch.manual_seed(args.seed)

# %%
# Four functions
# --------------
# Each function of PyTorch stands beside its textbook formula, written with NumPy.

functions = {
    "ReLU": (torch.relu, lambda x: np.maximum(0, x)),
    "sigmoid": (torch.sigmoid, lambda x: 1 / (1 + np.exp(-x))),
    "tanh": (torch.tanh, lambda x: (np.exp(2 * x) - 1) / (np.exp(2 * x) + 1)),
    "softplus": (F.softplus, lambda x: np.log(1 + np.exp(x))),
}
y_limits = [(-1, 5), (-0.2, 1.2), (-1.2, 1.2), (-0.2, 6)]

x = torch.linspace(-5, 5, 200, device=args.device)

# %%
# Autograd differentiates a single number, such as the sum of all outputs. Each output
# depends on its own input only, so the gradient of the sum is the derivative at every
# point.


def derivative(function, x):
    """Return the derivative of ``function`` at each element of ``x``, same shape."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(function(x).sum(), x)[0]


# %%
# A function *saturates* where it is nearly flat: hardly any gradient gets through,
# however large the loss is. The grey areas mark where the derivative is below 0.05.
# Sigmoid and tanh saturate on both sides, ReLU and softplus on the left only.

fig, axes = plt.subplots(2, 2, figsize=(9, 7))
for ax, limits, (name, (function, formula)) in zip(
    axes.flat, y_limits, functions.items()
):
    y, slope = function(x).cpu(), derivative(function, x).cpu()
    error = np.abs(y.numpy() - formula(x.cpu().double().numpy())).max()
    print(f"{name:8}  largest difference from the formula {error:.0e}")
    ax.plot(x.cpu(), y)
    saturated = ax.fill_between(x.cpu(), *limits, where=slope < 0.05, color="0.9")
    ax.set(title=name, xlabel="x", ylim=limits)
fig.legend([saturated], ["derivative below 0.05"], loc="outside lower center")
save_figure(fig, args.output / "activation_functions.png")

# %%
# The four derivatives
# --------------------
# Compare their largest values. The derivative, or *slope*, of the sigmoid reaches 1/4,
# at 0; the others reach or approach 1. (ReLU has no derivative at 0, where its two
# straight parts meet; PyTorch uses 0 there.)

at = torch.tensor([-5.0, 0.0, 5.0], device=args.device)
fig, ax = plt.subplots()
for (name, (function, _)), style in zip(functions.items(), ("-", "--", "-.", ":")):
    ax.plot(x.cpu(), derivative(function, x).cpu(), style, label=name)
    slopes = " ".join(f"{slope:z7.4f}" for slope in derivative(function, at))
    print(f"{name:8}  derivative at -5, 0, 5: {slopes}")
ax.axhline(0.25, color="black", linewidth=1)
ax.annotate("1/4", (-5, 0.25), xytext=(0, 4), textcoords="offset points")
ax.set(xlabel="x", ylabel="derivative")
fig.legend(loc="outside lower center", ncols=4)
save_figure(fig, args.output / "activation_functions_derivatives.png")

# %%
# Why not write the formula yourself?
# -----------------------------------
# It is right on paper. In floating point, :math:`e^{1000}` is infinite, and so is
# softplus; tanh is infinity divided by infinity, ``nan`` ("not a number"). It spreads
# to loss, gradients and parameters. PyTorch's functions avoid the overflow.

far = torch.tensor([-1000.0, 1000.0], device=args.device)
print(f"at {far.tolist()}:")
for name, (function, formula) in functions.items():
    with np.errstate(over="ignore", invalid="ignore"):
        naive = formula(far.cpu().numpy()).tolist()
    print(f"{name:8}  {function(far).tolist()}, by the formula {naive}")

# %%
# What reaches the first layer
# ----------------------------
# Take the 8-6-4-1 network of logistic regression, case 2, and the table without the
# published changes, each column standardised. Only the activation between the layers is
# changed; "none" stands for no activation. "4 sigmoid" is the sigmoid times four: its
# slope at 0 is 1.

features, labels = read_csv(DIABETES)
features = features.to_numpy()
inputs = torch.tensor(
    (features - features.mean(axis=0)) / features.std(axis=0),
    dtype=torch.float32,
    device=args.device,
)  # (768, 8)
targets = torch.tensor(labels[:, None], dtype=torch.float32, device=args.device)
widths = [8, 6, 4, 1]
activations = {
    "none": lambda z: z,
    "sigmoid": torch.sigmoid,
    "4 sigmoid": lambda z: 4 * torch.sigmoid(z),
    "tanh": torch.tanh,
    "ReLU": torch.relu,
}


def gradients(layers, activation):
    """Return the gradient norm at each layer's output, and each activation's slope."""
    outputs = [layers[0](inputs)]
    for layer in layers[1:]:
        outputs.append(layer(activation(outputs[-1])))
    loss = nn.BCEWithLogitsLoss()(outputs[-1], targets)
    norms = [g.norm().item() for g in torch.autograd.grad(loss, outputs)]
    slopes = [derivative(activation, z).square().mean().sqrt() for z in outputs[:-1]]
    return norms, [slope.item() for slope in slopes]


# %%
# A gradient is measured by its *norm*, the root of the sum of the squares of its
# entries, and the slopes of a layer by their root mean square over rows and units. Each
# line comes from medians over the same 100 random starts: the norms at the outputs of
# layers 1 to 3, the first as a share of that of "none", and the slopes and their
# product.

starts = [
    [nn.Linear(a, b).to(args.device) for a, b in pairwise(widths)] for _ in range(100)
]
norms, arrives, products = {}, {}, {}
for name, activation in activations.items():
    runs = [gradients(layers, activation) for layers in starts]
    norms[name], slopes = (np.median(part, axis=0) for part in zip(*runs))
    arrives[name] = norms[name][0] / norms["none"][0]
    products[name] = slopes.prod()
    print(
        f"{name:9}  norms {' '.join(f'{norm:.1e}' for norm in norms[name])}, "
        f"share {arrives[name]:.3f}, slopes "
        f"{' x '.join(f'{slope:.2f}' for slope in slopes)} = {products[name]:.3f}"
    )

fig, ax = plt.subplots()
for name, style in zip(norms, ("k:", "o-", "s--", "^-.", "d-")):
    ax.semilogy(range(1, len(widths)), norms[name], style, label=name)
ax.set(xlabel="layer", ylabel="norm of the gradient", xticks=range(1, len(widths)))
ax.legend()
save_figure(fig, args.output / "activation_functions_gradients.png")

# %%
# The figure is read from right to left. At the last layer all gradients are about
# equal. With no activation, the weights alone make them smaller on the way to layer 1.
# With an activation, what arrives there, as a share of that of "none", is about the
# product of its slopes. For the sigmoid it is smallest, but not because the units are
# saturated: their slopes are close to 1/4, the largest possible. Multiplied by four,
# the sigmoid lets about as much through as tanh does.

# %%
# Dead ReLUs
# ----------
# The derivative of ReLU is 1 or 0. If the input of a ReLU is negative for every row,
# its unit is *dead*: no gradient passes through it or reaches its own weights. (Changes
# in earlier layers can revive it.) Leaky ReLU has the slope 0.01 on the left. The dead
# units of layer 2 in the 100 starts are counted with ReLU, and, for the same inputs,
# with leaky ReLU.

outputs = [layers[1](torch.relu(layers[0](inputs))) for layers in starts]  # (768, 4)
dead = {}
for name, activation in (("ReLU", torch.relu), ("leaky ReLU", F.leaky_relu)):
    flat = [(derivative(activation, z) == 0).all(dim=0) for z in outputs]  # (4,)
    dead[name] = torch.cat(flat).sum().item()
    print(f"{name:10}  {dead[name]} of {100 * widths[2]} units are dead")

# %%
# Which one should you use?
# -------------------------
# Between layers, start with ReLU, the usual choice. If many units die, try leaky ReLU.
# Tanh lets more through in this small network. A sigmoid belongs after the last layer,
# where it gives a probability. ``nn.BCEWithLogitsLoss`` contains it, and the gradient
# of that loss is the probability minus the label: the slope of the sigmoid cancels.
# `torch.nn <https://docs.pytorch.org/docs/stable/nn.html>`__ has many more activations.

# %%
# Try it
# ------
# 1. Replace ``[-1000.0, 1000.0]`` by ``[-50.0, 50.0]``. Which formulas are wrong now?
# 2. Replace ``[8, 6, 4, 1]`` by ``[8, 6, 6, 6, 6, 4, 1]``, a network twice as deep. How
#    much of the gradient without activations does the sigmoid let through to layer 1,
#    and how much tanh?
# 3. Replace ``4 * torch.sigmoid(z)`` by ``torch.sigmoid(4 * z)``. The slope at 0 is
#    still 1. Does as much arrive at layer 1 as before?

# %%
# Answers
# -------
# 1. That of tanh is still ``nan``: :math:`e^{100}` overflows in float32. That of
#    softplus no longer overflows, but at -50 it gives 0 where :math:`e^{-50}`, about
#    2e-22, is right: 1 + 2e-22 is rounded to 1. The other two are right.
# 2. The sigmoid 0.001, for five slopes near 1/4 instead of two, and tanh 0.600.
# 3. No, 0.435 instead of 0.768. The inputs of the sigmoid are four times as large, so
#    more of them are in the flat parts, and the slopes are 0.65 and 0.72.
