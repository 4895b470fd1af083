"""The rungs of `ladder.py` on one thread, and on as many as PyTorch takes.

They take turns, an epoch each; the table shows the fastest epochs:

    python benchmarks/threads.py
"""

import copy

import torch
from ladder import make_rungs
from measure import environment, parser, run_lesson, timed

args = parser(__doc__, repetitions=5).parse_args()
machine = environment()
default = torch.get_num_threads()  # before the lesson sets it to one
lesson = run_lesson(args.sample)
rungs = make_rungs(lesson)
models = {name: copy.deepcopy(lesson["model"]) for name in rungs}
times = {(name, threads): [] for name in models for threads in (1, default)}
for _ in range(args.repetitions):
    for (name, threads), values in times.items():
        torch.set_num_threads(threads)
        values.append(timed(rungs[name], models[name])[0])

print(f"{machine}; fastest of {args.repetitions} epochs\n")
print(f"| rung | one thread | threads: {default} | ratio |")
print("|---|---|---|---|")
for name in models:
    one, many = (min(times[name, threads]) for threads in (1, default))
    print(f"| {name} | {one:.3f} | {many:.3f} | {many / one:.2f} |")
