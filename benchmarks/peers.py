"""The lesson and the ladder beside what one might use instead: time and accuracy.

All follow one recipe: softmax regression on the 60,000 images, SGD with the learning
rate 0.001 and batches of 64, shuffled, running loss and accuracy, a test pass in each
epoch. They take turns, an epoch each; the tables show medians over the epochs after the
first, in which some of them compile. "Processor" is the time of all threads of the
process, which other work on the machine hardly changes: "x floor" compares it. Keras
and JAX come with the extra ``bench``; what is not installed is left out.

    pip install -e ".[bench]"
    python benchmarks/peers.py
"""

import contextlib
import copy
import functools
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measure import environment, parser, run_lesson, timed

LR, BATCH_SIZE = 1e-3, 64
FLOOR = "floor: two products for each batch"


def load(sample):
    """Return train and test data as NumPy arrays, labels as int32."""
    from lesson_data import load_fashion_mnist

    x, y, test_x, test_y = (part.numpy() for part in load_fashion_mnist(sample, "cpu"))
    return x, y.astype("int32"), test_x, test_y.astype("int32")


# -------------------------------------------------------------------- the contestants
# A group is what shares a process. It returns a function for each contestant, which
# trains one epoch and returns the test accuracy after it.


def pytorch(sample):
    """The published loop, and rungs of `ladder.py`."""
    from ladder import BYTES, COMPILED, READABLE, make_rungs
    from torch.utils.data import DataLoader
    from torchvision.datasets import FashionMNIST
    from torchvision.transforms import ToTensor

    from lesson_data import read_files

    lesson = run_lesson(sample)
    rungs = make_rungs(lesson)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder, "FashionMNIST", "raw")
        raw.mkdir(parents=True)
        for name, data in read_files(sample).items():
            (raw / name).write_bytes(data)
        train, test = (
            FashionMNIST(folder, train=train, transform=ToTensor())
            for train in (True, False)
        )

    def published(model):
        batches = DataLoader(train, BATCH_SIZE, shuffle=True)
        return lesson["simple_epoch"](batches, DataLoader(test, BATCH_SIZE), model)

    def contestant(rung):
        model = copy.deepcopy(lesson["model"])
        return lambda: rung(model)[-1]

    def hundred_epochs():
        epoch = contestant(rungs[READABLE])
        return [epoch() for _ in range(100)][-1]

    top = BYTES, COMPILED
    return {
        "published loop": contestant(published),
        "our loop, `common.train_epoch`": contestant(rungs[READABLE]),
        **{f"our ladder, {n}": contestant(rungs[n]) for n in top if n in rungs},
        FLOOR: lesson["floor"],
        "our loop, 100 epochs": hundred_epochs,
    }


def compiled(sample):
    """The lesson's loop with ``torch.compile`` of a whole step."""
    import torch
    from ladder import COMPILER
    from torch import nn

    from common import batches, evaluate, loss_and_accuracy
    from lesson_data import load_fashion_mnist

    if not COMPILER:
        raise ImportError("torch.compile needs a C++ compiler")
    torch.set_num_threads(1)
    x, y, test_x, test_y = load_fashion_mnist(sample, "cpu")
    torch.manual_seed(0)
    model, loss_fn = nn.Linear(784, 10), nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)

    @torch.compile
    def step(x, y):
        logits = model(x)
        loss_fn(logits, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        return logits.detach()

    def epoch():
        parts = batches(len(x), BATCH_SIZE)
        logits = [step(x.index_select(0, i), y.index_select(0, i)) for i in parts]
        loss_and_accuracy(torch.cat(logits), y[torch.cat(parts)], loss_fn)
        return evaluate(model, test_x, test_y, loss_fn)[1]

    return {"our loop, its step through `torch.compile`": epoch}


def numpy_epoch(weight, bias, x, y, order, lr=LR, batch_size=BATCH_SIZE):
    """Train ``weight`` (10, 784) and ``bias`` (10,) in place, in the given order.

    Returns the running loss and accuracy, those of each image before its update.
    """
    import numpy as np

    loss = correct = 0
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        images, labels, each = x[indices], y[indices], np.arange(len(indices))
        logits = images @ weight.T
        logits += bias
        correct += (logits.argmax(1) == labels).sum()
        logits -= logits.max(1, keepdims=True)
        right = logits[each, labels]
        error = np.exp(logits, out=logits)
        total = error.sum(1, keepdims=True)
        loss += np.log(total).sum() - right.sum()
        error /= total
        error[each, labels] -= 1
        error *= lr / len(indices)
        weight -= error.T @ images
        bias -= error.sum(0)
    return loss / len(order), correct / len(order)


def numpy(sample):
    import numpy as np

    x, y, test_x, test_y = load(sample)
    rng = np.random.default_rng(0)
    weight = rng.uniform(-1 / 28, 1 / 28, (10, 784)).astype("float32")
    bias = np.zeros(10, "float32")

    def epoch():
        numpy_epoch(weight, bias, x, y, rng.permutation(len(x)))
        return ((test_x @ weight.T + bias).argmax(1) == test_y).mean()

    return {"NumPy, gradient by hand": epoch}


def jax_epoch(lr=LR, batch_size=BATCH_SIZE, unroll=8):
    """Return a compiled function: an epoch of steps in one ``scan``, and a test pass.

    It takes (weight, bias), the training data, its order and the test data; it returns
    the new (weight, bias), and loss and accuracy in training and test.
    """
    import jax
    import jax.numpy as jnp

    def metrics(parameters, x, y):
        weight, bias = parameters
        logits = x @ weight.T + bias
        log_p = jax.nn.log_softmax(logits)
        loss = -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()
        return loss, (logits.argmax(1) == y).mean()

    @functools.partial(jax.jit, donate_argnums=0)
    def epoch(parameters, x, y, order, test_x, test_y):
        def step(parameters, indices):
            results, gradients = jax.value_and_grad(metrics, has_aux=True)(
                parameters, x[indices], y[indices]
            )
            update = jax.tree.map(lambda p, g: p - lr * g, parameters, gradients)
            return update, jnp.stack(results) * len(indices)

        whole = len(order) // batch_size * batch_size  # the last batch may be shorter
        parameters, sums = jax.lax.scan(
            step, parameters, order[:whole].reshape(-1, batch_size), unroll=unroll
        )
        total = sums.sum(0)
        if whole < len(order):
            parameters, last = step(parameters, order[whole:])
            total += last
        return parameters, total / len(order), metrics(parameters, test_x, test_y)

    return epoch


def jax(sample):
    import jax.numpy as jnp
    import numpy as np

    data = [jnp.asarray(part) for part in load(sample)]
    rng = np.random.default_rng(0)
    weight = rng.uniform(-1 / 28, 1 / 28, (10, 784)).astype("float32")
    parameters = jnp.asarray(weight), jnp.zeros(10)
    compiled = jax_epoch()

    def epoch():
        nonlocal parameters
        order = rng.permutation(len(data[0])).astype("int32")
        parameters, _, test = compiled(parameters, *data[:2], order, *data[2:])
        return float(test[1])

    return {"JAX, `jit` of an epoch in `scan`": epoch}


def keras(backend, sample):
    os.environ["KERAS_BACKEND"] = backend
    import keras

    x, y, test_x, test_y = load(sample)
    if backend == "torch":
        import torch

        torch.set_num_threads(1)  # as in the lessons

    def contestant(steps):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((784,)), keras.layers.Dense(10)])
        model.compile(
            keras.optimizers.SGD(LR),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            steps_per_execution=steps,
        )

        def epoch():
            history = model.fit(
                x,
                y,
                batch_size=BATCH_SIZE,
                validation_data=(test_x, test_y),
                validation_batch_size=1000,
                verbose=0,
            ).history
            return history["val_accuracy"][-1]

        return epoch

    if backend == "torch":
        return {"Keras on PyTorch, `fit`": contestant(1)}
    return {
        "Keras on JAX, `fit`": contestant(1),
        "Keras on JAX, `fit`, 32 `steps_per_execution`": contestant(32),
    }


def sklearn(sample):
    import numpy as np
    from sklearn.linear_model import LogisticRegression, SGDClassifier

    x, y, test_x, test_y = load(sample)
    model = SGDClassifier(
        loss="log_loss", penalty=None, learning_rate="constant", eta0=LR, n_jobs=-1
    )

    def epoch():
        model.partial_fit(x, y, classes=np.arange(10))
        return model.score(test_x, test_y)

    def converge(tol):
        steps = 50 if sample else 20_000  # minutes else, even on a few images
        best = LogisticRegression(tol=tol, max_iter=steps).fit(x, y)
        return best.score(test_x, test_y)

    return {
        "scikit-learn, `SGDClassifier`, an image at a time": epoch,
        "scikit-learn, `LogisticRegression`, `tol=1e-4` (its default)": (
            functools.partial(converge, 1e-4)
        ),
        "scikit-learn, `LogisticRegression`, `tol=1e-6`": (
            functools.partial(converge, 1e-6)
        ),
    }


GROUPS = [
    pytorch,
    compiled,
    numpy,
    jax,
    functools.partial(keras, "jax"),
    functools.partial(keras, "torch"),
    sklearn,
]


# ------------------------------------------------------------------------ the contest


def serve(group, sample, pipe):
    """In a process of its own: train an epoch of each contestant that ``pipe`` names.

    Answers with the seconds that it took, those of the processor, and the accuracy.
    """
    try:
        epochs = group(sample)
    except ImportError as error:
        pipe.send(str(error))
        return
    pipe.send(list(epochs))
    with contextlib.suppress(EOFError, KeyboardInterrupt):  # the other end is closed
        while name := pipe.recv():
            start = time.process_time()
            seconds, accuracy = timed(epochs[name])
            pipe.send((seconds, time.process_time() - start, accuracy))


def main():
    args = parser(__doc__, repetitions=9).parse_args()
    here = environment()
    context = multiprocessing.get_context("spawn")
    pipes, processes = {}, []
    for group in GROUPS:
        ours, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(group, args.sample, theirs), daemon=True
        )
        process.start()
        theirs.close()
        processes.append(process)
        names = ours.recv()
        if isinstance(names, str):
            print(f"left out: {names}", file=sys.stderr)
        else:
            pipes |= dict.fromkeys(names, ours)

    def run(name):
        pipes[name].send(name)
        return pipes[name].recv()

    once = [name for name in pipes if "100 epochs" in name or "tol=" in name]
    times = {name: [] for name in pipes if name not in once}
    accuracies = {}
    for repetition in range(1 + args.repetitions):
        for name, values in times.items():
            *both, accuracies[name] = run(name)
            values.append(both)
        print(f"epoch {repetition} of {args.repetitions} done", file=sys.stderr)

    print(f"{here}; medians of {args.repetitions} epochs\n")
    print("| an epoch | seconds | first | processor | x floor | test accuracy |")
    print("|---|---|---|---|---|---|")
    median, cpu = (
        {name: statistics.median(v[i] for v in times[name][1:]) for name in times}
        for i in (0, 1)
    )
    for name in sorted(cpu, key=cpu.get, reverse=True):
        accuracy = accuracies[name]
        shown = "" if accuracy is None else f"{accuracy:.4f}"
        print(
            f"| {name} | {median[name]:.3f} | {times[name][0][0]:.2f} "
            f"| {cpu[name]:.3f} | {cpu[name] / cpu[FLOOR]:.2f} | {shown} |"
        )

    print("\n| a whole run | seconds | test accuracy |")
    print("|---|---|---|")
    hundred = 100 * median["published loop"]
    print(f"| published loop: 100 x its epoch | {hundred:.0f} | |")
    for name in once:
        seconds, _, accuracy = run(name)
        print(f"| {name} | {seconds:.1f} | {accuracy:.4f} |")
    for pipe in set(pipes.values()):
        pipe.send(None)
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()
