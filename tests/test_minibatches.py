"""Do the mini-batch functions of the shared module do what their names say?"""

from common import evaluate, score, shuffled_batches, train_epoch

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@pytest.fixture
def data():
    """150 rows, 4 features, 3 classes: no batch size below but 1 divides them."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(150, 4, generator=generator)
    return x, torch.randint(3, (150,), generator=generator)


@pytest.fixture
def model():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Linear(8, 3))


@pytest.mark.parametrize(("n", "batch_size"), [(1000, 64), (7, 7), (5, 1), (3, 10)])
def test_order_is_that_of_two_data_loaders(n, batch_size):
    """A shuffled one to train on, and one of test data, for three epochs."""
    train = DataLoader(torch.arange(n), batch_size=batch_size, shuffle=True)
    test = DataLoader(torch.arange(10), batch_size=batch_size)
    torch.manual_seed(5)
    expected = []
    for _ in range(3):
        expected.append([batch.tolist() for batch in train])
        list(test)
    torch.manual_seed(5)
    ours = [shuffled_batches(n, batch_size, torch.device("cpu")) for _ in range(3)]
    assert [[batch.tolist() for batch in epoch] for epoch in ours] == expected
    assert expected[0] != expected[1] or n < 4


def test_every_row_comes_once():
    batches = shuffled_batches(1000, 64, torch.device("cpu"))
    assert [len(batch) for batch in batches] == [64] * 15 + [40]
    assert torch.cat(batches).sort().values.tolist() == list(range(1000))


def test_score_by_hand():
    logits = torch.tensor([[2.0, 0.0], [0.0, 1.0], [3.0, 0.0]])
    loss, accuracy = score(logits, torch.tensor([0, 0, 0]), nn.CrossEntropyLoss())
    terms = torch.log1p(torch.exp(torch.tensor([-2.0, 1.0, -3.0])))
    assert loss == pytest.approx(terms.mean().item())
    assert accuracy == 2 / 3


@pytest.mark.parametrize("batch_size", [1, 7, 64, 150, 1000])
def test_evaluate_does_not_depend_on_the_batch_size(model, data, batch_size):
    x, y = data
    loss, accuracy = evaluate(model, x, y, nn.CrossEntropyLoss(), batch_size)
    with torch.no_grad():
        logits = model.eval()(x)
    assert loss == pytest.approx(nn.functional.cross_entropy(logits, y).item(), 1e-6)
    assert accuracy == (logits.argmax(1) == y).sum().item() / 150


def test_evaluate_leaves_everything_as_it_was(model, data):
    model.train()
    model[1].eval()  # a frozen part stays frozen
    state = torch.get_rng_state()
    seen = []
    model[2].register_forward_hook(
        lambda module, *_: seen.append((module.training, torch.is_grad_enabled()))
    )
    evaluate(model, *data, nn.CrossEntropyLoss())
    assert seen == [(False, False)]
    assert [module.training for module in model] == [True, False, True]
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_train_epoch_is_the_textbook_loop(data):
    """The same loop with its sums written out, and with a last batch of 22."""
    x, y = data
    ours, theirs = nn.Linear(4, 3), nn.Linear(4, 3)
    theirs.load_state_dict(ours.state_dict())
    loss_fn = nn.CrossEntropyLoss()

    torch.manual_seed(2)
    optimizer = torch.optim.SGD(theirs.parameters(), lr=0.5, momentum=0.9)
    loss_sum = correct = 0
    for batch_x, batch_y in DataLoader(TensorDataset(x, y), 64, shuffle=True):
        logits = theirs(batch_x)
        loss = loss_fn(logits, batch_y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss_sum += loss.item() * len(batch_y)
        correct += (logits.argmax(1) == batch_y).sum().item()

    torch.manual_seed(2)
    ours.eval()
    optimizer = torch.optim.SGD(ours.parameters(), lr=0.5, momentum=0.9)
    batches = shuffled_batches(150, 64, x.device)
    loss, accuracy = train_epoch(ours, x, y, loss_fn, optimizer, batches)
    assert loss == pytest.approx(loss_sum / 150, 1e-6)
    assert accuracy == correct / 150
    assert ours.training
    for parameter, expected in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(parameter, expected)
