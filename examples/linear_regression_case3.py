r"""
Linear regression, case 3: is training finished? Save and load a model
======================================================================

How do you know that training is finished? A loss that stands still is not enough. This
lesson trains a line on fifteen points until the loss hardly moves, and compares it with
the best line, which least squares gives exactly. Then it shows the cause, inputs far
from 0, and the cure, *standardising* them: with a larger learning rate, one step then
reaches the best line. At the end the model is saved and loaded again.

The model and the loop are those of case 2, :math:`\hat y = w x + b` and `common.fit`.
"""

# %%
# Setup
# -----

import matplotlib.pyplot as plt
import torch
from torch import nn

from cli import parse_args
from common import fit, load_state_dict, pick_device, save_figure, save_state_dict

args = parse_args(__doc__, epochs=2000, lr=1e-4, published=False, seed=0, device="cpu")
args.device = pick_device(args.device)
torch.manual_seed(args.seed)

# %%
# Data
# ----

x = torch.tensor(
    [
        [3.3, 4.4, 5.5, 6.71, 6.93],
        [4.168, 9.779, 6.182, 7.59, 2.167],
        [7.042, 10.791, 5.313, 7.997, 3.1],
    ],
    device=args.device,
).reshape(-1, 1)  # (15, 1)
y = torch.tensor(
    [
        [1.7, 2.76, 2.09, 3.19, 1.694],
        [1.573, 3.366, 2.596, 2.53, 1.221],
        [2.827, 3.465, 1.65, 2.904, 1.3],
    ],
    device=args.device,
).reshape(-1, 1)

# %%
# Model
# -----
# As in case 1, ``--published`` starts from the values of the published run.

model = nn.Linear(1, 1).to(args.device)
if args.published:
    with torch.no_grad():
        model.weight.fill_(0.9833023)
        model.bias.fill_(0.73631224)
start = {name: value.clone() for name, value in model.state_dict().items()}

# %%
# Loss and optimizer
# ------------------

loss_fn = nn.MSELoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)

# %%
# Training
# --------

losses = fit(model, x, y, loss_fn, optimizer, args.epochs)

# %%
# Result
# ------
# The best line minimises :math:`\lVert A (w, b)^\top - y \rVert^2`, where the rows of
# :math:`A` are :math:`(x_i, 1)`. ``lstsq`` needs no learning rate and no epochs for it.


def design_matrix(x):
    return torch.cat([x, torch.ones_like(x)], dim=1).cpu().double()  # (15, 2)


best = torch.linalg.lstsq(design_matrix(x), y.cpu().double()).solution
best_weight, best_bias = best.flatten().tolist()
with torch.inference_mode():
    loss, best_loss = loss_fn(model(x), y), loss_fn(best_weight * x + best_bias, y)
weight, bias = model.weight.item(), model.bias.item()
print(f"learned:       y = {weight:.4f} x {bias:+.4f}, loss {loss:.6f}")
print(f"least squares: y = {best_weight:.4f} x {best_bias:+.4f}, loss {best_loss:.6f}")

# %%
# A loss that stands still
# ------------------------
# At the default rate the loss hardly falls in the last epochs, yet it is above its
# minimum. The curvatures of the loss (case 1) tell why. They are the eigenvalues of the
# Hessian, here :math:`2 A^\top A / n`, because the loss is a mean. In each direction,
# training leaves the share :math:`(1 - \text{lr} \cdot \lambda)^\text{epochs}` of the
# distance to the minimum: nearly nothing in the steep direction, most of it in the flat
# one. A loss that stands still may only mean that the rate is too small for the flat
# direction. A larger one helps, but the steep direction limits it.


def curvatures(x):
    rows = design_matrix(x)
    return torch.linalg.eigvalsh(2 * rows.T @ rows / len(x)).tolist()  # flat, steep


change = losses[-1] / losses[-100:][0] - 1
print(f"change of the loss in the last 100 epochs: {change:+.2%}")
print(f"loss compared with that of the best line:  {loss / best_loss - 1:+.1%}")
for name, curvature in zip(("flat", "steep"), curvatures(x)):
    left = (1 - args.lr * curvature) ** args.epochs
    print(f"{name:5} direction: curvature {curvature:6.3f}, distance left {left:.1%}")

# %%
# The cure: standardise the input
# -------------------------------
# One direction is so flat because the inputs are far from 0: with a larger weight and a
# smaller bias the predictions stay nearly the same. *Centring* the input subtracts its
# mean; *standardising* also divides by its standard deviation. To compare them, train
# on each input from the same start, at half of the limit of its learning rate (case 1),
# which is 1 divided by its largest curvature.

mean, std = x.mean(), x.std(correction=0)  # divides by n, like StandardScaler

new_model = nn.Linear(1, 1).to(args.device)
curves = [(f"raw, rate {args.lr:g}", losses)]
print("input         curvatures     ratio  rate    epochs to 0.1 % above the best loss")
for name, inputs, epochs in (
    ("raw", x, 1500),
    ("centred", x - mean, 50),
    ("standardised", (x - mean) / std, 10),
):
    flat, steep = curvatures(inputs)
    rate = 1 / steep
    new_model.load_state_dict(start)
    optimizer = torch.optim.SGD(new_model.parameters(), lr=rate)
    curve = fit(new_model, inputs, y, loss_fn, optimizer, epochs, log_every=0)
    curves.append((f"{name}, rate {rate:.3g}", curve))
    reached = (n for n, value in enumerate(curve) if value <= 1.001 * best_loss)
    print(
        f"{name:12} {steep:6.2f} and {flat:.3f} {steep / flat:6.1f}  {rate:.4f} "
        f"{next(reached, 'not reached'):>4}"
    )

# %%
# With the larger rate the raw input gets there too: the first step removes the steep
# part of the distance, but the flat part takes many more. On the standardised input
# both curvatures are the same, and one step is enough. The larger rate is part of the
# cure: at the default rate, training on the standardised input would also end far above
# the minimum. In the figure, compare where each curve ends with the black line. The
# loss of an epoch is the one before its update, so the first step shows in epoch 2.

fig, ax = plt.subplots(figsize=(10, 5))
for (name, curve), style in zip(curves, ("-", "--", "-.", ":")):
    ax.semilogx(range(1, len(curve) + 1), curve, style, linewidth=3, label=name)
ax.axhline(best_loss.item(), color="black", linewidth=1, label="best line")
gap = max((loss - best_loss).item(), 0.002)
limits = best_loss.item() - gap, best_loss.item() + 5 * gap
ax.set(xlabel="epoch", ylabel="loss", ylim=limits)
fig.legend(loc="outside upper center", ncols=3)
save_figure(fig, args.output / "linear_regression_case3.png")

# %%
# Save and load
# -------------
# The new model expects the standardised input :math:`(x - m) / s`. It is also a line in
# the raw x, with the weight :math:`w / s` and the bias :math:`b - w m / s`. Save that
# line: then whoever loads it needs neither :math:`m` nor :math:`s`.

with torch.no_grad():
    model.weight.copy_(new_model.weight / std)
    model.bias.copy_(new_model.bias - model.weight[0] * mean)

# %%
# A ``state_dict`` maps the name of each parameter to its values. Save this, not the
# model: a file with a whole model `depends on the source code of its class
# <https://docs.pytorch.org/tutorials/beginner/saving_loading_models.html>`_. The two
# functions of `common` are in essence ``torch.save(model.state_dict(), path)`` and
# ``model.load_state_dict(torch.load(path, weights_only=True))``. `weights_only=True
# <https://docs.pytorch.org/docs/stable/notes/serialization.html>`_ accepts only tensors
# and plain data and refuses a file that would run code. Use PyTorch 2.10 or later: in
# older versions a file can get round this (CVE-2026-24747).

path = args.output / "linear.pth"
save_state_dict(model, path)

fresh = nn.Linear(1, 1).to(args.device)  # starts at random, like any new model
load_state_dict(fresh, path)
with torch.inference_mode():
    equal = torch.equal(model(x), fresh(x))
print(f"loaded:        y = {fresh.weight.item():.4f} x {fresh.bias.item():+.4f}")
print(f"the loaded model gives the same predictions: {equal}")

# %%
# Try it
# ------
# 1. Run ``python examples/linear_regression_case3.py --seed 3``. How far is the loss
#    above that of the best line, and would the last 100 losses have told you?
# 2. What is the limit of the learning rate for the raw input? Check it with
#    ``python examples/linear_regression_case3.py --lr 0.023`` and
#    ``python examples/linear_regression_case3.py --lr 0.024``.
# 3. Replace ``fresh = nn.Linear(1, 1)`` by ``fresh = nn.Linear(2, 1)`` and run the
#    lesson. What does it say when it loads the model?

# %%
# Answers
# -------
# 1. It is more than twice that of the best line. The last 100 losses fall by less than
#    0.3 %, so they look finished.
# 2. It is 2 / 86.396 = 0.0231. With 0.023 training reaches the best line. With 0.024
#    the loss grows until it is infinite, and the lesson stops with an error.
# 3. The lesson stops with an error that names the file, the parameter ``weight`` and
#    its two shapes: (1, 1) in the file and (1, 2) in the model.
