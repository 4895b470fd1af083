"""What the lessons share: device, training loops, saving and loading, figures.

What a reader can correct (a file, an option, a rate) ends in one line: see `fail`.
"""

import atexit
import contextlib
import io
import math
import os
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer

# Data and outputs are beside examples/, or beside this file where it was downloaded.
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent if (HERE.parent / "data" / "README.md").exists() else HERE
LAUNCHED = "TORCHELASTIC_RUN_ID" in os.environ  # by torchrun, in several processes


def fail(message: object, code: int = 1) -> NoReturn:
    """End the program with one line on stderr; ``code`` is 2 for the command line."""
    if os.environ.get("LOCAL_RANK", "0") != "0":
        time.sleep(10)  # the first process reports it; torchrun then ends the others
    print("error:", " ".join(str(message).split())[:500], file=sys.stderr)
    if LAUNCHED:
        os._exit(code)  # sys.exit would wait for the threads of torch.distributed
    sys.exit(code)


def pick_device(name: str) -> torch.device:
    """Return the device called ``name``, or end the program if it cannot be used.

    ``auto`` is the accelerator of this machine if it has one, and else the CPU.
    """
    if name == "auto":
        name = str(torch.accelerator.current_accelerator(check_available=True) or "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, ImportError) as error:  # it varies by device
        reason = str(error).splitlines()[0]
        fail(f"argument --device: cannot use {name}, try auto ({reason})", code=2)


def require_finite(loss: float, epoch: int, lr: float) -> None:
    """End the program if ``loss`` is infinite or NaN."""
    if not math.isfinite(loss):
        fail(
            f"the loss is {loss} in epoch {epoch} at the learning rate {lr:g}; "
            f"try a smaller one: --lr {lr / 10:g}"
        )


def fit(
    model: Module,
    x: Tensor,
    y: Tensor,
    loss_fn: Callable,
    optimizer: Optimizer,
    epochs: int,
    log_every: int = 20,
    first: int = 1,
) -> list[float]:
    """Train on the full batch, one step per epoch; return the loss of each epoch.

    The loss of an epoch is the one *before* its update. Epochs are numbered from
    ``first``, and every ``log_every``-th is printed (0: none). Ends the program if a
    loss is not finite, including the one after the last update; that one is taken in
    eval mode, in which the model is left.
    """
    model.train()
    lr = optimizer.param_groups[0]["lr"]
    losses = []
    for epoch in range(first, first + epochs):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        require_finite(losses[-1], epoch, lr)
        if log_every and epoch % log_every == 0:
            print(f"epoch {epoch:4d}  loss {losses[-1]:#.6g}")
    model.eval()
    with torch.no_grad():
        require_finite(loss_fn(model(x), y).item(), first + epochs - 1, lr)
    return losses


def shuffled_batches(x: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Return the indices of all rows of ``x`` in random order, cut into batches.

    Each batch is an int64 tensor of shape (batch_size,), on the device of ``x``; the
    last may be shorter. The order is drawn on the CPU, so it does not depend on the
    device. It is that of a ``DataLoader(shuffle=True)`` followed in each epoch by a
    ``DataLoader`` for test data: they draw three seeds, and the second gives the order.
    """
    _, seed, _ = torch.empty(3, dtype=torch.int64).random_().tolist()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    return order.to(x.device).split(batch_size)


def train_epoch(
    model: Module,
    x: Tensor,
    y: Tensor,
    loss_fn: Callable,
    optimizer: Optimizer,
    batches: tuple[Tensor, ...],
) -> tuple[float, float]:
    """Take one step per batch of indices; return the mean loss and the accuracy.

    Both are taken on the way: each example counts with the logits that its own batch
    gave *before* the update.
    """
    model.train()
    seen = []
    for indices in batches:
        logits = model(x.index_select(0, indices))  # the same as x[indices], but faster
        loss = loss_fn(logits, y.index_select(0, indices))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(logits.detach())
    return loss_and_accuracy(torch.cat(seen), y[torch.cat(batches)], loss_fn)


def evaluate(
    model: Module, x: Tensor, y: Tensor, loss_fn: Callable
) -> tuple[float, float]:
    """Return the loss and accuracy of ``model``, in eval mode, on ``x`` and ``y``."""
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(part) for part in x.split(1000)])  # limits the memory
        return loss_and_accuracy(logits, y, loss_fn)


def loss_and_accuracy(
    logits: Tensor, y: Tensor, loss_fn: Callable
) -> tuple[float, float]:
    """Return the loss and the share of correct predictions.

    ``logits`` are of shape (n, classes) with class indices ``y`` of shape (n,), or both
    are of shape (n, 1) with labels 0 and 1; raises ValueError for any other shapes.
    All examples count the same, also those of a shorter last batch.
    """
    binary = logits.shape[1:] == (1,)
    if logits.ndim != 2 or y.shape != logits.shape[: 1 + binary]:
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(y.shape)}")
    predictions = logits > 0 if binary else logits.argmax(1)
    return loss_fn(logits, y).item(), (predictions == y).sum().item() / len(y)


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a path to write to, then rename it: a crash leaves the old file whole."""
    path = Path(path)
    part = path.with_name(f".part-{path.name}")
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
    """Save ``data`` with ``torch.save``."""
    buffer = io.BytesIO()  # torch.save itself raises no OSError on a full disk
    torch.save(data, buffer)
    with replacing(path) as part:
        part.write_bytes(buffer.getvalue())


def load(path: str | Path) -> Any:
    """Return what `save` saved, with tensors on the CPU, or end the program.

    ``weights_only`` refuses code; checksums, which ``torch.load`` skips, show damage.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if name := archive.testzip():
                raise ValueError(f"bad checksum of {name}")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can raise almost anything
        fail(f"cannot load {path}: {type(error).__name__}: {error}")


def save_state_dict(model: Module, path: str | Path) -> None:
    """Save the parameters and buffers of ``model``."""
    save(model.state_dict(), path)
    print(f"saved {path}")


def load_state_dict(model: Module, path: str | Path) -> None:
    """Load the parameters saved at ``path`` into ``model``, or end the program."""
    state = load(path)
    try:
        model.load_state_dict(state)
    except Exception as error:  # the file may hold anything
        fail(f"{path} does not fit the model: {error}")


def save_figure(fig: Figure, path: str | Path) -> None:
    """Save ``fig``; where there is a screen, the script ends with a window of it."""
    with replacing(path) as part:
        fig.savefig(part)
    print(f"saved {path}")
    if fig.canvas.required_interactive_framework and not LAUNCHED:
        atexit.register(plt.show)
