"""Files that are whole or not there, and checkpoints, from which a run continues.

A checkpoint holds everything that an interrupted run needs. A run that continues ends
with the results of an uninterrupted one: bit for bit on a CPU, with the same numbers of
processes and threads.
"""

import contextlib
import io
import os
import zipfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module
from torch.optim import Optimizer

from cli import LAUNCHED, fail

MAY_DIFFER = {"device", "epochs", "output", "resume"}  # between the two runs
RUN_ID = ""  # by which a run that torchrun has restarted knows its checkpoint
if os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0") != "0":
    RUN_ID = os.environ["TORCHELASTIC_RUN_ID"]
    if os.environ["TORCHELASTIC_USE_AGENT_STORE"] == "True":  # docs/distributed.rst
        fail("--max-restarts needs TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1", code=2)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to, then rename it: a crash leaves the old file whole."""
    path = Path(path)
    part = path.with_name(f".part-{os.getpid()}-{path.name}")  # two runs, two parts
    try:
        yield part
        with open(part, "rb+") as file:
            os.fsync(file.fileno())  # for a power cut: first the data, then the name
        part.replace(path)
    except OSError as error:
        fail(f"cannot write {path} ({error.strerror or error}); see --output")
    finally:
        part.unlink(missing_ok=True)


def save(data: object, path: str | Path) -> None:
    """Save ``data``, or end the program, at once, if `load` would refuse it."""
    buffer = io.BytesIO()  # torch.save itself raises no OSError on a full disk
    try:
        torch.save(data, buffer)
        torch.load(io.BytesIO(buffer.getvalue()), "cpu", weights_only=True)
    except Exception as error:
        fail(f"cannot save {path}: no tensors and plain data ({type(error).__name__})")
    with replacing(path) as part:
        part.write_bytes(buffer.getvalue())


def load(path: str | Path) -> Any:
    """Return what `save` saved, with tensors on the CPU, or end the program.

    ``weights_only`` refuses code; checksums, which ``torch.load`` skips, show damage.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() or any(i.external_attr for i in archive.infolist()):
                raise ValueError("damaged")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise almost anything
        fail(f"cannot load {path}: {type(error).__name__}: {error}")


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
    wanted = args.resume or (RUN_ID and path.exists())
    found = [load(path) if wanted and os.environ.get("RANK", "0") == "0" else None]
    if LAUNCHED:  # all processes continue from what the first one has found
        torch.distributed.broadcast_object_list(found, src=0)
    if (checkpoint := found[0]) is None and not args.resume:
        return []
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
