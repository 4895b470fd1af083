"""
Images of your own
==================

What does a saved model say about a photograph of yours? Logistic regression 3 saved a
model of Fashion-MNIST. Here it classifies image files::

    python examples/use_saved_model.py shirt.jpg

Afterwards you can use a saved model on a file, say which pixels decided, and tell when
not to believe its probability.
"""

# %%
# Setup
# -----
# Without files of yours the lesson takes four samples: a boot and trousers, which are
# test images of Fashion-MNIST, and drawings of a T-shirt and a bag.

from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

from cli import ROOT, parse_args
from common import compare, load_state_dict, save_figure
from lesson_data import CLASSES, prepare

args = parse_args(__doc__, images=[])
names = ["boot.png", "tshirt.png", "bag.png", "trousers.png"]
samples = [ROOT / "data" / "images" / name for name in names]
paths = [Path(name) for name in args.images] or samples

# %%
# Data
# ----
# A model expects inputs like those of its training: here 28 x 28 pixels, the article of
# clothing in the middle, light on black. `prepare` makes such a tensor from a file. It
# cuts off the margin, rescales the values (the background becomes 0, the lightest pixel
# 1), and scales the longer side to 28 pixels. An image darker than its border is
# inverted first. The background must be plain: shadows and other objects stay.

images, inputs = [], []
for path in paths:
    image, pixels = prepare(path)
    images.append(image)
    inputs.append(pixels)
x = torch.stack(inputs)  # shape (n, 28, 28)

n = min(len(x), 8)  # more would make too large a figure
fig, axes = plt.subplots(2, n, figsize=(2.5 * n, 5), squeeze=False)
for i in range(n):
    axes[0, i].imshow(images[i])
    axes[0, i].set_title(paths[i].name, fontsize=9)
    axes[1, i].imshow(x[i].numpy(), cmap="gray", vmin=0, vmax=1)
    axes[1, i].set_title("what the model sees")
for ax in axes.flat:
    ax.axis("off")
save_figure(fig, args.output / "use_saved_model_data.png")

# %%
# Model
# -----
# The file holds only the parameters, so build the same layers first. Without a model of
# yours from logistic regression 3, the lesson takes the one that comes with it.

path = args.output / "logistic.pth"
if not path.exists():
    path = ROOT / "data" / "fashion_mnist_linear.pth"
print(f"model: {path}")
model = nn.Linear(784, 10)
load_state_dict(model, path)  # in short: model.load_state_dict(torch.load(path))
model.eval()  # changes nothing here, but a model with dropout needs it (overfitting)

# %%
# Result
# ------
# The softmax turns ten logits into ten probabilities. Here are the three largest.
#
# .. guess::
#
#    Which of the four samples could get a wrong class, and which class?

with torch.inference_mode():
    logits = model(x.flatten(1))  # (n, 784) to (n, 10)
probability, classes = logits.softmax(dim=1).sort(descending=True)
for i, path in enumerate(paths):
    three = [f"{CLASSES[classes[i, j]]} {probability[i, j]:.3f}" for j in range(3)]
    print(f"{path.name}: {', '.join(three)}")

# %%
# One image
# ---------
# A model takes a batch. One image alone is a batch of one, with the shape (1, 784).
# Without the first axis the ten logits have the shape (10,), and ``softmax(dim=1)``
# finds no axis 1. ``[None]`` adds the first axis; so does ``unsqueeze(0)``. In eval
# mode the other images of a batch do not matter.
#
# In train mode they can. *Batch normalisation* (``nn.BatchNorm2d``) subtracts the mean
# of the batch then, and in eval mode an average from the training. After few batches
# this average can be wrong, and eval mode worse: train longer, keep ``eval()``.

one = x[0].flatten()
try:
    model(one).softmax(dim=1)
except IndexError as error:
    print(f"logits {tuple(model(one).shape)}: {error}")


def answer(name, image):
    p, k = model(image.flatten()[None]).softmax(dim=1)[0].max(dim=0)
    print(f"{name}: {CLASSES[k]} {p:.3f}")


answer("one image", x[0])

# %%
# Which pixels decided?
# ---------------------
# A logit is a sum over the pixels, weight times pixel, plus a bias. So is the
# difference of two logits, with the difference of their weights. For the two most
# probable classes, the last column shows that difference times each pixel: red pixels
# count for the first class, blue ones for the second.

weight = model.weight.detach().reshape(10, 28, 28)
terms = (weight[classes[:, 0]] - weight[classes[:, 1]]) * x  # shape (n, 28, 28)

fig, axes = plt.subplots(n, 3, figsize=(9, 2.5 * n), squeeze=False)
for i, (seen, bars, decision) in enumerate(axes):
    seen.imshow(x[i].numpy(), cmap="gray", vmin=0, vmax=1)
    bars.barh(range(10), logits[i].softmax(dim=0).numpy())
    bars.set_yticks(range(10), CLASSES)
    bars.invert_yaxis()  # the first class above
    bars.set(xlim=(0, 1), title="probability")
    limit = terms[i].abs().max()
    decision.imshow(terms[i].numpy(), cmap="RdBu_r", vmin=-limit, vmax=limit)
    decision.set_title(f"{CLASSES[classes[i, 0]]} or {CLASSES[classes[i, 1]]}?")
    seen.axis("off")
    decision.axis("off")
save_figure(fig, args.output / "use_saved_model.png")

# %%
# The model that comes with the lesson says that the trousers are a dress. The legs
# touch, and the pixels between them, light on the left, are red on the right: they
# count for the dress. Are they the cause? Change only them: make them black. For
# comparison, make as many pixels of the left leg black.
#
# .. guess::
#
#    What does the model say about each of the two changed images?

trousers = prepare(samples[3])[1]
between, leg = trousers.clone(), trousers.clone()
between[10:, 13:15] = 0  # from row 10 on, columns 13 and 14
leg[10:, 10:12] = 0
answer("trousers", trousers)
answer("black between the legs", between)
answer("black on the left leg", leg)

# %%
# If only the first change makes them trousers, the place of the black pixels decides,
# and not their number. On the web page of this lesson you can draw clothes yourself.
#
# .. interactive:: draw

# %%
# Nearly 1, and wrong
# -------------------
# The ten probabilities add up to 1 for any image: the model cannot say "none of these".
# Here are the T-shirt from `prepare`, then without its inversion and without its
# rescaling, the boot not in the middle, and an image without an article.

tshirt = prepare(samples[1])[1]
answer("T-shirt", tshirt)
answer("T-shirt, dark on white", 1 - tshirt)
answer("T-shirt, pale", 0.12 * tshirt)
answer("boot, five pixels down", prepare(samples[0])[1].roll(5, dims=0))
answer("all white", torch.ones(28, 28))

# %%
# In short
# --------
# - A saved model needs the same layers, and inputs prepared as those of its training.
# - One image is a batch of one: ``image[None]`` adds the first axis.
# - A probability near 1 does not mean that the model is right.
#
# Next: a folder of images, read in batches.

# %%
# Try it
# ------
# 1. *Predict.* Photograph (or draw) three articles of clothing, each on a plain
#    background that
#    is lighter or darker, one of them lying on its side. Write down for each what the
#    model will say. Then run
#    ``python examples/use_saved_model.py one.jpg two.jpg three.jpg``. Which are right?
#    Why not the others? Look at what the model sees, and at the red pixels.
# 2. *Change.* Below the line ``x = torch.stack(inputs)`` add ``x = x.flip(2)``. It
#    mirrors the images. Which of the four samples becomes wrong, and why only this one?
# 3. *Write.* ``pale`` is the trousers as a pale article on a white background, before
#    `prepare`: from 0.88 to 1. Make the image that the model expects, light on black
#    and from 0 to 1, without the numbers 0.88 and 0.12.

pale = 1 - 0.12 * trousers
yours = None
compare("prepared by hand", yours, trousers)

# %%
# Answers
# -------
# The first two are for the model that comes with the lesson.
#
# 1. The one on its side is most likely wrong: nearly all training images are upright.
#    The four samples, turned by 90 degrees to the left, are all wrong. If the article
#    is small or not in the middle, `prepare` kept a shadow or another object, too.
#    Nearly all shoes of the training images point to the left: mirror yours, and try
#    again. T-shirts, shirts, pullovers and coats are often mixed up, also in the test
#    images.
# 2. The boot: it now points to the right. T-shirt, bag and trousers look nearly the
#    same in the mirror; the trousers stay a dress.
# 3. The background is the lightest pixel, the article is darker::
#
#        yours = pale.max() - pale
#        yours = yours / yours.max()
