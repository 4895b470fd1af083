"""Do all rungs of the lesson about speed train the same model, and its peers too?

Nothing here looks at a time.
"""

import contextlib
import importlib.util
import io
import runpy
import sys

from common import shuffled_batches, train_epoch

import numpy as np
import pytest
import torch
from conftest import ROOT
from torch import nn
from torchvision.datasets import FashionMNIST
from torchvision.transforms import ToTensor

from fashion_mnist import SAMPLE, load_fashion_mnist, read_files

NAME = "faster_training"
LR = 0.01


def run_lesson(output, *argv):
    """Return the lesson's variables and what it printed."""
    path = str(ROOT / "examples" / f"{NAME}.py")
    stream = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(stream):
        argv = [path, "--sample", "--output", str(output), *map(str, argv)]
        patch.setattr(sys, "argv", argv)
        return runpy.run_path(path, run_name="__main__"), stream.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_lesson(tmp_path_factory.mktemp("outputs"), "--epochs", 2, "--lr", LR)


@pytest.fixture(scope="module")
def seen(run):
    return run[0]


@pytest.fixture(scope="module")
def peers():
    spec = importlib.util.spec_from_file_location("peers", ROOT / "benchmarks/peers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def some():
    """500 pictures of all classes, which 7 and 64 do not divide, and a model."""
    x, y, *_ = load_fashion_mnist(sample=True)
    torch.manual_seed(1)
    return x[1::8], y[1::8], nn.Linear(784, 10)


# ------------------------------------------------------------------ the lesson, as run


def test_the_ladder(seen):
    assert next(iter(seen["rungs"])) == "published loop"
    assert len(seen["rungs"]) == 10
    assert list(seen["times"]) == [*seen["rungs"], "floor"]


def test_all_rungs_have_the_same_figures(seen):
    expected = seen["history"]["published loop"]
    for name, history in seen["history"].items():
        for ours, theirs in zip(history, expected, strict=True):
            assert ours[::2] == pytest.approx(theirs[::2], rel=1e-5), name
            assert ours[1] == pytest.approx(theirs[1], abs=1 / 4000), name  # a picture
            assert ours[3] == pytest.approx(theirs[3], abs=1 / 1000), name


def test_all_rungs_have_the_same_weights(seen):
    assert len({id(model) for model in seen["models"].values()}) == 10
    start, expected = seen["model"], seen["models"]["published loop"]
    assert (expected.weight - start.weight).abs().max() > 0.01
    for name, model in seen["models"].items():
        assert torch.allclose(model.weight, expected.weight, atol=1e-6), name
        assert torch.allclose(model.bias, expected.bias, atol=1e-6), name


def test_it_prints_how_far_they_are_apart(run):
    seen, out = run
    line = next(line for line in out.splitlines() if line.startswith("losses of all"))
    printed = float(line.partition("at most ")[2].split()[0])
    losses = np.array(list(seen["history"].values()))[:, :, ::2]
    assert printed == pytest.approx(abs(losses / losses[0] - 1).max(), rel=0.05)
    assert printed < 1e-5
    for part in ("weight", "bias"):
        line = next(line for line in out.splitlines() if f"of the {part}:" in line)
        assert float(line.partition("at most ")[2].split()[0]) < 1e-6


def test_case_3_has_the_same_figures(seen, lesson):
    case_3 = lesson(
        "logistic_regression_case3", "--sample", "--epochs", 2, "--lr", LR,
        "--device", "cpu",
    )  # fmt: skip
    for ours, theirs in zip(
        seen["history"]["pixels as bytes"], case_3["history"], strict=True
    ):
        assert ours == pytest.approx(theirs, rel=1e-5)


def test_the_table_has_a_row_for_each(run):
    seen, out = run
    for name in seen["times"]:
        assert sum(line.startswith(f"{name}  ") for line in out.splitlines()) == 1


def test_same_seed_same_figures(seen, tmp_path):
    again, _ = run_lesson(tmp_path, "--epochs", 2, "--lr", LR)
    other, _ = run_lesson(tmp_path, "--epochs", 1, "--lr", LR, "--seed", 1)
    assert again["history"] == seen["history"]
    assert again["learned"] == seen["learned"]
    assert other["history"]["published loop"] != seen["history"]["published loop"][:1]


def test_growth_trains_every_size(seen):
    assert set(seen["learned"]) == {2**k for k in range(4, 12)} | {64}
    assert all(len(times) == 2 * (4 + 8) for times in seen["grown"].values())
    losses = [seen["learned"][2**k] for k in range(4, 12)]
    assert losses == sorted(losses)  # fewer steps learn less


def test_it_leaves_one_thread(seen):
    assert torch.get_num_threads() == 1


# ---------------------------------------------------------------- its parts, one by one


def test_pictures_are_those_of_torchvision(seen, tmp_path):
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, data in zip(SAMPLE, read_files(sample=True), strict=True):
        (raw / name).write_bytes(data)
    data = load_fashion_mnist(sample=True)
    for train, x, y in ((True, *data[:2]), (False, *data[2:])):
        theirs = FashionMNIST(tmp_path, train=train, transform=ToTensor())
        ours = seen["Pictures"](x, y)
        assert len(ours) == len(theirs)
        for (picture, label), (expected, number) in zip(ours, theirs, strict=True):
            assert torch.equal(picture, expected)
            assert label == number
            assert type(label) is type(number)


def test_gradient_by_hand(seen):
    """Against differences of the loss, in float64."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(5, 12, generator=generator, dtype=torch.float64)
    y = torch.tensor([3, 0, 9, 3, 1])
    weight = torch.randn(10, 12, generator=generator, dtype=torch.float64)
    bias = torch.randn(10, generator=generator, dtype=torch.float64)

    def loss():
        logits = x @ weight.T + bias
        return (logits.logsumexp(1) - logits[range(5), y]).mean()

    gradients = seen["gradient_by_hand"](x @ weight.T + bias, x, y)
    for parameter, gradient in zip((weight, bias), gradients, strict=True):
        flat = parameter.view(-1)
        expected = torch.empty_like(flat)
        for i in range(len(flat)):
            flat[i] += 1e-6
            above = loss()
            flat[i] -= 2e-6
            expected[i] = (above - loss()) / 2e-6
            flat[i] += 1e-6
        assert torch.allclose(gradient, expected.view_as(gradient), atol=1e-8)


@pytest.mark.parametrize("batch_size", [1, 7, 64, 500, 1000])
def test_every_step_against_numpy(seen, peers, some, batch_size):
    """The epoch of `benchmarks/peers.py`, with everything in float64."""
    x, y, start = some
    trainers = {
        "case 3": (seen["case_3"], x),
        "by columns": (lambda *a: seen["by_columns"](1, *a), x),
        "bytes": (lambda *a: seen["by_columns"](1 / 255, *a), (x * 255).round().byte()),
    }
    for step in ("autograd_step", "step_by_hand", "step_in_place"):
        trainers[step] = (lambda *a, s=step: seen["by_rows"](seen[s], *a), x)
    torch.manual_seed(2)
    order = torch.cat(shuffled_batches(500, batch_size, "cpu")).numpy()
    weight, bias = (p.detach().double().numpy().copy() for p in start.parameters())
    figures = peers.numpy_epoch(
        weight, bias, x.double().numpy(), y.numpy(), order, LR, batch_size
    )
    assert figures[0] > 1
    for name, (train, pictures) in trainers.items():
        model = nn.Linear(784, 10)
        model.load_state_dict(start.state_dict())
        torch.manual_seed(2)
        result = train(model, pictures, y, batch_size)
        assert result == pytest.approx(figures, rel=1e-5), name
        for ours, theirs in zip(model.parameters(), (weight, bias), strict=True):
            assert np.allclose(ours.detach().numpy(), theirs, atol=2e-6), name


# -------------------------------------------------------------------------- the peers


@pytest.mark.parametrize("batch_size", [7, 64, 500])
def test_numpy_takes_the_steps_of_the_textbook(peers, some, batch_size):
    x, y, start = some
    model = nn.Linear(784, 10)
    model.load_state_dict(start.state_dict())
    weight, bias = (p.detach().numpy().copy() for p in model.parameters())
    torch.manual_seed(3)
    batches = shuffled_batches(500, batch_size, "cpu")
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    expected = train_epoch(model, x, y, nn.CrossEntropyLoss(), optimizer, batches)
    order = torch.cat(batches).numpy()
    figures = peers.numpy_epoch(
        weight, bias, x.numpy(), y.numpy(), order, LR, batch_size
    )
    assert figures == pytest.approx(expected, rel=1e-5)
    assert np.allclose(weight, model.weight.detach().numpy(), atol=1e-6)
    assert np.allclose(bias, model.bias.detach().numpy(), atol=1e-6)


@pytest.mark.parametrize("batch_size", [7, 50, 500])
def test_jax_takes_the_steps_of_numpy(peers, some, batch_size):
    jnp = pytest.importorskip("jax.numpy", reason="the extra `bench` installs it")
    x, y, start = some
    weight, bias = (p.detach().numpy().copy() for p in start.parameters())
    parameters = jnp.asarray(weight.copy()), jnp.asarray(bias.copy())
    order = np.random.default_rng(0).permutation(500).astype("int32")
    x, y = x.numpy(), y.numpy().astype("int32")
    expected = peers.numpy_epoch(weight, bias, x, y, order, LR, batch_size)
    epoch = peers.jax_epoch(LR, batch_size)
    parameters, figures, test = epoch(parameters, x, y, order, x, y)
    assert figures.tolist() == pytest.approx(expected, rel=1e-5)
    assert np.allclose(parameters[0], weight, atol=1e-6)
    assert np.allclose(parameters[1], bias, atol=1e-6)
    logits = torch.from_numpy(x @ weight.T + bias)
    labels = torch.from_numpy(y).long()
    loss = nn.functional.cross_entropy(logits, labels).item()
    assert float(test[0]) == pytest.approx(loss, rel=1e-5)
    assert float(test[1]) == pytest.approx((logits.argmax(1) == labels).float().mean())
