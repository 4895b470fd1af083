"""Snapshots (checkpoints): all that a stopped run needs to go on, in one file.

A run that goes on from its last snapshot ends with the very figures of one that was
never stopped, to the last bit on a CPU, in as many processes and threads.
"""

from common import finite_state, load_checked, save_checked, set_parameters
from endings import fail

import torch

# The options that may differ from those of the run that was stopped.
_MAY_CHANGE = {"device", "epochs", "output", "resume"}


def _lasting(args):
    return {name: v for name, v in vars(args).items() if name not in _MAY_CHANGE}


def save_snapshot(path, args, history, model, optimizer, run=""):
    """Save all that the next epochs depend on; a crash leaves the old snapshot.

    ``args`` are the lesson's options, ``history`` has an entry for each epoch so far,
    of plain numbers. ``run`` names the run for `read_snapshot`.
    """
    snapshot = {
        "run": run,
        "options": _lasting(args),
        "history": history,
        "model": finite_state(model, path),
        "optimizer": optimizer.state_dict(),
        "random state": torch.get_rng_state(),  # of the CPU, where orders are drawn
    }
    save_checked(snapshot, path)


def read_snapshot(path, args, run=""):
    """Return the snapshot at ``path`` if ``--resume`` asks for it, or else None.

    That it is one of this very ``run`` is as good as being asked for. Exits with code
    1, and leaves the file as it is, if what was asked for is missing, damaged, no
    snapshot, made with other options, or of more than ``--epochs`` epochs; and if there
    is a file that cannot be read, which may be a good one.
    """
    if not (args.resume or run):
        return None
    parts = {
        "run": str,
        "options": dict,
        "history": list,
        "model": dict,
        "optimizer": dict,
        "random state": torch.Tensor,
    }
    try:
        snapshot = load_checked(path)
        if snapshot.keys() != parts.keys() or not all(
            isinstance(snapshot[name], kind) for name, kind in parts.items()
        ):
            raise ValueError("another dictionary")
    except (FileNotFoundError, ValueError) as error:
        if isinstance(error.__cause__, OSError):
            fail(f"cannot read {path} ({error.__cause__.strerror}); mend that first")
        if not args.resume:
            return None
        if isinstance(error, FileNotFoundError):
            fail(f"there is no snapshot {path} to go on from; start without --resume")
        fail(f"{path} is damaged or no snapshot ({error}); start without --resume")
    if not args.resume and run != snapshot["run"]:
        return None
    anew = "start without --resume" if args.resume else "take another --rdzv-id"
    for name, value in _lasting(args).items():
        before, flag = snapshot["options"].get(name), "--" + name.replace("_", "-")
        if type(before) is not type(value) or before != value:
            made = f"with {flag} {before}, not {value}"
            if isinstance(value, bool):
                made = f"{'with' if before else 'without'} {flag}"
            fail(f"{path} was made {made}; give the same options, or {anew}")
    done = len(snapshot["history"])
    if done > args.epochs:
        few = f"--epochs {args.epochs} is too few"
        fail(f"{path} has {done} epochs behind it, and {few}; give more, or {anew}")
    return snapshot


def restore(snapshot, model, optimizer):
    """Go back to ``snapshot``, and return its history; for None that is ``[]``.

    Exits with code 1 if it was made from another model or optimizer.
    """
    if snapshot is None:
        return []
    set_parameters(model, snapshot["model"], "the snapshot")
    try:
        there, here = snapshot["optimizer"], optimizer.state_dict()
        if there["param_groups"] != here["param_groups"]:
            raise ValueError
        optimizer.load_state_dict(there)
        torch.set_rng_state(snapshot["random state"])
    except Exception as error:  # there is no telling what foreign contents can raise
        fail(f"the snapshot holds another state ({type(error).__name__}); remove it")
    print(f"going on after epoch {len(snapshot['history'])}")
    return snapshot["history"]
