r"""
From a line to a probability
============================

How does a model predict yes or no? A line returns any number: 2.7, or -40. The
*sigmoid* turns each number into a *probability*, from 0 to 1. The probability 0.9
means: of ten such cases, about nine are a yes. A line with a sigmoid is called
*logistic regression*. Here it predicts from hours of study whether somebody passes an
exam. Afterwards you can train a model for two classes, and read its outputs.
"""

# %%
# Setup
# -----

import matplotlib.pyplot as plt
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from cli import parse_args
from common import compare, fit, save_figure

args = parse_args(__doc__, epochs=1000, lr=0.1, seed=0)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# Each example has a *label*, the number of its *class*: 1 for passed, 0 for not passed.
# The loss needs labels of the shape and the dtype of the model's outputs.

x = torch.tensor([[0.6], [1.0], [3.5], [4.0]])  # hours, shape (4, 1)
y = torch.tensor([[0.0], [0.0], [1.0], [1.0]])
print(torch.cat([x, y], dim=1))

# %%
# Model
# -----
# The model is still a line. Its output w x + b is called the *logit*. The sigmoid of a
# logit z, :math:`1 / (1 + e^{-z})`, is the probability of class 1. It is not in the
# model: the loss contains it, and you call it when you want a probability.

model = nn.Linear(1, 1)
print(torch.sigmoid(torch.tensor([-5.0, -2.0, 0.0, 2.0, 5.0])))

# %%
# Loss
# ----
# Let p be the probability of the *right* class: the sigmoid for label 1, and 1 minus
# the sigmoid for label 0. The loss should be small if p is near 1, and large if p is
# near 0. The *cross-entropy* is such a loss: -log p, with the natural logarithm. Why
# the logarithm? Two coins both show heads with the probability 0.5 * 0.5 = 0.25, and
# so two labels with p = 0.5. Their losses add to 0.69 + 0.69 = 1.39, and this is
# -log 0.25. So the smallest sum of losses means the largest probability of all labels.

p = torch.tensor([0.99, 0.5, 0.25, 0.01])
print(-p.log())
z, q = torch.linspace(-6, 6, 200), torch.linspace(0.005, 1, 200)
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 3.6))
left.plot(z, torch.sigmoid(z))
left.set(xlabel="logit z", ylabel="sigmoid of z", yticks=[0, 0.5, 1])
right.plot(q, -q.log())
right.plot(p, -p.log(), "o")
right.set(xlabel="p", ylabel="loss, -log p", xticks=p, yticks=[0.01, 0.69, 1.39, 4.61])
save_figure(fig, args.output / "logistic_regression_case1_loss.png")

# %%
# Logits, not probabilities
# -------------------------
# ``BCELoss`` (*binary cross-entropy*) takes the probability of class 1, and
# ``BCEWithLogitsLoss`` the logit. Give the loss the logit. In 32 bits the sigmoid of 20
# is exactly 1, and its derivative is 0. So with ``BCELoss`` such a mistake gets a
# gradient of 0: nothing is learned from it.

for value in [2.0, 20.0]:
    label = torch.tensor(0.0)  # so a large logit is a mistake
    a = torch.tensor(value, requires_grad=True)  # gets a gradient, like a parameter
    nn.BCELoss()(torch.sigmoid(a), label).backward()
    b = torch.tensor(value, requires_grad=True)
    nn.BCEWithLogitsLoss()(b, label).backward()
    print(f"logit {value}: gradient {a.grad:.2f} by BCELoss, {b.grad:.2f} by logits")

# %%
# Training
# --------
# The loss of an epoch is the mean over the four points. It would be 0.69 if each
# probability were 0.5. For two exams (*multi-label*), take ``nn.Linear(1, 2)``, and a
# column of ``y`` for each. The loss stays ``BCEWithLogitsLoss``.

loss_fn = nn.BCEWithLogitsLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
losses = fit(model, x, y, loss_fn, optimizer, args.epochs, log_every=200)

# %%
# Result
# ------
# Class 1 is predicted where its probability is above 0.5: where the logit is positive.
# The *accuracy* is the share of right predictions.

grid = torch.linspace(0, 5, 200).reshape(-1, 1)  # for the figures
with torch.inference_mode():
    logits, line = model(x), model(grid)
print(torch.cat([x, logits, torch.sigmoid(logits), y], dim=1))
accuracy = ((logits > 0) == (y == 1)).float().mean().item()
best = LogisticRegression().fit(x.numpy(), y.flatten().numpy())
score = best.score(x.numpy(), y.flatten().numpy())
print(f"accuracy {accuracy:.2f}, of scikit-learn's LogisticRegression {score:.2f}")
fig, ax = plt.subplots()
ax.plot(grid, line, "C1--", label="logit, w x + b")
ax.plot(grid, torch.sigmoid(line), label="probability, its sigmoid")
ax.plot(x, y, "ko", label="label")
ax.set(xlabel="hours", ylim=(-1, 2), yticks=[-1, 0, 0.5, 1, 2])
ax.legend()
save_figure(fig, args.output / "logistic_regression_case1.png")

# %%
# There is no best weight
# -----------------------
# If all points are right, a weight and a bias twice as large give a smaller loss. So
# the weight grows without a limit, and the loss comes closer and closer to 0.
# scikit-learn adds a *penalty* to the sum of the losses: half the square of the weight.
# The mean is a quarter of the sum, so to the mean add an eighth. Then both find the
# same numbers.

print(f"loss {loss_fn(logits, y):.3f}, twice w and b: {loss_fn(2 * logits, y):.3f}")
print(f"weight {model.weight.item():.3f}, bias {model.bias.item():.3f}")
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
for _ in range(500):
    loss = loss_fn(model(x), y) + model.weight.square().sum() / 8
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
print(f"penalty: weight {model.weight.item():.3f}, bias {model.bias.item():.3f}")
print(f"scikit-learn: weight {best.coef_[0, 0]:.3f}, bias {best.intercept_[0]:.3f}")

# %%
# A falling loss
# --------------
# Start from weight -1 and bias 0, and take 500 epochs at a rate of 0.01: the loss falls
# in every epoch, from 2.07 to 0.41. Then change only the epochs, and only the rate.
#
# .. guess::
#
#    How many of the four points are right at the end of the first run?

point_loss = nn.BCEWithLogitsLoss(reduction="none")  # a loss for each point, no mean
fig, axes = plt.subplots(1, 3, figsize=(12, 3.6))
for ax, (epochs, rate) in zip(axes, [(500, 0.01), (1000, 0.01), (500, 0.1)]):
    model = nn.Linear(1, 1)
    nn.init.constant_(model.weight, -1.0)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    losses = fit(model, x, y, loss_fn, optimizer, epochs, log_every=0)
    with torch.inference_mode():
        logits, curve = model(x), torch.sigmoid(model(grid))
    wrong = (logits > 0) != (y == 1)
    falls = losses == sorted(losses, reverse=True)
    print(f"{epochs} epochs at {rate}: {4 - wrong.sum()} of 4 right, ", end="")
    print(f"loss {losses[-1]:.2f}, falls each time: {falls}")
    ax.plot(grid, curve)
    ax.plot(x, y, "ko", label="label")
    ax.plot(x[wrong], y[wrong], "C1o", markersize=16, fillstyle="none", label="wrong")
    ax.annotate(f"loss {point_loss(logits, y)[1].item():.2f}", (1.4, -0.02))
    ax.axhline(0.5, color="black", linewidth=0.8)
    ax.set(title=f"{epochs} epochs at {rate}", xlabel="hours", ylabel="probability")
save_figure(fig, args.output / "logistic_regression_case1_wrong.png")

# %%
# The figure shows the loss of the point at 1 hour. It is above 0.69 while the point is
# wrong (the ring). More epochs or a larger rate help. Training lowers the mean loss. It
# does not count mistakes: the last two runs have none, but two losses. On the web page
# of this lesson you can choose weight and bias yourself.
#
# .. interactive:: sigmoid

# %%
# In short
# --------
# - The model returns a logit. Its sigmoid is the probability of class 1.
# - The loss is -log p for the right class. ``BCEWithLogitsLoss`` takes logits.
# - The loss can fall while the accuracy stays the same.
#
# Next: classes that no line can separate.

# %%
# Try it
# ------
# 1. *Predict.* Train ten times as long. What happens to the loss of the last epoch, and
#    to the weight? Write it down, then run
#    ``python examples/logistic_regression_case1.py --epochs 10000``.
# 2. *Change.* A common mistake is a sigmoid in front of ``BCEWithLogitsLoss``. In the
#    line ``losses = fit(model, x, y, loss_fn, optimizer, args.epochs, log_every=200)``
#    put ``nn.Sequential(model, nn.Sigmoid())``, the model followed by a sigmoid, in
#    place of ``model``. Its outputs are between 0 and 1. What is the smallest loss
#    then, for label 1 and for label 0? Does the loss of the run stay above their mean?
# 3. *Write.* Compute the cross-entropy of each logit z below, without a loss of
#    PyTorch. For label 0 it is log(1 + exp(z)), for label 1 log(1 + exp(-z)). But in
#    float32 exp(200) is infinite. Use that log(1 + exp(s)) = s + log(1 + exp(-s)).

z = torch.tensor([-200.0, -2.0, 0.0, 2.0, 200.0, -200.0])
label = torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0, 1.0])
yours = None
compare("cross-entropy", yours, point_loss(z, label))

# %%
# Answers
# -------
# 1. The loss is about a tenth, 0.0035 instead of 0.035. The weight is about 4.2 instead
#    of 2.5. It grows more and more slowly, but without a limit.
# 2. It stays above 0.5032. The loss takes the outputs of your sigmoid for logits, and
#    applies its own sigmoid to them. For label 1 the best output is 1, with a loss of
#    log(1 + exp(-1)) = 0.3133; for label 0 it is 0, with a loss of log 2 = 0.6931. The
#    mean of two and two is 0.5032.
# 3. Choose the form in which the exponent is not positive::
#
#        s = torch.where(label == 1, -z, z)
#        yours = s.clamp(min=0) + (1 + torch.exp(-s.abs())).log()
