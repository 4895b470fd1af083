"""The parts of a training step of `ladder.py`, one by one.

Prints the median of many calls of each part, on one thread. Only the time of the
process itself counts:

    python benchmarks/step_parts.py
"""

import itertools
import statistics
import time
import timeit

import torch
from ladder import to_bytes
from measure import environment, parser, run_lesson
from torch.utils.data import TensorDataset, default_collate

args = parser(__doc__, repetitions=500).parse_args()
machine = environment()
lesson = run_lesson(args.sample)
train_x, train_y = lesson["train_x"], lesson["train_y"]
train_bytes = to_bytes(train_x)
model, loss_fn = lesson["model"], lesson["loss_fn"]
optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

batches = lesson["batches"](len(train_x), 64)
indices = batches[0]
other = itertools.cycle(batches)
x, y = lesson["select"](train_x, train_y, indices)
images, tensors = lesson["ImageDataset"](x, y), TensorDataset(x, y)
loss = loss_fn(model(x), y)
loss.backward(retain_graph=True)
weight, logits = model.weight.detach(), model(x).detach()
columns = logits.T.contiguous()
epoch = torch.randn(10, len(train_x))


def model_and_loss_in_16_bits():
    with torch.autocast("cpu"):
        loss_fn(model(x), y)


parts = {
    "64 PIL images, `ToTensor`, stack": lambda: default_collate([*images]),
    "64 rows of a tensor, stack": lambda: default_collate([*tensors]),
    "`x[indices]`": lambda: train_x[indices],
    "`index_select`": lambda: train_x.index_select(0, indices),
    "a new batch": lambda: train_x.index_select(0, next(other)),
    "a new batch, as bytes": lambda: train_bytes.index_select(0, next(other)).float(),
    "correct predictions and `item()`": (
        lambda: (loss.item(), (logits.argmax(1) == y).sum().item())
    ),
    "model and loss": lambda: loss_fn(model(x), y),
    "model and loss, `autocast`": model_and_loss_in_16_bits,
    "`backward`": lambda: loss.backward(retain_graph=True),
    "`optimizer.step`": optimizer.step,
    "`x @ weight.T`": lambda: x @ weight.T,
    "`weight @ x.T`": lambda: weight @ x.T,
    "softmax, 64 rows of 10": lambda: logits.softmax(1),
    "softmax, transposed": lambda: columns.softmax(0),
    "`argmax(0)`, logits of an epoch": lambda: epoch.argmax(0),
    "`amax(0)` and `gather`": lambda: epoch.gather(0, train_y[None]) == epoch.amax(0),
}
print(f"{machine}; medians of {args.repetitions} calls\n")
print("| part | microseconds |")
print("|---|---|")
for name, part in parts.items():
    seconds = timeit.repeat(
        part, timer=time.process_time, number=1, repeat=args.repetitions
    )
    print(f"| {name} | {1e6 * statistics.median(seconds):.1f} |")
