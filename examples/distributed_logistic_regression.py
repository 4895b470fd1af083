r"""
Distributed: many processes take the same steps as one
======================================================

Here several processes train the model of logistic regression, case 3:

.. code-block:: bash

    torchrun --standalone --nproc-per-node 2 examples/distributed_logistic_regression.py

Each process has a copy of the model and takes a share :math:`S_r` of each batch
:math:`B`. ``DistributedDataParallel`` (DDP) averages the gradients over all :math:`R`
processes. If each process took the mean loss of its share, an example would count more
in a smaller share. So each takes the sum, multiplied by :math:`R / |B|`. The average,

.. math:: \frac{1}{R} \sum_{r=1}^{R} \frac{R}{|B|} \sum_{i \in S_r} \nabla \ell_i
    = \frac{1}{|B|} \sum_{i \in B} \nabla \ell_i ,

is then the gradient that a single process computes for the batch.
"""

# %%
# Setup
# -----
# The page after this lesson, ``docs/distributed.rst``, is about restarts and several
# machines; it also explains the check at the end of this cell. With ``python``, the
# lesson runs in one process.

import os
import sys
import time

import matplotlib.pyplot as plt
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from checkpoint import RUN_ID, load_checkpoint, save_checkpoint
from cli import fail, parse_args
from common import (
    batches,
    evaluate,
    pick_device,
    require_finite,
    save_figure,
    save_state_dict,
    train_epoch,
)
from lesson_data import load_fashion_mnist

options = {"epochs": 10, "lr": 1e-3, "batch_size": 64, "seed": 0, "device": "cpu"}
args = parse_args(__doc__, **options, sample=False, resume=False)
args.device = pick_device(args.device)
torch.manual_seed(args.seed)
launched = dist.is_torchelastic_launched()  # that is, by torchrun
if RUN_ID and os.environ["TORCHELASTIC_USE_AGENT_STORE"] == "True":
    fail("--max-restarts needs TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1", code=2)

# %%
# ``torchrun`` tells each process, in environment variables, how to find the others.
# ``init_process_group`` connects them: on CPUs through Gloo; with ``--device cuda``,
# where each process has a GPU of its own, through NCCL. Each has a number, its *rank*.

rank, world_size = 0, 1
if launched:
    if args.device.type == "cuda":
        args.device = pick_device(f"cuda:{os.environ['LOCAL_RANK']}")
        torch.cuda.set_device(args.device)
        dist.init_process_group("nccl", device_id=args.device)
    else:
        dist.init_process_group("gloo")
    rank, world_size = dist.get_rank(), dist.get_world_size()
if rank > 0:
    sys.stdout = None  # now print does nothing

# %%
# Data
# ----
# Each process loads all of the data. All draw the same batches, from the same seed.

train_x, train_y, test_x, test_y = load_fashion_mnist(args.sample, args.device)

# %%
# Model
# -----

model = nn.Linear(784, 10).to(args.device)

# %%
# Loss and optimizer
# ------------------

loss_fn = nn.CrossEntropyLoss()
loss_sum = nn.CrossEntropyLoss(reduction="sum")
optimizer = torch.optim.SGD(model.parameters(), lr=args.lr)

# %%
# Training
# --------
# With ``--resume``, every process loads the checkpoint of rank 0. DDP changes the order
# of its sums after its first backward pass. So that a resumed run gives the same bits,
# a backward pass that is not used comes first.

path = args.output / "distributed_logistic_regression.checkpoint"
history = load_checkpoint(path, args, model, optimizer)
ddp_model = model
if launched:
    done = [None] * world_size
    dist.all_gather_object(done, len(history))
    if len(set(done)) > 1:
        fail(f"{path} is after epochs {done}: all machines must share --output")
    ddp_model = DistributedDataParallel(model)
    ddp_model(train_x[:1]).sum().backward()

# %%
# The loop is that of `common.train_epoch`, with four changes: the share of the batch,
# the scaled sum of the losses, the pass through ``ddp_model``, and ``all_reduce``,
# which adds up losses and correct predictions over all processes. Only rank 0
# evaluates, saves and prints.

LOG_FORMAT = "train loss {:.4f} acc {:.4f}  test loss {:.4f} acc {:.4f}"
seconds = []
for epoch in range(len(history) + 1, args.epochs + 1):
    start = time.perf_counter()
    seen = []
    for batch in batches(len(train_x), args.batch_size):
        share = batch[rank::world_size].to(args.device)  # may be empty
        labels = train_y.index_select(0, share)
        logits = ddp_model(train_x.index_select(0, share))
        loss = loss_sum(logits, labels)
        optimizer.zero_grad()
        (loss * world_size / len(batch)).backward()
        optimizer.step()
        seen.append(torch.stack([loss.detach(), (logits.argmax(1) == labels).sum()]))
    sums = torch.stack(seen).sum(0)
    if launched:
        dist.all_reduce(sums)
    train = [value / len(train_x) for value in sums.tolist()]
    seconds.append(time.perf_counter() - start)
    if rank == 0:
        test = evaluate(model, test_x, test_y, loss_fn)
        require_finite(train[0] + test[0], epoch, args.lr)
        history.append((*train, *test))
        save_checkpoint(path, args, history, model, optimizer)
        print(f"epoch {epoch:4d}  {LOG_FORMAT.format(*history[-1])}")

# %%
# Result
# ------
# Only rank 0 continues. It repeats the epochs, 100 at most, in one process. As long as
# the loss falls steadily, the results differ only by rounding: float32 sums depend on
# their order. In the figure, compare the markers with the line.

if launched:
    dist.destroy_process_group()
if rank > 0:
    os._exit(0)  # sys.exit can crash while a thread of Gloo still runs

torch.manual_seed(args.seed)
single = nn.Linear(784, 10).to(args.device)
optimizer = torch.optim.SGD(single.parameters(), lr=args.lr)
single_history, single_seconds = [], []
for _ in history[:100]:
    start = time.perf_counter()
    parts = batches(len(train_x), args.batch_size)
    train = train_epoch(single, train_x, train_y, loss_fn, optimizer, parts)
    single_seconds.append(time.perf_counter() - start)
    single_history.append((*train, *evaluate(single, test_x, test_y, loss_fn)))

compared = len(single_history)
print(f"epoch {compared:4d}  {LOG_FORMAT.format(*single_history[-1])}  one process")
difference = (torch.tensor(history[:100]) - torch.tensor(single_history)).abs().max()
print(f"largest difference in epochs 1 to {compared}: {difference:.0e}")

fig, ax = plt.subplots()
ax.plot(range(1, args.epochs + 1), [row[0] for row in history], label="this run")
losses = [row[0] for row in single_history]
ax.plot(range(1, compared + 1), losses, "ko", fillstyle="none", label="one process")
ax.set(xlabel="epoch", ylabel="training loss (cross-entropy)")
ax.legend()
save_figure(fig, args.output / "distributed_logistic_regression.png")

# %%
# Does it pay?
# ------------
# A step exchanges one number per parameter, whatever the batch size, and larger batches
# mean fewer steps. Compare the fastest epochs with those of ``--batch-size 6000``.

if seconds:
    print(f"{len(parts)} steps in {min(seconds):.2f} s, processes: {world_size}")
    print(f"{len(parts)} steps in {min(single_seconds):.2f} s, one process")

# %%
# Save
# ----

save_state_dict(model, args.output / "distributed_logistic_regression.pth")
if launched:
    os._exit(0)

# %%
# Try it
# ------
# 1. Run the command at the top of this lesson with ``--sample``, and then with
#    ``--nproc-per-node 3`` instead of 2. Which of the printed numbers change?
# 2. In the training loop, replace ``loss * world_size / len(batch)`` by
#    ``loss / len(batch)``. Run the command with ``--sample`` and with
#    ``--sample --lr 0.002``. Which of the two prints the losses of task 1, and why?
# 3. Run the command with ``--sample --epochs 100``, and press Ctrl-C after some epochs.
#    Add ``--resume``, change the number to ``--nproc-per-node 3``, and run it again.
#    Where does it continue? Does it agree with one process?

# %%
# Answers
# -------
# 1. Only the number of processes, the times, and the largest difference, which stays
#    below 0.000001.
# 2. The second. DDP still divides the sum of the gradients by 2, so each step is half
#    as large, and twice the rate makes up for that.
# 3. After the last epoch that was saved. It agrees, up to rounding: with the state of
#    the random numbers, which the checkpoint holds, the batches are the same, and the
#    steps do not depend on the number of processes.
