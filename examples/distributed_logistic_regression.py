r"""
Distributed: one training run in several processes
==================================================

The recipe of logistic regression, case 3, in as many processes as you like, on one
machine or on several, and a run that goes on when some of them die. Read it beside
case 3. New is PyTorch's own engine: ``torchrun`` starts the processes,
``torch.distributed`` connects them, and ``DistributedDataParallel`` keeps their models
equal.

.. code-block:: bash

    torchrun --standalone --nproc-per-node 2 examples/distributed_logistic_regression.py

Each process has a copy of the model and all of the data. It takes its share :math:`S_r`
of each batch :math:`B`, and before the update all of them add up their gradients:

.. math:: \frac{1}{|B|} \sum_{i \in B} \nabla \ell_i
    = \frac{1}{R} \sum_{r=1}^{R} \frac{R}{|B|} \sum_{i \in S_r} \nabla \ell_i .

The right side is what happens: each of the :math:`R` processes scales the sum over its
share, and ``DistributedDataParallel`` takes the mean. So the steps are those of one
process, however unequal the shares are.
"""

# %%
# Setup
# -----
# ``torchrun`` tells each process in the environment who it is: its *rank* among all of
# them, and among those of its machine. Without ``torchrun`` there is one process, of
# rank 0, and nothing to connect.
#
# If ``torchrun`` says again and again that the addresses of your machine cannot be
# retrieved, add ``--local-addr 127.0.0.1``. On Windows it needs WSL: PyTorch's builds
# for Windows lack libuv, which it asks for.

import os
import sys
import time
from datetime import timedelta

import matplotlib.pyplot as plt
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from checkpoint import RUN_ID, load_checkpoint, save_checkpoint
from cli import parse_args
from common import (
    evaluate,
    fail,
    require_finite,
    save_figure,
    save_state_dict,
    shuffled_batches,
    train_epoch,
)
from lesson_data import load_fashion_mnist

args = parse_args(
    __doc__, epochs=10, lr=1e-3, batch_size=64, sample=False, resume=False
)

env = os.environ
launched = dist.is_torchelastic_launched()  # that is, by torchrun
rank, world_size = 0, 1
if launched:
    rank, world_size = int(env["RANK"]), int(env["WORLD_SIZE"])
if rank > 0:
    sys.stdout = None  # now print does nothing

# %%
# Processes on CPUs talk through *Gloo*. With ``--device cuda`` each has a GPU of its
# own, of NVIDIA, and they talk through *NCCL*. What can be wrong is looked for now, by
# all processes alike, and the first one on a machine says it for all. (The report of
# ``torchrun`` itself, which then follows, is not for a script to prevent.)

if launched and args.device.type not in ("cpu", "cuda"):
    fail(f"argument --device: cpu or cuda, not {args.device.type}, with torchrun", 2)
if launched and args.device.type == "cuda":
    if int(env["LOCAL_WORLD_SIZE"]) > torch.cuda.device_count():
        fail(f"--nproc-per-node is more than the {torch.cuda.device_count()} GPUs", 2)
    args.device = torch.device("cuda", int(env["LOCAL_RANK"]))
    torch.cuda.set_device(args.device)

# %%
# Data, model, loss
# -----------------
# As in case 3. Every process draws the same model and the same order of the pictures,
# since all have the same seed.

train_x, train_y, test_x, test_y = load_fashion_mnist(args.sample, args.device)
model = nn.Linear(784, 10).to(args.device)
loss_fn = nn.CrossEntropyLoss()
loss_sum = nn.CrossEntropyLoss(reduction="sum")
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)

# %%
# When a process dies
# -------------------
# After each epoch rank 0 saves a snapshot, as case 3 does, and ``--resume`` goes on
# from it. (In another number of processes too; then the last digits differ.)
# ``torchrun`` can do that by itself: when a process dies, it ends the others and starts
# all anew, up to ``--max-restarts`` times.
#
# .. code-block:: bash
#
#     export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
#     torchrun --standalone --nproc-per-node 2 --max-restarts 3 \
#         examples/distributed_logistic_regression.py
#
# The variable must be set. The processes find each other through a *store*, a small
# server that holds the address of each. Without the variable ``torchrun`` keeps one
# store through all restarts, the addresses of dead processes included, and sometimes
# the new ones wait for these for ever. With it, rank 0 opens a new store at each start.
#
# Try it: while the epochs go by, ``pgrep -f distributed_logistic`` in another terminal
# lists ``torchrun``, which must live, and then its processes. ``kill -9`` takes the
# number of any of those.

if RUN_ID and (RUN_ID == "none" or env["TORCHELASTIC_USE_AGENT_STORE"] == "True"):
    fail(
        "--max-restarts can hang like this; set TORCH_DISABLE_SHARE_RDZV_TCP_STORE "
        "to 1, and give --standalone or, on several machines, --rdzv-backend c10d "
        "and a new --rdzv-id",
        code=2,
    )

# %%
# Connect the processes
# ---------------------
# ``init_process_group`` waits until all of them are there; from then on each function
# of ``torch.distributed`` is called by all, and waits for all. Rank 0 reads the
# snapshot and sends it to the others, so only rank 0 needs the file. A run that was
# restarted knows its own snapshot, and takes no older one.

path = args.output / "distributed_logistic_regression.checkpoint"
history = load_checkpoint(path, args, model, optimizer)
ddp_model = model
if launched:
    if args.device.type == "cuda":
        dist.init_process_group("nccl", device_id=args.device)
    else:
        dist.init_process_group("gloo")
if launched:
    ddp_model = DistributedDataParallel(model)
    # It sends the gradients in groups, and groups them anew after its first backward
    # pass. Sums in another order differ in the last digits, so a pass comes first that
    # counts for nothing (zero_grad drops its gradients): a run that goes on then equals
    # one that was never stopped.
    ddp_model(train_x[:1]).sum().backward()

# %%
# Training
# --------
# `train_epoch` of case 3, with four changes: the share of the batch, the scaled sum,
# the pass through ``ddp_model``, whose backward pass ends with the mean over all
# processes, and sums of loss and correct answers, which ``all_reduce`` adds up over all
# processes at the end.

LINE = "train loss {:.4f} acc {:.4f}  test loss {:.4f} acc {:.4f}"
seconds = []
for epoch in range(len(history) + 1, args.epochs + 1):
    start = time.perf_counter()
    scored = []
    for batch in shuffled_batches(train_x, args.batch_size):
        rows = batch[rank::world_size]  # perhaps none
        labels = train_y.index_select(0, rows)
        logits = ddp_model(train_x.index_select(0, rows))
        loss = loss_sum(logits, labels)
        optimizer.zero_grad()
        (loss * world_size / len(batch)).backward()
        optimizer.step()
        scored.append(torch.stack([loss.detach(), (logits.argmax(1) == labels).sum()]))
    sums = torch.stack(scored).sum(0)
    if launched:
        dist.all_reduce(sums)
    train = [value / len(train_x) for value in sums.tolist()]
    require_finite(train[0], epoch, args.lr)
    seconds.append(time.perf_counter() - start)

    if rank == 0:
        history.append((*train, *evaluate(model, test_x, test_y, loss_fn)))
        require_finite(history[-1][2], epoch, args.lr)
        save_checkpoint(path, args, history, model, optimizer)
        print(f"epoch {epoch:4d}  {LINE.format(*history[-1])}  {seconds[-1]:.2f} s")

# %%
# Result
# ------
# What is left is for rank 0 alone. The others wait for it in a *barrier*, and end when
# rank 0 has come to it too: if rank 0 dies before, ``torchrun`` must find all of them
# to start anew. They may wait long, and a group has a time-out, by itself of half an
# hour; so they get another group for it.

if launched:
    patient = dist.new_group(backend="gloo", timeout=timedelta(days=1))


def end_together():
    """Wait for all the others, and end at once."""
    dist.barrier(patient)
    os._exit(0)  # sys.exit() can crash, if a thread of Gloo is not done yet


if rank > 0:
    end_together()

# %%
# For comparison rank 0 runs the loop of case 3, in one process and from the same seed.
# The steps are the same; only the sums are taken in another order, which a float32
# shows in its seventh digit. (Such a difference grows if the rate is so large that the
# loss jumps about.)

torch.manual_seed(args.seed)
single = nn.Linear(784, 10).to(args.device)
optimizer = torch.optim.SGD(single.parameters(), lr=args.lr)
single_history, single_seconds = [], []
for _ in range(args.epochs):
    start = time.perf_counter()
    batches = shuffled_batches(train_x, args.batch_size)
    train = train_epoch(single, train_x, train_y, loss_fn, optimizer, batches)
    single_seconds.append(time.perf_counter() - start)
    single_history.append((*train, *evaluate(single, test_x, test_y, loss_fn)))

difference = (torch.tensor(history) - torch.tensor(single_history)).abs().max()
print(f"this run    {LINE.format(*history[-1])}")
print(f"case 3      {LINE.format(*single_history[-1])}")
print(f"largest difference in {args.epochs} epochs: {difference:.0e}")

epochs = range(1, args.epochs + 1)
fig, ax = plt.subplots()
for column, name in ((0, "training"), (2, "test")):
    ax.plot(epochs, [figures[column] for figures in history], label=f"{name}, this run")
for column, marker, name in ((0, "o", "training"), (2, "s", "test")):
    losses = [figures[column] for figures in single_history]
    ax.plot(epochs, losses, f"k{marker}", fillstyle="none", label=f"{name}, case 3")
ax.set(xlabel="epoch", ylabel="loss (cross-entropy)")
ax.legend()
save_figure(fig, args.output / "distributed_logistic_regression.png")
save_state_dict(model, args.output / "distributed_logistic_regression.pth")

# %%
# Does it pay?
# ------------
# The fastest epoch of each, without the test pictures:

if seconds:
    steps = -(-len(train_x) // args.batch_size)
    print(f"{steps} steps, processes: {world_size}  {min(seconds):.2f} s")
    print(f"{steps} steps, case 3        {min(single_seconds):.2f} s")

# %%
# Not for a model this small. On a machine with two cores, two processes print
#
# .. code-block:: text
#
#     938 steps, processes: 2  1.42 s
#     938 steps, case 3        0.30 s
#
# and are *slower* than one: a step of one process takes 0.3 ms, and the exchange costs
# the two some 1 ms more. What they exchange, 7850 numbers, is the same for any batch,
# and with ``--batch-size 6000`` there is more to do in between:
#
# .. code-block:: text
#
#     10 steps, processes: 2  0.09 s
#     10 steps, case 3        0.14 s
#
# It pays when a step computes for much longer than the exchange takes: with large
# models, large batches, and a GPU for each process. (But larger batches are fewer
# steps, and so another recipe.)
#
# All is printed and saved; now the others may go. (What is left is a moment of some
# milliseconds. If rank 0 is killed just then, on one machine all is well, and on
# several its ``torchrun`` waits in vain for those that are done.)

if launched:
    sys.stdout.flush()
    end_together()

# %%
# Several machines
# ----------------
# Each runs this, with the name and a free port of the first one, and a new NAME for
# each run:
#
# .. code-block:: bash
#
#     torchrun --nnodes 2 --nproc-per-node 2 --rdzv-backend c10d \
#         --rdzv-endpoint FIRST_MACHINE:29500 --rdzv-id NAME \
#         examples/distributed_logistic_regression.py
#
# With ``--resume`` or ``--max-restarts``, add ``--output`` and a folder that all of
# them share: rank 0, which reads and writes the snapshot, may be on another machine
# next time. For ``--max-restarts`` set the variable above on each machine; a NAME that
# was used before would go on from that run's snapshot. If one machine cannot start, say
# for want of the data, the others wait for it until Ctrl-C.
