"""Checkpoints: everything that an interrupted run needs to continue, in one file.

A run that continues ends with the results of an uninterrupted one: bit for bit on a
CPU, with the same numbers of processes and threads.
"""

import os
from argparse import Namespace
from pathlib import Path

import torch
from torch.nn import Module
from torch.optim import Optimizer

from common import fail, load, save

MAY_DIFFER = {"device", "epochs", "output", "resume"}  # between the two runs
# Set by torchrun, and the same when it restarts a run.
RESTARTS = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0"
RUN_ID = os.environ["TORCHELASTIC_RUN_ID"] if RESTARTS else ""


def _options(args):
    return {name: v for name, v in vars(args).items() if name not in MAY_DIFFER}


def save_checkpoint(
    path: Path, args: Namespace, history: list, model: Module, optimizer: Optimizer
) -> None:
    """Save all that the next epochs depend on; ``history`` has an entry per epoch."""
    checkpoint = {
        "run_id": RUN_ID,
        "options": _options(args),
        "history": history,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "rng_state": torch.get_rng_state(),  # of the CPU, where the batches are drawn
    }
    save(checkpoint, path)


def load_checkpoint(
    path: Path, args: Namespace, model: Module, optimizer: Optimizer
) -> list:
    """Restore model, optimizer and random numbers; return the history so far.

    That is an empty list for a new run. A run continues with ``--resume``, or if
    torchrun has restarted it. Ends the program if the checkpoint cannot be used.
    """
    if not args.resume and not (RUN_ID and path.exists()):
        return []
    checkpoint = load(path)
    try:
        if not args.resume and checkpoint["run_id"] != RUN_ID:
            return []
        if checkpoint["options"] != _options(args):
            fail(f"{path} is from {checkpoint['options']}, not from {_options(args)}")
        if len(history := checkpoint["history"]) > args.epochs:
            fail(f"{path} is after epoch {len(history)}; give more --epochs")
        model.load_state_dict(checkpoint["model"])
        optimizer.load_state_dict(checkpoint["optimizer"])
        torch.set_rng_state(checkpoint["rng_state"])
    except Exception as error:  # the file may hold anything
        fail(f"{path} is not a checkpoint of this lesson: {error!r}")
    print(f"continuing after epoch {len(history)}")
    return history
