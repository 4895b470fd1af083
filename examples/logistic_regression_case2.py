r"""
A deep network that learned a constant, and why
===============================================

This lesson is about a failure. A network learns from eight measurements of a woman
whether she will get diabetes. The loss falls in each line of the log. But in the end,
the network predicts nearly the same for all women. How do you notice that, and how do
you find the cause? Afterwards you can say whether a model has learned anything from its
inputs, and find out why training fails: change one thing at a time.
"""

# %%
# Setup
# -----
# ``--data FILE`` runs the lesson on a table of your own. Its label is the last column,
# or the one that ``--label`` names. The text describes the default table and options.

import matplotlib.pyplot as plt
import torch
from sklearn.datasets import load_wine
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from torch import nn

from cli import parse_args
from common import compare, fit, save_figure
from lesson_data import DIABETES, read_csv, require_numbers

# In a notebook, write data="table.csv" here for a table of your own.
args = parse_args(__doc__, epochs=2000, lr=0.01, seed=0, data=DIABETES, label="")
torch.manual_seed(args.seed)

# %%
# Data
# ----
# Each row of the table is a woman. Her label is 1 if she was diagnosed with diabetes
# within five years. `read_csv` returns a ``DataFrame``, the table of pandas, in which a
# column has a name. Four rows are printed as columns, under their numbers in the file.
# `require_numbers` ends the lesson if a column holds text. The numbers differ in size,
# so standardise each column, as in linear regression 3. (``ddof=0`` is pandas'
# ``correction=0``. A column of equal numbers has the standard deviation 0: divide it by
# 1.) In ``insulin``, a 0 means that it was not measured: see model selection.

features, labels = read_csv(args.data, args.label)
features = require_numbers(args.data, features, labels)
print(features.head(4).T)
print("labels:", labels[:4])
scaled = (features - features.mean()) / features.std(ddof=0).replace(0, 1)
x = torch.tensor(scaled.to_numpy(), dtype=torch.float32)  # shape (768, 8)
y = torch.tensor(labels, dtype=torch.float32).reshape(-1, 1)  # shape (768, 1)
if x.numel() > 100_000:
    print(f"{len(x)} rows, {x.shape[1]} columns: this takes minutes, see --epochs")

# %%
# Baseline
# --------
# What is a good loss for this table? Begin with predictions that use no measurement:
# the same probability for all women. 268 of the 768 labels are 1, a share of 0.349.
# Does it give a smaller loss than 0.1 and 0.5?

share = y.mean()
for p in [torch.tensor(0.1), share, torch.tensor(0.5)]:
    loss = share * -p.log() + (1 - share) * -(1 - p).log()
    print(f"{p:.3f} for all: loss {loss:.3f}")
baseline = (-share * share.log() - (1 - share) * (1 - share).log()).item()

# %%
# The share is best. For label 1 its loss is -log 0.349 = 1.053, for label 0 it is
# -log 0.651 = 0.429. The mean is 0.349 * 1.053 + 0.651 * 0.429 = 0.647. For a share q
# this is :math:`-q \log q - (1 - q) \log (1 - q)`, the *baseline*: a model that uses
# the measurements should get below it. (The accuracy has a baseline, too: always
# predicting class 0 is right for 65 of 100 women.)

# %%
# Model
# -----
# A *deep* network has more than one hidden layer: here six units, then four, with a
# sigmoid after each. Its output is a logit, as in logistic regression 1.


def network(activation):
    hidden = [nn.Linear(x.shape[1], 6), activation(), nn.Linear(6, 4), activation()]
    return nn.Sequential(*hidden, nn.Linear(4, 1))


model = network(nn.Sigmoid)

# %%
# You can also write it as a ``class``. ``nn.Sequential`` needs modules,
# ``nn.Sigmoid()``; a ``class`` can call functions, ``torch.sigmoid``. With the same
# linear layers the outputs are exactly the same.


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.last = model[0], model[2], model[4]

    def forward(self, x):
        h = torch.sigmoid(self.first(x))
        return self.last(torch.sigmoid(self.second(h)))


twin = Network()
print("the same outputs:", torch.equal(twin(x), model(x)))

# %%
# Training
# --------

loss_fn = nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
losses = fit(model, x, y, loss_fn, optimizer, args.epochs, log_every=400)

# %%
# Result
# ------
# The loss falls in each line. Is that a success? (``log_loss`` is scikit-learn's
# cross-entropy.)

with torch.inference_mode():
    p = torch.sigmoid(model(x))
linear = LogisticRegression().fit(x, labels)
linear_loss = log_loss(labels, linear.predict_proba(x))
print(f"loss {losses[-1]:.3f}, baseline {baseline:.3f}")
print(f"scikit-learn's logistic regression: loss {linear_loss:.3f}")
print(f"predictions of the network: {p.min():.3f} to {p.max():.3f}")

# %%
# It is not. The loss fell to about the baseline, far above that of scikit-learn. All
# predictions are near the share of label 1. To learn this share, it is enough to change
# the bias of the last layer.

# %%
# One change at a time
# --------------------
# A step is the learning rate times the gradient. The gradient of the first layer comes
# back through two sigmoids, with slopes of at most 1/4 (see activation functions). So
# its steps may be too small. Two changes make them larger: tanh, whose slope reaches
# 1, or a rate a hundred times as large. Try each alone, from the same ten starts: one
# may be an exception. A start has left the baseline if its loss is 0.02 below.
#
# .. guess::
#
#    How many of ten starts leave the baseline, with each change? And without one?

starts = [network(nn.Sigmoid).state_dict() for _ in range(10)]
experiments = [("sigmoid", nn.Sigmoid, args.lr), ("tanh", nn.Tanh, args.lr)]
experiments.append(("sigmoid, rate 1", nn.Sigmoid, 1.0))
fig, axes = plt.subplots(2, 3, figsize=(11, 6.6), sharex="row", sharey="row")
for i, (name, activation, rate) in enumerate(experiments):
    above, below, left = axes[0, i], axes[1, i], 0
    for start in starts:
        model = network(activation)
        model.load_state_dict(start)
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        losses = fit(model, x, y, loss_fn, optimizer, args.epochs, log_every=0)
        if min(losses) < baseline - 0.02:
            left += 1
        above.plot(range(1, args.epochs + 1), losses, "C0", linewidth=1)
    print(f"{name}: {left} of 10 starts leave the baseline")
    above.axhline(baseline, color="black", linestyle="--", label="baseline")
    above.set(title=name, xlabel="epoch")
    with torch.inference_mode():
        p = torch.sigmoid(model(x))  # after the tenth start
    groups = [p[y == 0], p[y == 1]]
    below.hist(groups, range=(0, 1), stacked=True, label=["label 0", "label 1"])
    below.set(title=name, xlabel="predicted probability of label 1")
axes[0, 0].set_ylabel("training loss")
axes[1, 0].set_ylabel("number of women")
above.legend()
below.legend()
save_figure(fig, args.output / "logistic_regression_case2.png")

# %%
# Above, each line is a start. Below are the predictions after the tenth. Without a
# change, no start leaves the baseline. With tanh all do, and at a rate of 1, too. So
# neither the sigmoid nor the rate is wrong alone: together they make steps too small.

# %%
# In short
# --------
# - First compute the baseline, the loss of the best constant. For a share q of label 1
#   it is :math:`-q \log q - (1 - q) \log (1 - q)`.
# - A falling loss does not show that a model uses its inputs: look at the predictions.
# - To find a cause, change one thing at a time, from several starts, the same for all.
#
# Next: a model that learns its training data too well.

# %%
# Try it
# ------
# 1. *Predict.* Two slopes of 1/4 make 1/16. So try a rate 16 times as large. How many
#    of ten starts leave the baseline with sigmoids? Write it down, then run
#    ``python examples/logistic_regression_case2.py --lr 0.16``.
# 2. *Change.* In the line ``optimizer = torch.optim.SGD(model.parameters(), lr=rate)``
#    put ``Adam`` in place of ``SGD``. How many starts leave the baseline with sigmoids
#    now, at the same rate of 0.01, in the first line? Why?
# 3. *Write.* The table below has three kinds of wine. Compute the smallest loss that
#    the same probabilities for all rows can have, and the best accuracy of the same
#    class for all. The loss is the mean of -log p over the rows, where p is the
#    probability of the right class. ``torch.bincount`` counts each class. In place of
#    ``yours = None`` put lines that end with ``yours = [loss, accuracy]``.

wine = load_wine()
kind = torch.tensor(wine.target)  # 0, 1 or 2, shape (178,)
dummy = DummyClassifier(strategy="prior").fit(wine.data, kind)  # predicts the shares
best = [log_loss(kind, dummy.predict_proba(wine.data)), dummy.score(wine.data, kind)]
yours = None
compare("baseline of the wines", yours, best)

# %%
# Answers
# -------
# 1. All ten. Near the baseline the gradient is small, but not 0. So larger steps are
#    enough, and the sigmoids can stay.
# 2. All ten. Adam divides each gradient by its usual size, as linear regression 3 says.
#    So a small gradient does not mean a small step.
# 3. The best probabilities are the shares of the classes::
#
#        shares = torch.bincount(kind) / len(kind)
#        loss = -(shares * shares.log()).sum()
#        yours = [loss, shares.max()]
