"""
Images from a folder
====================

How do images of your own reach a model? They are files, of many sizes, and may not all
fit in memory. A ``Dataset`` reads one image, a ``DataLoader`` makes batches. Afterwards
you can train on a folder of images, transform them, and read them with workers.
"""

# %%
# Setup
# -----
# ``--data FOLDER`` takes images of your own: FOLDER has a folder for each class.

import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, TensorDataset
from torchvision import transforms
from torchvision.datasets import ImageFolder

from cli import HERE, fail, parse_args
from common import compare, pick_device, save_figure
from lesson_data import CLASSES, SAMPLE_FOLDER, load_fashion_mnist

options = {"epochs": 3, "lr": 0.01, "batch_size": 64, "seed": 0, "device": "auto"}
args = parse_args(__doc__, **options, data=None)
device = pick_device(args.device)

# %%
# Data
# ----
# By default the lesson writes such a folder, with 1000 images of Fashion-MNIST.
# ``ImageFolder`` lists its images; other files, and HEIC, a format of phones, are left
# out. A folder is a class; its label is its place in alphabetical order, capital
# letters first, so an ankle boot has label 0 here, not 9. An image has three
# *channels*: red, green and blue (all equal if it is grey). In a tensor they are first,
# for matplotlib last: ``permute`` moves the axes.

folder = args.data
if folder is None:
    folder = args.output / "clothes"
    pixels, numbers, *_ = load_fashion_mnist(SAMPLE_FOLDER.exists(), "cpu")
    for i in range(1000):
        path = folder / CLASSES[numbers[i]].split("/")[0] / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image = (255 * pixels[i]).round().byte().reshape(28, 28)
        Image.fromarray(image.numpy()).save(path)

files = ImageFolder(folder, transform=transforms.ToTensor())
if len(files.classes) < 2:
    fail(f"{folder} has one class only, {files.classes[0]}")
print(len(files), "images of", len(files.classes), "classes")
fig = plt.figure(figsize=(10, 4.4))
for k, name in enumerate(files.classes[:10]):
    i = files.targets.index(k)  # the first image of the class
    ax = fig.add_subplot(2, 5, k + 1)
    ax.imshow(files[i][0].permute(1, 2, 0).numpy())
    ax.set_title(f"{k}: {name}")
    ax.axis("off")
save_figure(fig, args.output / "data_loading.png")

# %%
# A Dataset of your own
# ---------------------
# A ``Dataset`` needs two methods. ``len(dataset)`` calls ``__len__``. ``dataset[i]``
# calls ``__getitem__``, which reads the file only then: not all files are in memory.


class Clothes(Dataset):
    def __init__(self, samples):
        self.samples = samples  # a list of pairs (path, label)

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        path, label = self.samples[i]
        image = Image.open(path).convert("L")  # "L" is grey, "RGB" is colour
        image = image.resize((28, 28), Image.Resampling.BILINEAR)
        x = torch.tensor(np.array(image)) / 255  # from 0 to 1
        return x.reshape(1, 28, 28), label  # one channel


# %%
# Transforms
# ----------
# ``ImageFolder`` is such a ``Dataset``. A *transform* is a function that it applies to
# each image; ``Compose`` applies several in turn. ``ToTensor`` returns numbers from 0
# to 1. ``Resize`` gives all images one size, ``Grayscale`` one channel: add it if a
# model says that it ``expected input[64, 3, 28, 28] to have 1 channels``.

steps = [transforms.Grayscale(), transforms.Resize((28, 28)), transforms.ToTensor()]
grey = ImageFolder(folder, transform=transforms.Compose(steps))
images, labels = torch.stack([x for x, _ in grey]), torch.tensor(grey.targets)
own = torch.stack([x for x, _ in Clothes(files.samples)])
print("images", tuple(images.shape), "same by Clothes:", torch.equal(images, own))

# %%
# ``Normalize`` subtracts a mean and divides by a standard deviation (linear regression
# 3). Compute both on the training images, and take the same two for test images. (The
# 0.1307 and 0.3081 of many tutorials belong to other images, the digits of MNIST.)

mean, std = images.mean().item(), images.std(correction=0).item()
print(f"mean {mean:.4f}, standard deviation {std:.4f}")
steps = [*steps, transforms.Normalize([mean], [std])]
dataset = ImageFolder(folder, transform=transforms.Compose(steps))
inputs = torch.stack([x for x, _ in dataset])

# %%
# Training
# --------
# A ``DataLoader`` fetches images, and stacks them into batches. The files are sorted by
# class, so ``shuffle=True``: a new order in each epoch. The reference is the same loop
# over images in memory, from the same seed.

loss_fn, losses = nn.CrossEntropyLoss(), {}
for name, source in [("files", dataset), ("memory", TensorDataset(inputs, labels))]:
    torch.manual_seed(args.seed)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, len(files.classes))).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
    loader = DataLoader(source, batch_size=args.batch_size, shuffle=True)
    losses[name] = []
    for _ in range(args.epochs):
        loss_sum = 0.0
        for x, y in loader:
            x, y = x.to(device), y.to(device)
            loss = loss_fn(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(y)
        losses[name].append(loss_sum / len(source))
    print(f"losses from {name}: {losses[name]}")

# %%
# Averages
# --------
# How do the losses of the batches give the loss on all images? Each image has to count
# the same, and the last batch may be shorter. Without ``shuffle=True`` the batches are
# slices of all images, in their order.
#
# ``CUDA out of memory``: the memory of the GPU is too small. Take smaller batches, to
# evaluate, too, and do that under ``no_grad()``. A step of 64 images can have four
# equal parts: call ``(loss / 4).backward()`` for each, then ``step()``. Gradients add
# up, and the mean of all images is the mean of the four means.
#
# .. guess::
#
#    Which of the three numbers below the loss of all images is equal to it?

parts = inputs.split(args.batch_size)
batch_losses, equal = [], []
with torch.no_grad():
    for part, (x, y) in zip(parts, DataLoader(dataset, batch_size=args.batch_size)):
        equal.append(torch.equal(x, part))
        batch_losses.append(loss_fn(model(x.to(device)), y.to(device)).item())
    whole = loss_fn(model(inputs.to(device)), labels.to(device)).item()
sizes = [len(part) for part in parts]
print(f"{len(sizes)} batches, the last of {sizes[-1]}; equal to slices: {all(equal)}")
print(f"all images at once: {whole:.4f}")
print(f"weighted by len(y): {np.average(batch_losses, weights=sizes):.4f}")
print(f"mean of batch losses: {np.mean(batch_losses):.4f}")
print(f"sum / len(dataset): {sum(batch_losses) / len(dataset):.4f}")

# %%
# Workers
# -------
# A *process* is a running program with its own memory. A *worker* is a process that
# reads batches while the model trains. On Linux before Python 3.14 it is a copy of your
# process. Else it is a new one, which runs your file again. So start workers below ``if
# __name__ == "__main__":``, which is true in the first process only. Without it a new
# process ends in an error that names ``freeze_support()``, or on Windows in
# ``BrokenPipeError``. A worker finds no ``Dataset`` from a cell of a notebook: put it
# in a file, as here. Workers take time to start: try 0, then up to the number of cores
# of your processor. With a GPU add ``pin_memory=True``: it then copies batches faster.

path = HERE / "data_loading_workers.py"
print(path.read_text("utf-8"))
print(subprocess.check_output([sys.executable, path, folder], text=True))

# %%
# In short
# --------
# - A ``Dataset`` has ``__len__`` and ``__getitem__``; ``ImageFolder`` is a ready one.
# - Normalise with the mean of the training images. Weight batch losses by ``len(y)``.
# - Workers need a file with ``if __name__ == "__main__":``.
#
# Next: a network that knows that pixels have neighbours.

# %%
# Try it
# ------
# 1. *Predict.* Which of the four losses are equal with batches of 250, and why? Write
#    it down, then run ``python examples/data_loading.py --batch-size 250``.
# 2. *Change.* In the line with ``imshow``, replace ``permute(1, 2, 0)`` by
#    ``reshape(28, 28, 3)``, which returns the same shape. What do you see, and why?
# 3. *Write.* A ``Dataset`` twice as long as ``Clothes``: its image 2 i is image i, and
#    its image 2 i + 1 is the mirror image of that, ``x.flip(2)``. Begin with
#    ``class Mirrored(Clothes):``. Put your lines in place of ``yours = None``. End with
#    ``yours = torch.stack([Mirrored(files.samples)[i][0] for i in range(8)])``.

yours = None
mirrored = torch.stack([images[:4], images[:4].flip(3)], dim=1).flatten(0, 1)
compare("four images, mirrored", yours, mirrored)

# %%
# Answers
# -------
# 1. The first three: 1000 images make four batches of 250, so no batch is shorter. The
#    fourth is still too small, a 250th of them.
# 2. Nine small images in wrong colours. A row of 28 pixels has 84 numbers. ``reshape``
#    and ``view`` take them in their order, so they fill it with three rows of the
#    image, and three neighbours become the colours of one pixel. ``permute`` and, for a
#    matrix, ``.T`` move axes. So a batch with an image in each column is
#    ``x.reshape(64, 784).T``, and not ``x.reshape(784, 64)``.
# 3. ``i // 2`` is the number of the file, and ``i % 2`` is 1 for a mirror image::
#
#        class Mirrored(Clothes):
#            def __len__(self):
#                return 2 * len(self.samples)
#
#            def __getitem__(self, i):
#                x, label = super().__getitem__(i // 2)
#                if i % 2 == 1:
#                    x = x.flip(2)
#                return x, label
#
#
#        yours = torch.stack([Mirrored(files.samples)[i][0] for i in range(8)])
