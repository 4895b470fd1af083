r"""
What an activation lets through
===============================

Between two linear layers stands an activation function. Classification used ReLU. Which
others are there, and which one should you take? The gradient of a layer comes back
through all later layers and activations. Here you measure how much of it arrives.
Afterwards you can choose an activation, and the weights to start from.
"""

# %%
# Setup
# -----

import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import nn

from cli import parse_args
from common import compare, fit, save_figure

args = parse_args(__doc__, seed=0)

# %%
# Four functions
# --------------
# An activation function takes each number of a tensor on its own. Here are four, and
# their formulas in NumPy. ``nn.ReLU()`` is a layer for ``nn.Sequential``, ``F.relu`` of
# ``torch.nn.functional`` a function for your own ``forward``: they compute the same.
# Use PyTorch's functions, not the formulas. :math:`e^{100}` is infinite in 32 bits, and
# then the formula of softplus gives ``inf``, that of tanh ``nan`` ("not a number"). The
# derivative of a function is also called its *slope*.

x = torch.linspace(-5, 5, 200)
a = x.double().numpy()  # 64 bits
functions = {
    "ReLU": (nn.ReLU(), np.maximum(0, a)),
    "sigmoid": (nn.Sigmoid(), 1 / (1 + np.exp(-a))),
    "tanh": (nn.Tanh(), (np.exp(2 * a) - 1) / (np.exp(2 * a) + 1)),
    "softplus": (nn.Softplus(), np.log(1 + np.exp(a))),
}


def slope(function, x):
    """Return the slope of a function at each number of ``x``, in the same shape."""
    x = x.clone().requires_grad_()  # gets a gradient, like a parameter
    function(x).sum().backward()  # backward() needs one number, so take the sum
    return x.grad  # each output depends on its own x only: here is its derivative


y_limits = [(-1, 5), (-0.2, 1.2), (-1.2, 1.2), (-0.2, 6)]
fig, axes = plt.subplots(2, 2, figsize=(9, 7))
for ax, name, limits in zip(axes.flat, functions, y_limits):
    function, formula = functions[name]
    y, slopes = function(x), slope(function, x)
    print(f"{name:8}  largest slope {slopes.max():.2f}, ", end="")
    print("as its formula:", np.allclose(y, formula))
    ax.plot(x, y, label="function")
    ax.plot(x, slopes, "--", label="slope")
    ax.fill_between(x, *limits, where=slopes < 0.05, color="0.8", label="slope < 0.05")
    ax.set(title=name, xlabel="x", ylim=limits)
fig.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=3)
save_figure(fig, args.output / "activation_functions.png")

# %%
# A function *saturates* where it is nearly flat (grey): sigmoid and tanh on both sides,
# ReLU and softplus on the left. The largest slope of the sigmoid is 1/4, at 0; those of
# the others reach 1, or come close to it. (At 0 ReLU has no derivative. PyTorch takes
# 0.)

# %%
# Chain rule
# ----------
# Here are three layers with one number each. The first returns 0. Then come a sigmoid,
# a weight of 2 and a bias of -1, then a sigmoid and a weight of 3. If ``layer1`` grows
# by 0.01, its sigmoid grows by 1/4 of that, and ``layer2`` by 2 times as much. And so
# on: weights and slopes are multiplied, by the *chain rule*, which ``backward()`` uses.

layer1 = torch.tensor(0.0, requires_grad=True)
layer2 = 2 * torch.sigmoid(layer1) - 1  # again 0, where the slope is 1/4
layer3 = 3 * torch.sigmoid(layer2)
layer3.backward()
print(f"gradient at layer 1: {layer1.grad}, by hand {1 / 4 * 2 * 1 / 4 * 3}")

# %%
# What reaches the first layer
# ----------------------------
# Now a network with 8 inputs and layers of 6, 4 and 1. How large is the gradient of its
# output for the weights of layer 1? Take the mean of its absolute values, over 200
# random networks, each with a random input. Change only the activation. The mean
# without one (``nn.Identity()`` changes nothing) counts as 1.
#
# .. guess::
#
#    Which share of the gradient do two sigmoids let through to layer 1?

sizes = {}
for name in ["none", "sigmoid", "tanh", "ReLU"]:
    activation = nn.Identity() if name == "none" else functions[name][0]
    torch.manual_seed(args.seed)  # the same networks and inputs for each activation
    sizes[name] = 0
    for _ in range(200):
        first, second, third = nn.Linear(8, 6), nn.Linear(6, 4), nn.Linear(4, 1)
        model = nn.Sequential(first, activation, second, activation, third)
        model(torch.randn(1, 8)).backward()
        sizes[name] += first.weight.grad.abs().mean().item() / 200
shares = {name: sizes[name] / sizes["none"] for name in sizes}
print(*[f"{name} {share:.3f}" for name, share in shares.items()], sep=", ")
print("1/4 times 1/4 is", 1 / 4 * 1 / 4)
fig, ax = plt.subplots()
ax.bar_label(ax.bar(shares.keys(), shares.values()), fmt="%.3f", padding=6)
ax.axhline(1 / 16, color="black", linestyle="--", label="1/4 times 1/4")
ax.set(ylabel="share of the gradient at layer 1", ylim=(0, 1.1))
ax.legend()
save_figure(fig, args.output / "activation_functions_gradients.png")

# %%
# The sigmoids let through a little less than 1/16: their inputs are not exactly 0. The
# steps of the first layer are that much smaller. Each further sigmoid multiplies the
# gradient by a slope of at most 1/4: this is the *vanishing gradient*. The ReLUs let
# through far more: about half of them have slope 1, the others slope 0. A ReLU is
# *dead* if its input is negative in every row: the weights before it get no gradient.
# ``nn.LeakyReLU()`` has slope 0.01 there.
#
# Large weights can make the product grow with each layer: the *exploding gradient*.
# ``nn.utils.clip_grad_norm_(model.parameters(), 1)``, between ``backward()`` and
# ``step()``, divides the gradient by its length if that is above 1.

# %%
# Initialisation
# --------------
# The numbers that training starts from are the *initialisation*. ``nn.Linear(n, m)``
# draws weights and biases at random, from :math:`-1/\sqrt{n}` to :math:`1/\sqrt{n}`.
# Train on four corners of a square: from random numbers, from 0.5 and from 0.
#
# .. guess::
#
#    How many of the corners are right at the end if all parameters start at 0.5? And
#    if all start at 0?

corners = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
labels = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
loss_fn = nn.BCEWithLogitsLoss()
for start in ["random", 0.5, 0.0]:
    torch.manual_seed(args.seed)
    model = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 1))
    if start != "random":
        for parameter in model.parameters():
            nn.init.constant_(parameter, start)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    losses = fit(model, corners, labels, loss_fn, optimizer, 300, log_every=0)
    right = ((model(corners) > 0) == (labels == 1)).sum()
    weight = model[0].weight  # a row for each unit
    print(f"from {start}: loss {losses[-1]:.4f}, {right} of 4 right, ", end="")
    print("units equal:", (weight == weight[0]).all().item(), end=", ")
    print(f"largest gradient {weight.grad.abs().max():.4f}")

# %%
# Equal units compute the same and get the same gradient, so they stay equal: the eight
# can do no more than one. If all parameters are 0, each ReLU returns 0, with slope 0,
# so no weight gets a gradient. Random weights make the units different. (The biases may
# be equal, or 0.)
#
# In Keras the same network starts from other numbers: weights as from
# ``nn.init.xavier_uniform_``, biases of 0. So it can do better there, or worse. (And
# its last softmax is here in the loss: leave it out.)

# %%
# In short
# --------
# - Chain rule: on its way back, a gradient is multiplied by each weight and slope. Many
#   small slopes leave hardly anything of it.
# - Between layers take ReLU, or tanh. After the last layer take none if the loss takes
#   logits: the loss has its own sigmoid or softmax.
# - Start from random weights: equal units stay equal.
#
# Next: a network of this shape that learned a constant.

# %%
# Try it
# ------
# 1. *Predict.* Which share arrives at layer 1 through three sigmoids? Write it down,
#    then replace ``activation, third`` by
#    ``activation, nn.Linear(4, 4), activation, third``. Is it much less for tanh, too?
# 2. *Change.* Set only the weights, not the biases: under *Initialisation*, replace
#    ``in model.parameters():`` by ``in [model[0].weight, model[2].weight]:``. Are the
#    units equal when you start from 0.5, and why? And how many points are right?
# 3. *Write.* Compute the slopes of sigmoid, tanh and softplus at ``x`` by your own
#    formulas, without ``backward()``: ``yours = torch.stack([..., ..., ...])``. Start
#    from those under *Four functions*. The derivative of :math:`e^{-x}` is
#    :math:`-e^{-x}`, that of :math:`\log u` is :math:`1 / u` times that of u.

yours = None
three = [slope(functions[name][0], x) for name in ["sigmoid", "tanh", "softplus"]]
compare("three slopes", yours, torch.stack(three))

# %%
# Answers
# -------
# 1. Three slopes of at most 1/4 give 1/64 = 0.0156. A little less arrives, 0.013. For
#    tanh it is still more than a half.
# 2. They are not equal. The biases are random, so the units return different numbers
#    and get different gradients. With most seeds all four points are right.
# 3. With s for the sigmoid, its own slope is s (1 - s). That of tanh is 1 minus its
#    square, and that of softplus is s::
#
#        s = torch.sigmoid(x)
#        yours = torch.stack([s * (1 - s), 1 - torch.tanh(x) ** 2, s])
