import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from common import batches, evaluate, fit, train_epoch
from conftest import fails

LOSS, BCE = nn.CrossEntropyLoss(), nn.BCEWithLogitsLoss()


def linear(n_in, n_out, lr, momentum=0.0):
    torch.manual_seed(0)
    model = nn.Linear(n_in, n_out).eval()
    return model, torch.optim.SGD(model.parameters(), lr, momentum)


def test_fit_is_gradient_descent(capsys):
    x, y = np.array([[1.0, 1], [2, 1], [4, 1]]), np.array([[3.0], [5], [4]])
    model, optimizer = linear(1, 1, lr=0.1)
    w, expected = np.array([[model.weight.item()], [model.bias.item()]]), []
    for _ in range(5):
        expected.append(((x @ w - y) ** 2).mean())
        w -= 0.1 * 2 * x.T @ (x @ w - y) / 3
    data, modes = (torch.tensor(x[:, :1]).float(), torch.tensor(y).float()), []
    model.register_forward_hook(lambda model, *_: modes.append(model.training))
    losses = fit(model, *data, nn.MSELoss(), optimizer, 5, log_every=2)
    assert losses == pytest.approx(expected, rel=1e-5)
    assert [p.item() for p in model.parameters()] == pytest.approx(w[:, 0], rel=1e-5)
    assert modes == [True] * 5 + [False]  # the last only looks at the loss
    printed = [float(x) for x in capsys.readouterr().out.split()[1::2] if x != "loss"]
    assert printed == pytest.approx([2, losses[1], 4, losses[3]], 1e-5)


@pytest.mark.parametrize("epochs", [100, 1])
def test_fit_ends_when_the_loss_is_not_finite(capsys, epochs):
    """Also after the last step: before the only one of them the loss was finite."""
    (model, optimizer), x = linear(1, 1, lr=1e30), torch.ones(1, 1)
    words = ["1e+29", f"epoch {min(epochs, 2)}"]
    fails(capsys, words, fit, model, x, 2 * x, nn.MSELoss(), optimizer, epochs)
    (model, optimizer), x = linear(1, 1, lr=0.1), torch.tensor([[1.0], [torch.nan]])
    fails(capsys, ["data"], fit, model, x, x, nn.MSELoss(), optimizer, 5)


@pytest.mark.parametrize(("n", "size"), [(150, 64), (7, 7), (5, 1), (3, 10)])
def test_epochs_are_those_of_a_data_loader(n, size):
    """All rows once in each epoch, in another order; the last batch may be short."""
    x, y = torch.randn(n, 4), torch.randint(3, (n,))
    epochs = [batches(n, size) for _ in range(3)]
    for parts in epochs:
        assert sorted(torch.cat(parts).tolist()) == list(range(n))
        assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
    orders = {tuple(torch.cat(parts).tolist()) for parts in epochs}
    assert len(orders) == 3 or n < 5
    model, optimizer = linear(4, 3, lr=0.5, momentum=0.9)
    expected = []
    for parts in epochs:
        loss_sum = correct = 0
        for indices in DataLoader(range(n), batch_sampler=parts):
            logits = model(x[indices])
            loss = LOSS(logits, y[indices])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            loss_sum += loss.item() * len(indices)
            correct += (logits.argmax(1) == y[indices]).sum().item()
        expected.append((pytest.approx(loss_sum / n, rel=1e-6), correct / n))
    weight = model.weight
    model, optimizer = linear(4, 3, lr=0.5, momentum=0.9)
    results = [train_epoch(model, x, y, LOSS, optimizer, parts) for parts in epochs]
    assert results == expected
    assert torch.equal(model.weight, weight)
    assert model.training


@pytest.mark.parametrize(("n_out", "loss_fn"), [(3, LOSS), (1, BCE)])
def test_evaluate(n_out, loss_fn):
    """A mean over examples, in eval mode and without gradients."""
    x, seen = torch.randn(2300, 4), set()
    model = nn.Sequential(nn.Linear(4, n_out), nn.Dropout(0.5))
    model.register_forward_hook(lambda *_: seen.add(torch.is_grad_enabled()))
    logits = (x @ model[0].weight.T + model[0].bias).detach().numpy()
    if n_out == 1:  # the second of two logits, the first of which is 0
        logits = np.hstack([0 * logits, logits])
    y = torch.randint(logits.shape[1], (2300,))
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(2300), y]
    labels = y if n_out > 1 else y[:, None].float()
    expected = losses.mean(), (logits.argmax(1) == y.numpy()).mean()
    assert evaluate(model, x, labels, loss_fn) == pytest.approx(expected, rel=1e-5)
    assert seen == {False}


SHAPES = [((7, 1), 7), (7, (7, 1)), (7, 7), ((7, 9), (7, 1)), ((7, 3, 3), (7, 3))]


@pytest.mark.parametrize(
    ("shape", "labels", "loss_fn"),
    [
        *((shape, torch.zeros(y).long().tolist(), LOSS) for shape, y in SHAPES),
        *((shape, torch.zeros(y).long().tolist(), BCE) for shape, y in SHAPES),
        ((2, 1), [[0.0], [1.0]], nn.BCELoss()),  # takes probabilities
        ((2, 1), [[-1.0], [1.0]], BCE),
        ((2, 1), [[0.0], [torch.nan]], BCE),
        ((2, 3), [1, 3], LOSS),
        ((2, 3), [-100, 0], LOSS),  # which this loss leaves out
    ],
)
def test_an_error_and_never_a_wrong_accuracy(shape, labels, loss_fn):
    """Nor a broadcast, which could give an accuracy above 1."""
    with pytest.raises(ValueError, match=r"Loss|label"):
        evaluate(nn.Identity(), torch.rand(shape), torch.tensor(labels), loss_fn)
