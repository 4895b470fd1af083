r"""
Overfitting, and three remedies
===============================

The training loss falls, but on new points the model gets worse. Why, and what helps?
Here the data follows a known rule, so a formula says how wrong a model is on new
points. Afterwards you can see overfitting, keep the best weights of a training, use
weight decay and dropout, and say what ``eval()`` and ``no_grad()`` do.
"""

# %%
# Setup
# -----

import copy

import matplotlib.pyplot as plt
import torch
from sklearn.linear_model import Ridge
from torch import nn
from torch.optim import SGD

from cli import parse_args
from common import compare, fit, save_figure

args = parse_args(__doc__, epochs=2000, lr=0.03, rows=100, seed=0)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# The rule: y is the sum of 80 features, each times its own true weight, plus *noise*, a
# random number that no model can predict. ``torch.randn`` draws numbers with a mean of
# 0 and a mean square of 1. There are 100 rows for training. The *validation set*, 100
# other rows, shows how good a model is on rows that it was not trained on.

true_weights = torch.randn(1, 80)
true_weights *= 3 / true_weights.norm()  # now the sum of their squares is 9


def make_rows(n):
    x = torch.randn(n, 80)
    return x, x @ true_weights.T + torch.randn(n, 1)


x, y = make_rows(args.rows)
validation_x, validation_y = make_rows(100)
print("three rows, the first six of 80 features, then y:")
for row, target in zip(x[:3], y[:3]):
    print(*[f"{number:6.3f}" for number in [*row[:6], *target]])

# %%
# Model
# -----
# A linear model with 80 weights, which start at 0. All means are 0, so it has no bias.
# How wrong is it on *fresh points*, all those that the rule can still make? Its error
# is the noise plus the sum of (true w - w) x. All these numbers are drawn separately,
# so the products of two have a mean of 0: only the squares remain. The noise and each x
# have a mean square of 1. So the *expected error*, the mean squared error on fresh
# points, is 1 plus the sum of (true w - w)². With weights 0 it is 1 + 9.

loss_fn = nn.MSELoss()


def new_model():
    model = nn.Linear(80, 1, bias=False)
    nn.init.zeros_(model.weight)
    return model


def expected_error(model):
    return 1 + (model.weight - true_weights).square().sum().item()


def loss_on(x, y, model):
    with torch.no_grad():
        return loss_fn(model(x), y).item()


# %%
# Training
# --------
# Train one epoch at a time, to measure the model before each update.
#
# .. guess::
#
#    The training loss falls in each epoch. What do the validation loss and the expected
#    error do?

plain, losses, validation_losses, errors = new_model(), [], [], []
optimizer = SGD(plain.parameters(), lr=args.lr)
for _ in range(args.epochs):
    validation_losses.append(loss_on(validation_x, validation_y, plain))
    errors.append(expected_error(plain))
    losses += fit(plain, x, y, loss_fn, optimizer, epochs=1, log_every=0)

fig, ax = plt.subplots()
names = ["training loss", "validation loss", "expected error"]
for name, curve in zip(names, [losses, validation_losses, errors]):
    print(f"{name:15} lowest {min(curve):.3f}, in the last epoch {curve[-1]:.3f}")
    ax.semilogx(range(1, args.epochs + 1), curve, label=name)
ax.axhline(1, color="black", linewidth=0.8, label="noise")
ax.set(xlabel="epoch", ylabel="mean squared error", ylim=0)
ax.legend()
save_figure(fig, args.output / "overfitting.png")

# %%
# Result
# ------
# Even the true weights have an expected error of 1. A training loss far below 1 means
# that the model has fitted the noise of its rows, too: 80 weights for 100 rows are
# enough. A model that has learned noise *overfits*. To see this, you need no true
# weights: look whether the validation loss rises while the training loss falls.

# %%
# Early stopping
# --------------
# *Early stopping*: stop when the validation loss has not reached a new lowest value for
# some epochs, the *patience*. Go back to the best weights, of which you keep a copy.
# ``state_dict()`` alone is no copy: it refers to the memory that ``step()`` changes.
# The validation rows have noise, too, so their best epoch can be another one than that
# of the expected error.

stopped, lowest, patience = new_model(), float("inf"), 100
optimizer = SGD(stopped.parameters(), lr=args.lr)
for epoch in range(1, args.epochs + 1):
    validation_loss = loss_on(validation_x, validation_y, stopped)
    if validation_loss < lowest:
        lowest, best_epoch = validation_loss, epoch
        best = copy.deepcopy(stopped.state_dict())
        alias = stopped.state_dict()  # not a copy
    if epoch - best_epoch == patience:
        break
    fit(stopped, x, y, loss_fn, optimizer, epochs=1, log_every=0)
print("alias is the last model:", torch.equal(alias["weight"], stopped.weight))
print("best is the last model:", torch.equal(best["weight"], stopped.weight))
stopped.load_state_dict(best)
print(f"stopped in epoch {epoch}; by validation the best epoch is {best_epoch}", end="")
print(f", expected error {expected_error(stopped):.3f}")

# %%
# Weight decay
# ------------
# *Weight decay* of 0.2 adds 0.2 w to the gradient of each weight w. This is the
# derivative of a penalty of 0.1 w². So SGD minimises the mean squared error plus 0.1
# times the sum of all w². scikit-learn's ``Ridge`` is linear regression with such a
# penalty. It takes the sum of the squared errors, 100 times the mean. So its ``alpha``
# is 100 * 0.1.

decayed = new_model()
optimizer = SGD(decayed.parameters(), lr=args.lr, weight_decay=0.2)
fit(decayed, x, y, loss_fn, optimizer, args.epochs, log_every=0)
ridge = Ridge(alpha=len(x) * 0.1, fit_intercept=False)
ridge.fit(x.numpy(), y.flatten().numpy())
print("SGD  ", decayed.weight[0, :6].detach().numpy().round(4))
print("Ridge", ridge.coef_[:6].round(4))
print(f"expected error {expected_error(decayed):.3f}")

# %%
# Dropout
# -------
# In *train mode*, *dropout* sets each input to 0 with a probability p, and divides the
# others by 1 - p, so the mean stays the same. It draws again in each call. ``eval()``
# switches to *eval mode*, in which dropout does nothing; ``train()`` switches back.
# ``no_grad()`` does not change the numbers: PyTorch only does not record them for
# ``backward()``.
#
# .. guess::
#
#    10,000 predictions for the same row, in train mode and in eval mode, with and
#    without ``no_grad()``. Which are all equal, and which have ``requires_grad``?

p = 0.1
dropped = nn.Sequential(nn.Dropout(p), new_model())
optimizer = SGD(dropped.parameters(), lr=args.lr)
fit(dropped, x, y, loss_fn, optimizer, args.epochs, log_every=0)
print(f"expected error {expected_error(dropped[1]):.3f}")
row = validation_x[:1].repeat(10_000, 1)
print("mode   no_grad  requires_grad  mean, standard deviation")
for mode in ["train", "eval"]:
    dropped.train(mode == "train")  # train(False) is eval()
    a = dropped(row)
    with torch.no_grad():
        b = dropped(row)
    for name, z in [("no", a), ("yes", b)]:
        print(f"{mode:8}{name:8}{z.requires_grad!s:14}{z.mean():.3f}, {z.std():.3f}")

# %%
# In train mode a prediction is partly random. Its mean is the prediction of eval mode,
# since the model is linear. To evaluate, use both ``eval()`` and ``no_grad()``.

# %%
# A validation loss below the training loss
# -----------------------------------------
# Is that a mistake? Not if the training loss is from train mode: there dropout adds a
# penalty on large weights, on average :math:`p / (1-p) \sum_j w_j^2 m_j`, where
# :math:`m_j` is the mean of :math:`x_j^2`. The validation loss, from eval mode, has no
# penalty. So compare both in eval mode. As a check, here are losses of the true
# weights: in train mode the mean of 1,000. The *standard error* of such a mean is the
# standard deviation divided by the square root of 1,000: it says how far the mean
# usually is from that of all losses.

truth = new_model()
truth.load_state_dict({"weight": true_weights})
model = nn.Sequential(nn.Dropout(p), truth)
noisy = torch.tensor([loss_on(x, y, model) for _ in range(1000)])
penalty = p / (1 - p) * (true_weights.square() * x.square().mean(0)).sum().item()
error = noisy.std() / 1000**0.5
print(f"train mode: training loss {noisy.mean():.3f}, standard error {error:.3f}")
model.eval()
loss, validation_loss = loss_on(x, y, model), loss_on(validation_x, validation_y, model)
print(f"eval mode: training loss {loss:.3f}, plus the penalty {loss + penalty:.3f}")
print(f"eval mode: validation loss {validation_loss:.3f}")

# %%
# In short
# --------
# - A model overfits if its training loss falls while its validation loss rises.
# - Early stopping keeps a *copy* of the best ``state_dict``. Weight decay and dropout
#   keep the weights small.
# - To evaluate: ``model.eval()`` switches dropout off, ``torch.no_grad()`` recording.
#
# Next: which of several models to trust.

# %%
# Try it
# ------
# 1. *Predict.* With 1,000 rows for the same 80 weights, how far apart are training loss
#    and expected error in the last epoch? Write the two numbers down, then run
#    ``python examples/overfitting.py --rows 1000``.
# 2. *Change.* A common mistake: under *A validation loss below the training loss*,
#    delete the line ``model.eval()``. Which of the numbers change, and why?
# 3. *Write.* Keep the best weights, without looking at the code above: train a new
#    model for ``args.epochs`` epochs, without a stop. Then load the weights with the
#    lowest validation loss. Put your lines in place of ``yours = None``. End with
#    ``yours = loss_on(validation_x, validation_y, model)``.

yours = None
compare("lowest validation loss", yours, min(validation_losses))

# %%
# Answers
# -------
# 1. Both are near 1: 80 weights can fit only little of the noise of 1,000 rows. With so
#    little overfitting, weight decay and dropout make the expected error larger.
# 2. The last two lines. They grow, because both losses are now from train mode: they
#    contain a penalty of their own, and are partly random. There is no error and no
#    warning.
# 3. One way to write it::
#
#        model = new_model()
#        optimizer = SGD(model.parameters(), lr=args.lr)
#        lowest = float("inf")
#        for epoch in range(args.epochs):
#            validation_loss = loss_on(validation_x, validation_y, model)
#            if validation_loss < lowest:
#                lowest = validation_loss
#                best = copy.deepcopy(model.state_dict())
#            loss = loss_fn(model(x), y)
#            optimizer.zero_grad()
#            loss.backward()
#            optimizer.step()
#        model.load_state_dict(best)
#        yours = loss_on(validation_x, validation_y, model)
