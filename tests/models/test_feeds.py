"""fit, evaluate and predict on batches that a generator, an iterable or an object with batches by number gives."""

from __future__ import annotations

import numpy as np
import pytest

from fastseq import layers, models


@pytest.fixture
def data(rng):
    x = rng.standard_normal((20, 6, 3)).astype(np.float32)
    return x, x.sum(axis=(1, 2), keepdims=True)[:, 0]


def small(wait=False):
    model = models.Sequential([*([] if wait else [layers.Input((6, 3))]), layers.GRU(4), layers.Dense(1)])
    if not wait:
        fill(model)
    model.compile(optimizer="sgd", loss="mse", metrics=["mae"])
    return model


def fill(model):
    rng = np.random.default_rng(0)
    model.set_weights([0.3 * rng.standard_normal(weight.shape) for weight in model.weights])


class ByNumber:
    """What Keras calls a PyDataset, or a Sequence."""

    def __init__(self, x, y, size):
        self.x, self.y, self.size, self.epochs, self.seen = x, y, size, 0, []

    def __len__(self):
        return -(-len(self.x) // self.size)

    def __getitem__(self, k):
        self.seen.append(k)
        part = slice(k * self.size, (k + 1) * self.size)
        return self.x[part], self.y[part]

    def on_epoch_end(self):
        self.epochs += 1


class Anew:
    """What can be gone through in each epoch, such as a tf.data.Dataset."""

    def __init__(self, batches):
        self.batches = batches

    def __iter__(self):
        return iter(self.batches)


def test_all_sources_give_what_arrays_give(data):
    x, y = data
    weights = np.linspace(0.5, 2, 20).astype(np.float32)
    source = ByNumber(x, y, 8)
    batches = [source[k] for k in range(3)]

    def forever():
        while True:
            yield from batches

    options = {"epochs": 3, "verbose": 0, "shuffle": False}
    wanted = small().fit(x, y, batch_size=8, validation_data=(x, y), **options).history
    one, two, three = ByNumber(x, y, 8), small(), small()
    assert small().fit(one, validation_data=ByNumber(x, y, 8), **options).history == wanted
    assert (one.epochs, one.seen) == (3, [0, 1, 2] * 3)
    assert two.fit(Anew(batches), validation_data=Anew(batches), **options).history == wanted
    options["validation_batch_size"] = 8
    assert three.fit(forever(), steps_per_epoch=3, validation_data=(x, y), **options).history == wanted
    del options["validation_batch_size"]
    assert two.evaluate(Anew(batches)) == two.evaluate(x, y, batch_size=8) == two.evaluate(forever(), steps=3)
    assert np.array_equal(two.predict(Anew([(a,) for a, _ in batches])), two.predict(x))
    assert np.array_equal(two.predict(Anew([a for a, _ in batches])), two.predict(x))
    assert np.array_equal(two.predict(one), two.predict(x)) and len(two.predict(forever(), steps=2)) == 16
    weighed = [(a, b, weights[8 * k : 8 * k + 8]) for k, (a, b) in enumerate(batches)]
    both = [small(), small()]
    given = [both[0].fit(x, y, 8, sample_weight=weights, **options), both[1].fit(Anew(weighed), **options)]
    assert given[0].history == given[1].history


def test_steps_make_an_epoch(data):
    x, y = data
    model, whole = small(), small()
    found = model.fit(
        x, y, batch_size=4, epochs=5, steps_per_epoch=2, shuffle=False, verbose=0
    )  # twice through 5 batches
    whole.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    assert len(found.history["loss"]) == 5 and found.params == {"epochs": 5, "steps": 2, "verbose": 0}
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), whole.get_weights(), strict=True))
    assert model.evaluate(x, y, batch_size=4, steps=2) == model.evaluate(x[:8], y[:8], batch_size=4)
    held = model.fit(x, y, batch_size=4, validation_data=(x, y), validation_steps=1, validation_batch_size=5, verbose=0)
    assert held.history["val_loss"][0] == pytest.approx(model.evaluate(x[:5], y[:5])[0])


def test_a_model_that_waits_for_a_shape_takes_it_from_the_first_batch(data):
    x, y = data

    def once():
        yield x[:10], y[:10]
        yield x[10:], y[10:]

    for source in (once(), Anew([(x, y)]), ByNumber(x, y, 10)):
        model = small(wait=True)
        assert len(model.fit(source, verbose=0).history["loss"]) == 1
        assert model.built and model.predict(x).shape == (20, 1)


def test_a_source_that_comes_to_its_end_ends_the_training(data):
    x, y = data
    model = small()
    with pytest.warns(UserWarning, match="ran out of data: expected batches in a pass, got none"):
        history = model.fit(iter([(x, y)] * 3), epochs=4, verbose=0)
    assert history.epoch == [0]  # the first took all
    with pytest.warns(UserWarning, match="ran out of data: expected 2 batches in a pass, got 1"):
        model.fit(iter([(x, y)] * 3), steps_per_epoch=2, epochs=2, verbose=0)
    with pytest.raises(ValueError, match="x: expected at least one batch, got none"), pytest.warns(UserWarning):
        model.predict(iter([]))


def test_batches_by_number_are_shuffled(data):
    source = ByNumber(*data, 2)
    small().fit(source, epochs=2, verbose=0)
    assert sorted(source.seen) == sorted(list(range(10)) * 2) and source.seen[:10] != list(range(10))


def test_a_torch_loader_is_a_source(data):
    torch = pytest.importorskip("torch")
    x, y = data
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.from_numpy(x), torch.from_numpy(y)), batch_size=8
    )
    model, other = small(), small()
    found = model.fit(loader, epochs=2, verbose=0).history
    assert found == other.fit(x, y, batch_size=8, epochs=2, shuffle=False, verbose=0).history
