r"""
Fashion-MNIST in mini-batches
=============================

Which article of clothing does an image show? Fashion-MNIST has 70,000 images of ten
kinds. A step over all of them is slow, so each step takes a few: a *mini-batch*.
Afterwards you can train on images with a ``DataLoader``, on a GPU if there is one, and
see what the model has learned and what it confuses.
"""

# %%
# Setup
# -----
# With ``--sample`` the lesson uses 5,000 images that come with it, and takes seconds.

import matplotlib.pyplot as plt
import torch
from sklearn.metrics import ConfusionMatrixDisplay, confusion_matrix
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split

from cli import parse_args
from common import compare, pick_device, save_figure, save_state_dict
from lesson_data import CLASSES, load_fashion_mnist

options = {"epochs": 5, "lr": 0.05, "batch_size": 100, "seed": 0, "device": "auto"}
args = parse_args(__doc__, **options, sample=False)
torch.manual_seed(args.seed)

# %%
# Data
# ----
# An image has 28 rows of 28 pixels, each a number from 0 (black) to 1 (white). In the
# tensor they are one row of 784 numbers. A label is the index of a class.

train_x, train_y, test_x, test_y = load_fashion_mnist(args.sample, "cpu")
print("training images", tuple(train_x.shape), "labels", train_y.dtype)
fig, axes = plt.subplots(2, 5, figsize=(10, 4.6))
for k, ax in enumerate(axes.flat):
    ax.imshow(train_x[train_y == k][0].reshape(28, 28).numpy(), cmap="gray")
    ax.set_title(f"{k}: {CLASSES[k]}")
    ax.axis("off")
save_figure(fig, args.output / "logistic_regression_case3_data.png")

# %%
# Mini-batches
# ------------
# A sixth of the training images is held out for validation. A ``DataLoader`` cuts a
# dataset, here images with their labels, into *batches*. With ``shuffle=True`` it draws
# a new order in each epoch: the random batches are the S, for *stochastic*, in SGD.

dataset = TensorDataset(train_x, train_y)
train_set, validation_set = random_split(dataset, [5 / 6, 1 / 6])
train_loader = DataLoader(train_set, batch_size=args.batch_size, shuffle=True)
validation_loader = DataLoader(validation_set, batch_size=1000)
test_loader = DataLoader(TensorDataset(test_x, test_y), batch_size=1000)
images, labels = next(iter(train_loader))  # one batch
print(f"{len(train_loader)} batches of", tuple(images.shape), tuple(labels.shape))

# %%
# Model, device and loss
# ----------------------
# One linear layer: ten logits, each a weighted sum of all pixels plus a bias. They are
# computed on a *device*, the CPU or a GPU (``cuda`` of NVIDIA, ``mps`` of Apple).
# `pick_device` takes a GPU, if there is one. Model and inputs must be on the same
# device. ``model.to(device)`` moves the model. ``images.to(device)`` moves nothing: it
# returns a tensor on the device, so give that a name. (On a GPU two runs can differ in
# the last digits. ``torch.use_deterministic_algorithms(True)`` prevents that, or says
# it cannot.)
#
# The softmax is in ``CrossEntropyLoss``, not in the model. Other code has
# ``log_softmax`` and ``NLLLoss`` (-log p of log-probabilities): the same loss. A model
# that gives each class the probability 0.1 has the loss -log 0.1 = 2.303. An untrained
# one is near it.

device = pick_device(args.device)
model = nn.Linear(784, 10).to(device)
images, labels = images.to(device), labels.to(device)
print(f"model on {next(model.parameters()).device}, images on {images.device}")
loss_fn = nn.CrossEntropyLoss()
print(f"CrossEntropyLoss {loss_fn(model(images), labels).item():.4f}")
print(f"NLLLoss {nn.NLLLoss()(model(images).log_softmax(dim=1), labels).item():.4f}")

# %%
# Training
# --------
# The loop of linear regression 1, with a step for each batch. The loss of a batch is a
# mean, and the last batch may be shorter. So each loss is multiplied by the number of
# images in the batch, and the sum is divided by the number of all images. The training
# loss is measured during the epoch, while the model still learns, the validation loss
# after it. So the training loss can be the larger one.


def evaluate(model, loader):
    model.eval()
    loss_sum, correct = 0, 0
    with torch.inference_mode():
        for images, labels in loader:
            images, labels = images.to(device), labels.to(device)
            logits = model(images)
            loss_sum += loss_fn(logits, labels).item() * len(labels)
            correct += (logits.argmax(dim=1) == labels).sum().item()
    return loss_sum / len(loader.dataset), correct / len(loader.dataset)


def train(model, lr):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    history = []
    for epoch in range(1, args.epochs + 1):
        model.train()
        loss_sum = 0
        for images, labels in train_loader:
            images, labels = images.to(device), labels.to(device)
            loss = loss_fn(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(labels)
        validation_loss, accuracy = evaluate(model, validation_loader)
        history.append(validation_loss)
        print(f"rate {lr} epoch {epoch}  loss {loss_sum / len(train_set):.3f}", end="")
        print(f"  validation loss {validation_loss:.3f} accuracy {accuracy:.3f}")
    return history


history = train(model, args.lr)

# %%
# Learning rate
# -------------
# Is 0.05 a good rate? Four models differ only in it: with the same seed they have the
# same start and the same batches. (The model above had another start and other batches,
# so its losses at 0.05 differ.) Compare their loss on the validation images.

fig, ax = plt.subplots()
for lr in [0.0005, 0.005, 0.05, 0.5]:
    torch.manual_seed(args.seed)
    candidate = nn.Linear(784, 10).to(device)
    ax.plot(range(1, args.epochs + 1), train(candidate, lr), "o-", label=f"{lr}")
ax.locator_params(axis="x", integer=True)
ax.set(xlabel="epoch", ylabel="validation loss (cross-entropy)")
ax.legend(title="learning rate")
save_figure(fig, args.output / "logistic_regression_case3_rates.png")

# %%
# Result
# ------
# 0.0005 and 0.005 are slow, 0.5 is too large: in most epochs 0.05 has the lowest loss,
# so it stays. Now the test images are used, once. scikit-learn's
# ``LogisticRegression(tol=1e-6)``, trained on all 60,000 until its loss hardly falls,
# has a test accuracy of 0.844; the best logistic regression in the `paper
# <https://arxiv.org/abs/1708.07747>`__ on Fashion-MNIST has 0.842. With all images, the
# accuracy after five epochs is less than 0.03 below.

test_loss, test_accuracy = evaluate(model, test_loader)
print(f"test loss {test_loss:.4f}, test accuracy {test_accuracy:.4f}")
model.to("cpu")
save_state_dict(model, args.output / "logistic.pth")

# %%
# What the model has learned
# --------------------------
# Each class has a weight for each pixel, so its weights are an image. Where a weight is
# positive (red), a light pixel raises the logit of the class; where it is negative
# (blue), it lowers it. Between the legs of the trousers, light counts against them.

weights = model.weight.detach().reshape(10, 28, 28).numpy()
limit = abs(weights).max() / 2  # beyond it, the colour stays the same
fig, axes = plt.subplots(2, 5, figsize=(10, 4.6))
for k, ax in enumerate(axes.flat):
    image = ax.imshow(weights[k], cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.set_title(CLASSES[k])
    ax.axis("off")
fig.colorbar(image, ax=axes, label="weight", extend="both")
save_figure(fig, args.output / "logistic_regression_case3.png")

# %%
# Mistakes
# --------
# The figure shows the first eight mistakes on the test images: the true class, and the
# predicted one with its probability. The *confusion matrix* counts all test images: a
# row for each true class, a column for each predicted one, mistakes off the diagonal.
#
# .. guess::
#
#    Look at the ten images at the top. Which classes does the model mix up most often?

with torch.inference_mode():
    probability, predicted = model(test_x).softmax(dim=1).max(dim=1)  # value, index
wrong = (predicted != test_y).nonzero().flatten()
fig, axes = plt.subplots(2, 4, figsize=(10, 5.6))
for i, ax in zip(wrong, axes.flat):
    ax.imshow(test_x[i].reshape(28, 28).numpy(), cmap="gray")
    ax.set_title(f"{CLASSES[test_y[i]]}\n{CLASSES[predicted[i]]}? {probability[i]:.2f}")
    ax.axis("off")
save_figure(fig, args.output / "logistic_regression_case3_mistakes.png")
order = [0, 6, 2, 4, 3, 1, 8, 5, 7, 9]  # similar classes side by side
matrix = confusion_matrix(test_y, predicted, labels=order)
display = ConfusionMatrixDisplay(matrix, display_labels=[CLASSES[k] for k in order])
fig, ax = plt.subplots(figsize=(8, 7.5))
display.plot(ax=ax, cmap="Blues", colorbar=False, xticks_rotation="vertical")
ax.grid(False)
save_figure(fig, args.output / "logistic_regression_case3_confusion.png")
among = matrix[:4, :4].sum() - matrix[:4, :4].trace()
print(f"{among} of {len(wrong)} mistakes are among T-shirts, shirts, pullovers, coats")

# %%
# In short
# --------
# - A ``DataLoader`` gives shuffled batches. A step takes one; an epoch takes them all.
# - Model and batch go to one device: ``images = images.to(device)``.
# - A mean over an epoch counts each batch by its number of images.
#
# Next: images of your own, classified by this model.

# %%
# Try it
# ------
# 1. *Predict.* With batches ten times as large, is the test accuracy after five epochs
#    higher or lower? And after 50 epochs? Write it down, then run
#    ``python examples/logistic_regression_case3.py --sample``, the same with
#    ``--batch-size 1000``, and the same with ``--batch-size 1000 --epochs 50``.
# 2. *Change.* Give the candidates a hidden layer: in the line
#    ``candidate = nn.Linear(784, 10).to(device)`` put
#    ``nn.Sequential(nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))`` in place of
#    ``nn.Linear(784, 10)``, and run it without ``--sample``. What happens to the
#    validation loss at the rate 0.05?
# 3. *Write.* Compute the softmax of each row of z, by its formula with ``torch.exp``.
#    But in float32 exp(1000) is infinite. Use that a softmax stays the same if the same
#    number is subtracted from all logits of a row. (``keepdim=True`` keeps the axis.)

z = torch.tensor([[1.0, 2.0, 3.0], [1000.0, 1001.0, 1002.0], [-1000.0, 0.0, 0.0]])
yours = None
compare("softmax", yours, z.softmax(dim=1))

# %%
# Answers
# -------
# 1. After five epochs it is lower: an epoch has 4 steps instead of 34. After 50 epochs,
#    with 200 steps instead of 170, it is about the same as with batches of 100.
# 2. After five epochs it is lower: a hidden layer helps. The best rate may be another
#    one now: a rate suits one model.
# 3. Subtract the largest logit of the row, so that no exponent is positive::
#
#        e = torch.exp(z - z.max(dim=1, keepdim=True).values)
#        yours = e / e.sum(dim=1, keepdim=True)
