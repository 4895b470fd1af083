"""
Distributed: many processes take the same steps as one
======================================================

A large model may train for weeks. Can several processors share the work, and learn the
same? Here two processes have a copy of the model each, and take half of each batch.
``DistributedDataParallel`` (DDP) averages the two gradients. The result is the gradient
of the whole batch, so both copies take the same step. Afterwards you can train a model
in several processes, and say when that is faster.
"""

# %%
# Setup
# -----
# Started with ``python``, this lesson is one process: run it so first. Then start two:
#
# .. code-block:: bash
#
#     torchrun --standalone --nproc-per-node 2 \
#         examples/distributed_logistic_regression.py
#
# A warning about ``OMP_NUM_THREADS`` says that each process uses one thread. Each
# process runs the whole script. ``torchrun`` tells each process, in environment
# variables, how to find the others, and ``init_process_group`` connects them. Each
# process has a number, its *rank*; ``world_size`` is how many there are. Here only rank
# 0 prints and saves.

import sys
import time

import matplotlib.pyplot as plt
import torch
import torch.distributed as dist
from torch import nn
from torchvision.utils import make_grid

import common
from checkpoint import load_checkpoint, save_checkpoint
from cli import parse_args
from lesson_data import load_fashion_mnist

options = {"epochs": 10, "lr": 1e-3, "batch_size": 64, "seed": 0, "device": "cpu"}
args = parse_args(__doc__, **options, sample=False, resume=False)
device = common.pick_device(args.device)
rank, world_size = 0, 1
launched = dist.is_torchelastic_launched()  # that is, by torchrun
if launched:
    if device.type == "cuda":  # each process takes a GPU of its own
        device = common.pick_device(f"cuda:{dist.get_node_local_rank()}")
    dist.init_process_group()
    rank, world_size = dist.get_rank(), dist.get_world_size()
if rank > 0:
    sys.stdout = None  # now print does nothing

# %%
# Data
# ----
# The images of logistic regression 3. Each process loads all, and takes its share.

train_x, train_y, *test = load_fashion_mnist(args.sample, device)

# %%
# The average of two gradients
# ----------------------------
# Two images have the gradients 2 and 4. The gradient of their mean loss is the mean, 3.
# If each process has one of the images, the average of the two processes is 3, too. Is
# it the same with 64 images in two shares? That needs no second process. The figure has
# the shares and the gradients, those for the 784 weights of class 9, ankle boots. Dark
# is a low, often negative gradient: a step subtracts it, so it adds to the weight.

torch.manual_seed(args.seed)
model = nn.Linear(784, 10).to(device)
loss_fn = nn.CrossEntropyLoss()
batch = torch.arange(64)
gradients = []
for images in (batch[0::2], batch[1::2], batch):
    loss = loss_fn(model(train_x[images]), train_y[images])
    gradients.append(torch.autograd.grad(loss, model.weight)[0])
first, second, whole = gradients
average = (first + second) / 2
largest, apart = whole.abs().max(), (average - whole).abs().max()
print(f"gradients up to {largest:.2f}; average and whole batch differ by {apart:.0e}")

panels = [make_grid(train_x[i::2][:32].reshape(-1, 1, 28, 28), 6)[0] for i in (0, 1)]
panels += [values[9].reshape(28, 28) for values in (first, second, average, whole)]
titles = ["share 1", "share 2", "gradient 1", "gradient 2", "average", "whole batch"]
fig, axes = plt.subplots(2, 3, figsize=(9, 6), layout="constrained")
for ax, title, panel in zip(axes.T.flat, titles, panels):
    ax.imshow(panel.cpu().numpy(), cmap="gray")
    ax.set(title=title, xticks=[], yticks=[])
if rank == 0:
    common.save_figure(fig, args.output / "distributed_logistic_regression.png")

# %%
# Training
# --------
# Shares can be unequal. Share 1 has the gradients 2 and 4, share 2 has 9. The gradient
# of the batch is (2 + 4 + 9) / 3 = 5. But the average of the two means, 3 and 9, is 6.
# So each process takes the *sum* of its losses, and divides it by 3, the size of the
# whole batch. DDP divides by 2, the number of processes: multiply by 2 before. Then the
# gradients are 6 times 2/3, which is 4, and 9 times 2/3, 6. Their average is 5.
#
# All processes draw the same batches, from the same seed, and each takes its share. DDP
# averages in ``backward()``. ``all_reduce`` gives each process the sum of all losses.

optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)
loss_sum = nn.CrossEntropyLoss(reduction="sum")
path = args.output / "distributed_logistic_regression.checkpoint"
history = load_checkpoint(path, args, model, optimizer)  # empty without --resume
ddp_model = model
if launched:
    ddp_model = nn.parallel.DistributedDataParallel(model)
    ddp_model(train_x[:1]).sum().backward()  # for --resume: see docs/distributed.rst


def train(model, optimizer, parts, rank, world_size):
    train_loss = torch.zeros(1, device=device)
    for batch in parts:
        share = batch[rank::world_size].to(device)  # may be empty
        loss = loss_sum(model(train_x[share]), train_y[share])
        optimizer.zero_grad()
        (loss * world_size / len(batch)).backward()
        optimizer.step()
        train_loss += loss.detach() / len(train_x)
    return train_loss


seconds = torch.nan
for epoch in range(len(history) + 1, args.epochs + 1):
    parts = common.batches(len(train_x), args.batch_size)
    start = time.perf_counter()
    train_loss = train(ddp_model, optimizer, parts, rank, world_size)
    if launched:
        dist.all_reduce(train_loss)
    train_loss = train_loss.item()  # waits for a GPU
    seconds = time.perf_counter() - start  # of the last epoch
    if rank == 0:
        history.append((train_loss, *common.evaluate(model, *test, loss_fn)))
        save_checkpoint(path, args, history, model, optimizer)
        numbers = "train loss {:.4f}  test loss {:.4f}  accuracy {:.4f}"
        print(f"epoch {epoch:4d}", numbers.format(*history[-1]))

# %%
# Result
# ------
# Rank 0 continues alone: it trains again in one process, from the same start, with the
# same batches. The numbers of all epochs should agree up to rounding. (Save ``model``,
# not ``ddp_model``, in whose ``state_dict`` each name begins with ``module.``.)

if launched:
    dist.destroy_process_group()
if rank > 0:
    sys.exit()

torch.manual_seed(args.seed)
single = nn.Linear(784, 10).to(device)
optimizer = torch.optim.SGD(single.parameters(), lr=args.lr)
single_history = []
for _ in history:
    parts = common.batches(len(train_x), args.batch_size)
    loss, _ = common.train_epoch(single, train_x, train_y, loss_fn, optimizer, parts)
    single_history.append((loss, *common.evaluate(single, *test, loss_fn)))
difference = (torch.tensor(history) - torch.tensor(single_history)).abs().max()
print(f"one process: accuracy {single_history[-1][2]:.4f}, differs by {difference:.0e}")
common.save_state_dict(model, args.output / "distributed_logistic_regression.pth")

# %%
# Is it faster?
# -------------
# .. guess::
#
#    One process takes half of each batch. How many times as many steps per second does
#    it take?

times = {f"this run, processes: {world_size}": seconds}
for name, step in ("one process, half batches", 2), ("one process", 1):
    shares = [batch[::step] for batch in parts]
    start = time.perf_counter()
    train(single, optimizer, shares, rank=0, world_size=1).item()
    times[name] = time.perf_counter() - start
for name, duration in times.items():
    print(f"{name:26}{len(parts) / duration:7.0f} steps per second")

# %%
# If half batches are not twice as fast, a part of a step takes as long for few images
# as for many. Two processes need time for the exchange of gradients, too, for a small
# batch as much as for a large one. If this run had several processes, and the first
# number is above the last, DDP is faster. With one process both numbers measure the
# same. The longer a step computes, the less the exchange counts. Try
# ``--batch-size 6000``.
#
# Most programs take the shares from a ``DataLoader`` with a ``DistributedSampler``.
# There the batch size is that of *each* process: with ``batch_size=64`` and two of
# them, a step has 128 images. So the loss is not that of one process, and the learning
# rate may no longer fit. And call ``sampler.set_epoch(epoch)``: without it all epochs
# have the same order.

# %%
# In short
# --------
# - DDP averages the gradients of all processes: they take the steps of one.
# - Look at the size of the *whole* batch: if it grows, the training is another one.
# - DDP is faster where a step computes for much longer than it exchanges. Measure it.
#
# Next: a tutorial of 2018, and what you need to repeat its numbers.

# %%
# Try it
# ------
# 1. *Predict.* Run the command of *Setup* with ``--sample``. Which of its numbers will
#    change with three processes? Write them down, then run it: ``--nproc-per-node 3``.
# 2. *Change.* In the training loop, leave out ``world_size``: ``loss / len(batch)``.
#    Run
#    the command with ``--sample`` and with ``--sample --lr 0.002``. In which of the two
#    do the epochs have the losses of task 1, and why? (The run in one process, at the
#    end, takes the steps of the loss as it was.)
# 3. *Write.* Where the average is computed, take the shares ``batch[:40]`` and
#    ``batch[40:]``, and correct ``average``. Is it the gradient of the batch again?

# %%
# Answers
# -------
# 1. The speeds, the number of processes, and the difference from one process, which
#    stays below 0.000001. So of the losses at most a last digit changes.
# 2. The second. DDP still divides the sum of the gradients by 2, so each step is half
#    as large, and twice the rate gives the same step.
# 3. Yes, with ``average = (40 * first + 24 * second) / 64``: each mean counts as often
#    as its share has images.
