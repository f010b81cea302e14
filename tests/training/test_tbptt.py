"""Training in windows of steps: state goes on, gradients stop, rows stay where they are."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn, optim
from fastseq.nn import functional
from fastseq.training import Callback, CarriedState


def network(layers=1, dropout=0.0, features=2, out=1):
    fs.manual_seed(0)
    lstm = nn.LSTM(features, 5, num_layers=layers, dropout=dropout, dtype=np.float64)
    return nn.Sequential(lstm, nn.Linear(5, out, dtype=np.float64))


class Gradients(Callback):
    """Remembers losses and gradients of every step."""

    def on_train_begin(self):
        self.losses, self.gradients = [], []

    def on_optimizer_step(self):
        self.gradients.append([p.grad.numpy().copy() for p in self.run.model.parameters()])

    def on_train_batch_end(self, batch, loss):
        self.losses.append(loss)


def fitted(net, x, y, **options):
    watch = Gradients()
    options = {"epochs": 1, "shuffle": False, "learning_rate": 0.05, "optimizer": "sgd", "batch_size": 4} | options
    history = fs.fit(net, x, y, verbose=False, callbacks=[watch], **options)
    return watch, history.history


def equal_bits(one, other):
    return all(np.array_equal(p.numpy(), q.numpy()) for p, q in zip(one.parameters(), other.parameters(), strict=True))


def rows_of(rng, count=10, longest=17, features=2):
    return [rng.standard_normal((int(n), features)) for n in rng.integers(1, longest, count)]


@pytest.mark.parametrize("window", [13, 14, 100])
def test_a_window_of_all_steps_is_full_back_propagation(rng, window):
    x, y = rng.standard_normal((9, 13, 2)), rng.standard_normal((9, 13, 1))
    whole, cut = network(layers=2), network(layers=2)
    expected, history = fitted(whole, x, y, metrics="mae")
    found, other = fitted(cut, x, y, metrics="mae", tbptt=window)
    assert equal_bits(whole, cut) and found.losses == expected.losses
    assert other["loss"] == pytest.approx(history["loss"]) and other["mae"] == pytest.approx(history["mae"])


def test_ragged_rows_in_one_window_are_full_back_propagation(rng):
    x = rows_of(rng)
    y = [row.cumsum(0)[:, :1] for row in x]
    whole, cut = network(), network()
    expected, history = fitted(whole, x, y)
    found, other = fitted(cut, x, y, tbptt=20)
    assert equal_bits(whole, cut) and found.losses == expected.losses and other["loss"] == history["loss"]


def windowed_by_hand(net, x, y, lengths, window, rate):
    """SGD over windows of one batch, the state given and taken by hand."""
    lstm, head = net[0], net[1]
    optimizer, state, losses, gradients = optim.SGD(net.parameters(), lr=rate), None, [], []
    for start in range(0, x.shape[1], window):
        part = slice(start, start + window)
        left = np.clip(lengths - start, 0, x[:, part].shape[1])
        optimizer.zero_grad()
        out, (h, c) = lstm(x[:, part], state, lengths=left)
        state = (h.detach(), c.detach())
        loss = functional.mse_loss(head(out), y[:, part], lengths=left)
        loss.backward()
        losses.append(loss.item())
        gradients.append([p.grad.numpy().copy() for p in net.parameters()])
        optimizer.step()
    return losses, gradients


@pytest.mark.parametrize("window", [1, 4, 5])
@pytest.mark.parametrize("layers", [1, 2])
def test_is_the_loop_by_hand(rng, window, layers):
    lengths = np.array([14, 14, 9, 3])
    x, y = rng.standard_normal((4, 14, 2)), rng.standard_normal((4, 14, 1))
    by_hand, cut = network(layers), network(layers)
    losses, gradients = windowed_by_hand(by_hand, x, y, lengths, window, 0.05)
    found, history = fitted(cut, x, y, lengths=lengths, tbptt=window)
    np.testing.assert_allclose(found.losses, losses, rtol=1e-12)
    for own, expected in zip(found.gradients, gradients, strict=True):
        for a, b in zip(own, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-13)
    valid = [np.clip(lengths - s, 0, min(window, 14 - s)).sum() for s in range(0, 14, window)]
    assert history["loss"][0] == pytest.approx(np.average(losses, weights=valid))


@pytest.mark.parametrize("window", [3, 5])
def test_gradients_are_those_of_a_torch_loop_that_detaches(rng, window):
    torch = pytest.importorskip("torch")
    x, y = rng.standard_normal((4, 12, 2)), rng.standard_normal((4, 12, 1))
    net = network(layers=2)
    lstm, head = torch.nn.LSTM(2, 5, 2, batch_first=True).double(), torch.nn.Linear(5, 1).double()
    state = {name: torch.from_numpy(t.numpy().copy()) for name, t in net.state_dict().items()}
    lstm.load_state_dict({name[2:]: t for name, t in state.items() if name.startswith("0.")})
    head.load_state_dict({name[2:]: t for name, t in state.items() if name.startswith("1.")})
    found, _ = fitted(net, x, y, tbptt=window)
    parameters = [*lstm.parameters(), *head.parameters()]
    names = [f"0.{n}" for n, _ in lstm.named_parameters()] + [f"1.{n}" for n, _ in head.named_parameters()]
    order = [names.index(name) for name, _ in net.named_parameters()]
    optimizer, hx = torch.optim.SGD(parameters, lr=0.05), None
    for number, start in enumerate(range(0, 12, window)):
        optimizer.zero_grad()
        out, hx = lstm(torch.from_numpy(x[:, start : start + window]), hx)
        hx = tuple(part.detach() for part in hx)
        loss = torch.nn.functional.mse_loss(head(out), torch.from_numpy(y[:, start : start + window]))
        loss.backward()
        assert found.losses[number] == pytest.approx(loss.item(), rel=1e-10)
        for own, place in zip(found.gradients[number], order, strict=True):
            np.testing.assert_allclose(own, parameters[place].grad.numpy(), rtol=0, atol=1e-10)
        optimizer.step()


def test_windows_learn_what_lies_further_back_than_they_reach(rng):
    """The first value is asked for at the end: without carried state nobody could know it."""
    x = np.zeros((64, 12, 1))
    x[:, 0, 0] = rng.choice([-1.0, 1.0], 64)
    y = np.repeat(x[:, :1], 12, axis=1)
    net = network(features=1)
    options = {
        "optimizer": "adam",
        "epochs": 40,
        "batch_size": 16,
        "learning_rate": 0.02,
        "tbptt": 3,
        "random_state": 0,
    }
    losses = fs.fit(net, x, y, verbose=False, **options).history["loss"]
    assert losses[-1] < 0.05
    assert np.abs(fs.predict(net, x)[:, -1, 0] - x[:, 0, 0]).max() < 0.5


def test_windows_may_be_accumulated(rng):
    """Over all windows of a batch with fixed weights, only the state's gradient is missing."""
    x, y = rng.standard_normal((6, 12, 2)), rng.standard_normal((6, 12, 1))
    cut, by_hand = network(), network()
    found, _ = fitted(cut, x, y, tbptt=5, accumulate=3, batch_size=6)
    state, total = None, 0.0
    for start in range(0, 12, 5):
        out, (h, c) = by_hand[0](x[:, start : start + 5], state)
        state = (h.detach(), c.detach())
        difference = by_hand[1](out) - y[:, start : start + 5]
        total = total + (difference * difference).sum()
    (total / y.size).backward()
    assert len(found.gradients) == 1 and len(found.losses) == 3
    for own, p in zip(found.gradients[0], by_hand.parameters(), strict=True):
        np.testing.assert_allclose(own, p.grad.numpy(), rtol=0, atol=1e-13)


def test_each_batch_starts_from_zeros_and_the_model_is_as_before(rng):
    x, y = rng.standard_normal((8, 9, 2)), rng.standard_normal((8, 9, 1))
    net, twin = network(), network()
    fitted(net, x, y, tbptt=4, batch_size=4)
    for part in (slice(0, 4), slice(4, 8)):
        windowed_by_hand(twin, x[part], y[part], np.full(4, 9), 4, 0.05)
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(p.numpy(), q.numpy(), rtol=0, atol=1e-13)
    assert "forward" not in net.__dict__ and "forward" not in net[0].__dict__
    assert np.array_equal(net(x).numpy(), net(x).numpy())


def test_resumes_with_windows_bit_for_bit(rng, tmp_path):
    x = rows_of(rng, 20)
    y = [row[:, :1] for row in x]

    class Die(Callback):
        def on_epoch_begin(self, epoch):
            if epoch == 2 and not (tmp_path / "died").exists():
                (tmp_path / "died").touch()
                raise RuntimeError("lights out")

    def go(path):
        net = network(layers=2, dropout=0.3)
        callbacks = [fs.training.Checkpoint(path), Die()]
        options = {"tbptt": 4, "epochs": 4, "batch_size": 6, "random_state": 1, "ema": 0.9, "resume_from": path}
        return net, fs.fit(net, x, y, verbose=False, callbacks=callbacks, **options)

    with pytest.raises(RuntimeError, match="lights out"):
        go(tmp_path / "a")
    resumed, history = go(tmp_path / "a")
    whole, expected = go(tmp_path / "b")
    assert history.history["loss"] == expected.history["loss"] and equal_bits(resumed, whole)


class Classifier(nn.Module):
    """A model of the user's own, whose forward drops the state."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(2, 4, dtype=np.float64)
        self.head = nn.Linear(8, 3, dtype=np.float64)

    def forward(self, x, lengths=None):
        first, _ = self.lstm(x, lengths=lengths)
        second, _ = self.lstm(x * 2.0, lengths=lengths)  # one layer, called twice
        return self.head(fs.autograd.ops.concatenate([first, second], 2))


def test_carried_state_by_hand(rng):
    fs.manual_seed(3)
    model, x = Classifier(), rng.standard_normal((3, 10, 2))
    whole = model(x).numpy()
    with CarriedState(model) as carried:
        for _ in range(2):
            parts = [model(x[:, k : k + 4]) for k in range(0, 10, 4)]
            assert np.array_equal(np.concatenate([p.numpy() for p in parts], axis=1), whole)
            carried.reset()
        model.lstm(x)
        assert not np.array_equal(model(x).numpy(), whole)
        given = (np.zeros((1, 3, 4)), np.zeros((1, 3, 4)))
        assert np.array_equal(model.lstm(x, given)[0].numpy(), model.lstm(x, given)[0].numpy())  # a given state counts
    assert np.array_equal(model(x).numpy(), whole)
    layer = nn.LSTM(2, 4, dtype=np.float64)
    out = layer(x)[0].numpy()
    with pytest.raises(KeyError), CarriedState(layer):
        assert np.array_equal(np.concatenate([layer(x[:, :7])[0].numpy(), layer(x[:, 7:])[0].numpy()], axis=1), out)
        raise KeyError
    assert np.array_equal(layer(x)[0].numpy(), out)


def test_fits_a_model_of_ones_own(rng):
    x, y = rng.standard_normal((12, 9, 2)), rng.integers(0, 3, (12, 9))
    losses = fs.fit(Classifier(), x, y, loss="cross_entropy", tbptt=4, epochs=5, learning_rate=0.05, verbose=False)
    assert losses.history["loss"][-1] < losses.history["loss"][0]


class MeanSoFar(nn.Module):
    """Looks back over all steps without a state that could be carried."""

    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(2, 4), nn.Linear(4, 1)

    def forward(self, x, lengths=None):
        out, _ = self.lstm(x, lengths=lengths)
        return self.head(out - out.mean(1, keepdim=True))


def test_what_windows_cannot_do(rng):
    x, y = rng.standard_normal((6, 9, 2)).astype(np.float32), rng.standard_normal((6, 9, 1))

    def fit(model, target=y, **options):
        fs.fit(model, x, target, verbose=False, **({"tbptt": 4} | options))

    both = nn.Sequential(nn.LSTM(2, 4, bidirectional=True), nn.Linear(8, 1))
    pooled = nn.Sequential(nn.LSTM(2, 4), nn.LastStep(), nn.Linear(4, 1))
    single = nn.Sequential(nn.LSTM(2, 4), nn.Linear(4, 1))
    for message, act in {
        "model: expected recurrent layers of one direction": lambda: fit(both),
        "y: expected one target per step": lambda: fit(pooled, y[:, 0]),
        "model: expected one output per step": lambda: fit(pooled, np.zeros((6, 9, 1))),
        "model: expected layers over time whose state can be carried": lambda: fit(MeanSoFar()),
        "model: expected at least one recurrent layer": lambda: fit(nn.Sequential(nn.Linear(2, 1))),
        "tbptt: expected an integer >= 1": lambda: fit(single, tbptt=0),
        "tbptt: expected None for LBFGS": lambda: fit(single, optimizer="lbfgs"),
    }.items():
        with pytest.raises(ValueError, match=message):
            act()
    with pytest.raises(TypeError, match="model: expected a fastseq.nn.Module"):
        CarriedState(3)
