r"""
Linear regression, case 3: save a model and load it again
=========================================================

Fifteen points, a line through them, and two questions. How is a trained model kept, so
that tomorrow's script can use it? And how do you know that training is *finished*?
For a line there is an exact answer to hold it against: least squares.

The model and the loop are those of case 2, :math:`\hat y = w x + b` and `common.fit`.
"""

# %%
# Setup
# -----

import matplotlib.pyplot as plt
import torch
from torch import nn

from cli import parse_args
from common import fit, load_state_dict, save_figure, save_state_dict

args = parse_args(__doc__, epochs=2000, lr=1e-4, published=False)

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
# As in case 1, ``--published`` starts from the numbers of the published run.

model = nn.Linear(1, 1).to(args.device)
if args.published:
    with torch.no_grad():
        model.weight.fill_(0.9833023)
        model.bias.fill_(0.73631224)

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
# The best line solves :math:`\min_{w,b} \lVert A (w, b)^\top - y \rVert^2`, where the
# rows of :math:`A` are :math:`(x_i, 1)`. No learning rate, no epochs.

A = torch.cat([x, torch.ones_like(x)], dim=1).cpu().double()  # (15, 2)
best = torch.linalg.lstsq(A, y.cpu().double()).solution
best_weight, best_bias = best.flatten().tolist()

with torch.inference_mode():
    weight, bias, loss = model.weight.item(), model.bias.item(), loss_fn(model(x), y)
    best_loss = loss_fn(best_weight * x + best_bias, y)
print(f"learned:       y = {weight:.4f} x {bias:+.4f}, loss {loss:.6f}")
print(f"least squares: y = {best_weight:.4f} x {best_bias:+.4f}, loss {best_loss:.6f}")

# %%
# The loss has nearly stopped moving, yet the line is not the best one. The loss is a
# narrow valley: steep across, flat along. The curvatures of case 1 (here of a mean, so
# divided by 15) tell what training has done to the error in each direction.

curvatures = torch.linalg.eigvalsh(2 * A.T @ A / len(A))  # ascending: flat, steep
flat, steep = (1 - args.lr * curvatures) ** args.epochs
print(f"error left after {args.epochs} epochs: steep {steep:.1%}, flat {flat:.1%}")

# %%
# So a loss that no longer falls does not prove that training is finished. The lines
# differ most away from the points, where the learned one still shows its start.

ends = torch.tensor([[0.0], [12.0]])
with torch.inference_mode():
    learned_ends = model(ends.to(args.device)).cpu()

fig, ax = plt.subplots(figsize=(10, 5))
ax.plot(x.cpu(), y.cpu(), "o", label="data")
ax.plot(ends, learned_ends, label=f"learned: {weight:.4f} x {bias:+.4f}")
ax.plot(
    ends,
    best_weight * ends + best_bias,
    "k--",
    label=f"least squares: {best_weight:.4f} x {best_bias:+.4f}",
)
ax.set(xlabel="x", ylabel="y")
ax.legend()
save_figure(fig, args.output / "linear_regression_case3.png")

# %%
# Save and load
# -------------
# A ``state_dict`` maps each parameter's name to its values. Save that, not the model: a
# pickled model breaks with the next change of its class. Loading takes three steps:
# make a fresh model, read the file, copy the values in. `common.load_state_dict` reads
# with ``weights_only=True``, so that a file from a stranger cannot run code.

path = args.output / "linear.pth"
save_state_dict(model, path)

fresh = nn.Linear(1, 1).to(args.device)  # starts at random, like any new model
load_state_dict(fresh, path)
with torch.inference_mode():
    equal = torch.equal(model(x), fresh(x))
for name, value in fresh.state_dict().items():
    print(f"{name}: {value.tolist()}")
print(f"the loaded model predicts the same: {equal}")
