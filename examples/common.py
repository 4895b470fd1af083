"""What the lessons share: options, device, training loops, saving, figures.

Functions only. A lesson imports the few it needs; each is short enough to be read
on the way. What a reader can put right (an option, a file, a learning rate) ends the
program with one line on stderr: exit code 2 for the command line, 1 for the rest.
"""

import argparse
import atexit
import io
import math
import os
import random
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path

from endings import LAUNCHED, NOTEBOOK, add_hint, fail, let_interrupt_end

import matplotlib.pyplot as plt
import numpy as np
import torch

atexit.register(let_interrupt_end)  # comes before what the libraries do at the end

# Outputs and data lie beside examples/; where this file lies beside a notebook, there.
HERE = Path(__file__).resolve().parent
ROOT = HERE.parent if HERE.name == "examples" else HERE

# How every figure looks, for plt.style.use. Okabe and Ito chose these colours (2008) so
# that colour-blind readers tell them apart.
STYLE = {
    "axes.prop_cycle": "cycler('color', ['0072B2', 'D55E00', '009E73', 'CC79A7'])",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "figure.figsize": (7.5, 4.5),
    "font.size": 12,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "savefig.dpi": 150,
}


# ------------------------------------------------------------------ the command line


def _whole_number(low, high=10**9):
    def parse(text):
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"{text!r:.40} is not a whole number from {low} to {high}"
            )
        return value

    return parse


def _positive_number(text):
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    largest = torch.finfo(torch.float32).max
    if not 0 < value <= largest:
        raise argparse.ArgumentTypeError(
            f"{text!r:.40} is not a number between 0 and {largest:.2g}, like 0.01"
        )
    return value


# What a lesson may ask for: how it is read, and what --help says of it.
_OPTIONS = {
    "epochs": (_whole_number(1), "N", "passes over the training data"),
    "lr": (_positive_number, "RATE", "learning rate"),
    "batch_size": (_whole_number(1), "N", "examples in a training step"),
    "published": (None, None, "start from the published weights, print their log"),
    "sample": (None, None, "take the few pictures in data/, not the full data set"),
    "resume": (None, None, "go on from the snapshot that the last run left"),
    "data": (Path, "FILE", "a CSV file whose last column is the 0/1 label"),
    "seed": (_whole_number(0), "N", "seed of every random number"),
    "device": (str, "NAME", "cpu, cuda, mps, xpu, or auto: the fastest there is"),
    "output": (Path, "FOLDER", "where figures and models are saved"),
}


def options(doc, **defaults):
    """Read the command line, seed every generator and open the output folder.

    Every keyword is an option of the lesson, with its default; ``--device``,
    ``--seed`` and ``--output`` come by themselves. The first line of ``doc``, the
    lesson's docstring, is its description. The result has an attribute per option;
    ``device`` is a `torch.device`, ``output`` the path of a folder that exists.

    Exits with code 2 if the command line makes no sense, and with code 1 if the output
    folder cannot be written.
    """
    parser = argparse.ArgumentParser(
        description=(doc or "").strip().partition("\n")[0],  # None with python -OO
        usage=argparse.SUPPRESS,  # keeps --help short and an error on one line
        allow_abbrev=False,
    )
    parser.error = partial(fail, code=2)
    shared = {"seed": 0, "device": "cpu", "output": ROOT / "outputs"}
    for name, default in (defaults | shared | defaults).items():
        parse, metavar, text = _OPTIONS[name]
        flag = "--" + name.replace("_", "-")
        if default is False:
            parser.add_argument(flag, action="store_true", help=text)
        else:
            shown = default.name if isinstance(default, Path) else default
            text = f"{text} (default: {shown})"
            parser.add_argument(
                flag, type=parse, default=default, metavar=metavar, help=text
            )
    argv = [] if NOTEBOOK else None  # in a notebook sys.argv belongs to Jupyter
    args, unknown = parser.parse_known_args(argv)
    if unknown:
        parser.error(f"unknown option {unknown[0]!r}; --help lists the options")
    try:
        args.device = pick_device(args.device)
    except ValueError as error:
        parser.error(f"argument --device: {error}")
    try:
        args.output.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=args.output).close()
    except OSError as error:
        fail(f"cannot write to {args.output} ({error.strerror}); see --output")

    if hasattr(sys.stdout, "reconfigure"):
        # Into a pipe, too, line by line; a path that it cannot spell, as it can.
        sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    random.seed(args.seed)
    np.random.seed(args.seed)  # noqa: NPY002 (scikit-learn draws from it)
    torch.manual_seed(args.seed)  # the CPU and every accelerator
    # Operations this small finish before a second thread has woken up.
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
    if "resume" in args:
        add_hint(
            "the same command with --resume goes on after the last saved epoch, if "
            "there is one"
        )
    return args


def pick_device(name):
    """Return the `torch.device` of that name; ``"auto"`` takes an accelerator if any.

    Raises `ValueError` if this machine, or this build of PyTorch, has no such device.
    """
    accelerator = None
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
    if name == "auto":
        return accelerator or torch.device("cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"PyTorch knows no device {name!r}; try auto or cpu") from None
    if device.type == "cpu":
        return device
    if accelerator is None or device.type != accelerator.type:
        raise ValueError(f"no {name} device is available here; try auto or cpu")
    if (device.index or 0) >= torch.accelerator.device_count():
        raise ValueError(
            f"there is no {name}; the last one is "
            f"{device.type}:{torch.accelerator.device_count() - 1}"
        )
    return device


# -------------------------------------------------------------------------- training


def require_finite(loss, epoch, lr):
    """End the program if ``loss`` is infinite or not a number, and say what to try."""
    if not math.isfinite(loss):
        fail(
            f"the loss is {loss} in epoch {epoch}: the learning rate {lr:g} is too "
            f"large for this model and data; try --lr {lr / 10:g}"
        )


def fit(model, x, y, loss_fn, optimizer, epochs, log_every=20, first=1):
    """Train on the whole of ``x`` and ``y`` at each step; return each epoch's loss.

    The loss of an epoch is the one *before* its update. ``first`` is the number that
    the log gives to the first epoch; ``log_every=0`` logs nothing. Ends the program if
    a loss is not finite, the one after the last update included.
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
    with torch.no_grad():
        require_finite(loss_fn(model(x), y).item(), first + epochs - 1, lr)
    return losses


def shuffled_batches(n, batch_size, device):
    """Return the row numbers 0 to n - 1 in random order, cut into batches.

    A tuple of int64 tensors on ``device``, each of shape (batch_size,); the last one
    may be shorter. The order comes from the CPU's random numbers, so it is the same on
    every device. It is the one of a ``DataLoader(shuffle=True)`` that is followed by a
    ``DataLoader`` of test data in each epoch: these draw three seeds, one for the
    workers of the first, one for the order, and one for the workers of the second.
    """
    _, seed, _ = torch.empty(3, dtype=torch.int64).random_().tolist()
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    return order.to(device).split(batch_size)


def train_epoch(model, x, y, loss_fn, optimizer, batches):
    """Take one step for each of ``batches``; return the running loss and accuracy.

    ``batches`` are row numbers of ``x`` and ``y``, as `shuffled_batches` draws them.
    Each example is scored as its batch's step found it, *before* the update.
    """
    model.train()
    scored = []
    for rows in batches:
        logits = model(x.index_select(0, rows))  # the same as x[rows], and faster
        loss = loss_fn(logits, y.index_select(0, rows))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scored.append((logits.detach(), rows))
    logits, rows = map(torch.cat, zip(*scored, strict=True))
    return score(logits, y[rows], loss_fn)


def evaluate(model, x, y, loss_fn, batch_size=1000):
    """Return the loss and the accuracy of ``model`` on ``x`` and ``y``.

    Runs in eval mode and without gradients, and leaves the model in the mode it was in.
    The batches only bound the memory: they change neither figure.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model(batch) for batch in x.split(batch_size)])
        result = score(logits, y, loss_fn)
    for module, training in modes:
        module.training = training
    return result


def score(logits, y, loss_fn):
    """Return the loss and the share of rows whose largest logit is that of class ``y``.

    ``logits`` has the shape (n, classes), ``y`` (n,). All rows are scored at once, so
    each counts the same; a mean over the means of batches would count the rows of a
    short last batch for more.
    """
    correct = (logits.argmax(1) == y).sum().item()
    return loss_fn(logits, y).item(), correct / len(y)


# ---------------------------------------------------------------- saving and showing


def write_file(path, data):
    """Write the bytes ``data`` beside ``path``, then rename: all of it, or nothing."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with open(part, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        fail(f"cannot write {path} ({error.strerror}); see --output")


def save_checked(data, path):
    """Write ``data`` as ``torch.save`` does, but whole or not at all."""
    buffer = io.BytesIO()
    torch.save(data, buffer)
    write_file(path, buffer.getvalue())


def load_checked(path):
    """Return the dictionary that `save_checked` wrote, with its tensors on the CPU.

    Runs no code that the file may hold. Raises FileNotFoundError, or ValueError if the
    file is damaged or holds something else.
    """
    try:
        # torch.load checks no checksum, and unpacks a bomb; torch.save packs nothing.
        with zipfile.ZipFile(path) as archive:
            packed = any(entry.compress_type for entry in archive.infolist())
            damaged = "packed" if packed else archive.testzip()
        data = damaged or torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:  # a damaged file can raise almost anything
        raise ValueError(type(error).__name__) from error
    if damaged or not isinstance(data, dict):
        raise ValueError(damaged or f"a {type(data).__name__}")
    return data


def finite_state(model, path):
    """Return ``model.state_dict()``, but end the program if a number is not finite."""
    state = model.state_dict()
    for name, tensor in state.items():
        if not tensor.isfinite().all():
            fail(f"{name} is not finite, so {path} is left alone; try a smaller --lr")
    return state


def set_parameters(model, state, path):
    """Load ``state``, read from ``path``; end the program if it is of another model."""
    here = {key: _form(value) for key, value in model.state_dict().items()}
    there = {key: _form(value) for key, value in state.items()}
    for key in here | there:
        if here.get(key) != there.get(key):
            fail(
                f"{path} was saved from another model: {key!r} is "
                f"{there.get(key, 'missing')} in the file, {here.get(key, 'none')} here"
            )
        if not state[key].isfinite().all():
            fail(f"{path} holds a {key!r} that is not finite")
    model.load_state_dict(state)


def _form(value):
    """Say what must agree if the values of one tensor are to go into another."""
    if not isinstance(value, torch.Tensor):
        return f"a {type(value).__name__}"
    form = [tuple(value.shape), value.dtype]
    if value.is_meta or value.layout != torch.strided:
        form += [value.layout, value.device]
    return " ".join(map(str, form))


def save_state_dict(model, path):
    """Save the parameters of ``model``; a crash leaves the old file at ``path``."""
    save_checked(finite_state(model, path), path)
    print(f"saved {path}")


def load_state_dict(model, path):
    """Load the parameters saved at ``path`` into ``model``, on the model's device.

    Exits with code 1, and leaves ``model`` as it was, if the file is missing, damaged,
    not a state_dict, or that of another model; it says which tensor differs, and how.
    """
    try:
        state = load_checked(path)
        for value in state.values():
            if not isinstance(value, torch.Tensor):
                raise ValueError(f"a dictionary with a {type(value).__name__}")
    except FileNotFoundError:
        fail(f"there is no file {path}; train and save a model first")
    except ValueError as error:
        fail(f"{path} is damaged or holds no state_dict ({error}); save it again")
    set_parameters(model, state, path)


def show(fig, path):
    """Save ``fig`` at ``path``, and open a window where there is a screen.

    The script goes on; its windows stay open, after its end too, until they are closed.
    Under torchrun there are none: no process should wait for somebody to close one.
    """
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    write_file(path, buffer.getvalue())
    print(f"saved {path}")
    if fig.canvas.required_interactive_framework and not LAUNCHED:
        plt.show(block=False)
        plt.pause(0.1)  # lets the window draw itself
        atexit.register(plt.show)
        atexit.register(let_interrupt_end)  # before that


def save_animation(animation, path):
    """Save a matplotlib animation as a GIF; a crash leaves an old file at ``path``."""
    from matplotlib.animation import PillowWriter

    try:  # Pillow wants a file that it can open by its name
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / path.name
            animation.save(part, PillowWriter(fps=5), dpi=100)
            write_file(path, part.read_bytes())
    except OSError as error:
        fail(f"cannot write {path} ({error.strerror or error}); see --output")
    print(f"saved {path}")
