"""What the lessons share: device, training loops, saving and loading, figures."""

import atexit
import math
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn import Module
from torch.optim import Optimizer

from checkpoint import load, replacing, save
from cli import fail


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


def require_finite(loss: float, epoch: int, lr: float, updates: int = 1) -> None:
    """End the program if ``loss``, after so many updates, is infinite or NaN."""
    if not math.isfinite(loss):
        hint = f"at the learning rate {lr:g}; try a smaller one, such as {lr / 10:g}"
        if updates == 0:
            hint = "before the first update; is a number in the data missing or huge?"
        fail(f"the loss is {loss} in epoch {epoch} {hint}")


def batches(n: int, batch_size: int) -> tuple[Tensor, ...]:
    """Return the numbers 0 to n - 1 in random order, cut into batches.

    Each batch is an int64 tensor of shape (batch_size,); the last may be shorter. They
    are for one epoch: the next one needs new ones. A ``DataLoader`` takes the same
    batches as its ``batch_sampler``.
    """
    return torch.randperm(n).split(batch_size)


def fit(
    model: Module,
    x: Tensor,
    y: Tensor,
    loss_fn: Callable,
    optimizer: Optimizer,
    epochs: int,
    log_every: int = 20,
) -> list[float]:
    """Train on the full batch, one step per epoch; return the loss of each epoch.

    The loss of an epoch is the one *before* its update. Every ``log_every``-th is
    printed (0: none). Ends the program if a loss is not finite, including the one after
    the last update; that one is taken in eval mode, in which the model is left.
    """
    model.train()
    lr = optimizer.param_groups[0]["lr"]
    losses = []
    for epoch in range(1, epochs + 1):
        loss = loss_fn(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        require_finite(losses[-1], epoch, lr, updates=epoch - 1)
        if log_every and epoch % log_every == 0:
            print(f"epoch {epoch:4d}  loss {losses[-1]:#.6g}")
    model.eval()
    with torch.no_grad():
        require_finite(loss_fn(model(x), y).item(), epochs, lr)
    return losses


def train_epoch(
    model: Module,
    x: Tensor,
    y: Tensor,
    loss_fn: Callable,
    optimizer: Optimizer,
    batch_indices: tuple[Tensor, ...],
) -> tuple[float, float]:
    """Take one step per batch of indices; return the mean loss and the accuracy.

    Both are taken on the way: each example counts with the logits that its own batch
    gave *before* the update.
    """
    model.train()
    seen = []
    for indices in batch_indices:
        indices = indices.to(x.device)
        logits = model(x.index_select(0, indices))  # the same as x[indices], but faster
        loss = loss_fn(logits, y.index_select(0, indices))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen.append(logits.detach())
    return loss_and_accuracy(torch.cat(seen), y[torch.cat(batch_indices)], loss_fn)


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

    For ``nn.CrossEntropyLoss``, ``logits`` are of shape (n, classes), and ``y`` has the
    class indices, of shape (n,). For ``nn.BCEWithLogitsLoss`` both are of shape (n, 1),
    with labels 0 and 1. All examples count the same, also those in a shorter batch.
    Raises ValueError for another loss, other shapes, or labels that are no class.
    """
    binary = isinstance(loss_fn, nn.BCEWithLogitsLoss)
    if not (binary or isinstance(loss_fn, nn.CrossEntropyLoss)):
        raise ValueError(f"{loss_fn} is not CrossEntropyLoss or BCEWithLogitsLoss")
    fits = logits.ndim == 2 and (logits.shape[1] == 1) == binary
    if not fits or y.shape != logits.shape[: 1 + binary]:
        raise ValueError(f"logits {tuple(logits.shape)} and labels {tuple(y.shape)}")
    highest = 1 if binary else logits.shape[1] - 1
    if not torch.equal(y, y.clamp(0, highest).round()):
        raise ValueError(f"a label is not a whole number from 0 to {highest}")
    predictions = logits > 0 if binary else logits.argmax(1)
    return loss_fn(logits, y).item(), (predictions == y).sum().item() / len(y)


def compare(name: str, yours: object, reference: object, within: float = 1e-5) -> None:
    """Print whether ``yours`` is ``reference``: numbers, lists, arrays or tensors.

    It is right if the shapes are equal and no entry differs by more than ``within``
    times the largest absolute entry of the reference, or times 1 if that is smaller.
    """
    verdict = "not yet written"
    if yours is not None:
        try:
            a, b = (torch.as_tensor(x).cpu().double() for x in (yours, reference))
            if a.shape != b.shape:
                verdict = f"shape {tuple(a.shape)}, not {tuple(b.shape)}"
            elif (apart := (a - b).abs().max()) <= within * max(1, b.abs().max()):
                verdict = "right"
            else:
                verdict = f"differs by {apart:.2g}"
        except Exception as error:  # yours may be anything, and the lesson goes on
            verdict = f"cannot be compared: {error}"
    print(f"{name}: {verdict}")


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
    """Save ``fig``, as PNG if ``path`` does not say what, and show it at the end.

    Where there is a screen, the script ends with a window of all figures.
    """
    path = Path(path)
    if path.suffix[1:].lower() not in fig.canvas.get_supported_filetypes():
        path = path.with_name(path.name + ".png")
    with replacing(path) as part:
        fig.savefig(part)
    print(f"saved {path}")
    if fig.canvas.required_interactive_framework:
        atexit.register(plt.show)
