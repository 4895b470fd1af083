"""How the time of an epoch grows with the number of images and the batch size.

An epoch of n images in batches of B should take

    t = n (c + s / B),

a time c for each image and a time s for each step. This times the training pass of two
rungs of `ladder.py`, the readable loop and the fastest that is not compiled, fits c and
s, and draws a figure. Both use one thread, and only the time of their process counts:

    python benchmarks/growth.py
"""

import copy
import time
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from ladder import BYTES, READABLE, by_columns, to_bytes
from measure import environment, parser, run_lesson, timed

from common import batches, train_epoch

args = parser(__doc__, repetitions=5).parse_args()
machine = environment()
lesson = run_lesson(args.sample)
train_x, train_y = lesson["train_x"], lesson["train_y"]
columns = partial(by_columns, 1 / 255, lesson["args"].lr)


def readable(model, x, y, batch_size):
    optimizer = torch.optim.SGD(model.parameters(), lr=lesson["args"].lr)
    parts = batches(len(x), batch_size)
    train_epoch(model, x, y, lesson["loss_fn"], optimizer, parts)


trainers = {READABLE: (readable, train_x), BYTES: (columns, to_bytes(train_x))}
n = len(train_y)
counts = np.array([n // 8, n // 4, n // 2, n])
sizes = 2 ** np.arange(4, 12 if args.sample else 13)
settings = [*((count, 64) for count in counts), *((n, size) for size in sizes)]

times = {name: np.empty((args.repetitions, len(settings))) for name in trainers}
for repetition in range(args.repetitions):
    for i, (count, size) in enumerate(settings):
        for name, (train, x) in trainers.items():
            torch.manual_seed(0)
            start = copy.deepcopy(lesson["model"])
            data = x[:count], train_y[:count], int(size)
            seconds, _ = timed(train, start, *data, clock=time.process_time)
            times[name][repetition, i] = seconds

print(f"{machine}; medians of {args.repetitions} epochs\n")
print("| loop | microseconds per image | per step |")
print("|---|---|---|")
fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5))
for name, style in zip(trainers, ("C0o", "C1s"), strict=True):
    by_count, by_size = np.split(np.median(times[name], axis=0), [len(counts)])
    terms = np.stack([np.full(len(sizes), n), n / sizes], axis=1)
    relative = (terms / by_size[:, None])[sizes <= 512]  # so that each time becomes 1
    (c, s), *_ = np.linalg.lstsq(relative, np.ones(len(relative)), rcond=None)
    print(f"| {name} | {1e6 * c:.2f} | {1e6 * s:.1f} |")
    left.plot(counts, by_count, style + "-", label=name)
    right.semilogx(sizes, by_size, style, label=name)
    right.semilogx(sizes, terms @ (c, s), style[:2] + "--")

left.set(xlabel="images", ylabel="time of an epoch (s)", xlim=0, ylim=0)
left.set_xticks(counts, ["1/8", "1/4", "1/2", "all"])
left.legend()
right.plot([], [], "k--", label="fitted to batch sizes up to 512")
right.set(xlabel="batch size", ylim=0)
right.set_xticks(sizes[::2], sizes[::2])
right.minorticks_off()
right.legend()
if not args.sample:  # the recorded figure is of the full data
    fig.savefig(Path(__file__).parent / "figures/growth.png", dpi=80)
