"""Data in the forms that people have them: ragged arrays of objects, data frames, masks, labels that do not fit."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn


def network(outputs: int = 1) -> nn.Module:
    fs.manual_seed(0)
    return nn.Sequential(nn.LSTM(2, 4), nn.LastStep(), nn.Linear(4, outputs))


def losses(x, y, outputs: int = 1, **options) -> list[float]:
    history = fs.fit(network(outputs), x, y, epochs=2, verbose=False, random_state=0, **options)
    return history.history["loss"]


LENGTHS = (0, 1, 5, 3, 0, 9, 1, 2)


def ragged(rng) -> list[np.ndarray]:
    return [rng.standard_normal((length, 2)) for length in LENGTHS]


def objects(parts: list) -> np.ndarray:
    found = np.empty(len(parts), object)
    found[:] = parts
    return found


def test_ragged_rows_in_every_container(rng):
    rows, y = ragged(rng), rng.standard_normal(8)
    want = losses(rows, y)
    assert losses(tuple(rows), list(y)) == losses(iter(rows), tuple(y)) == want
    assert losses(objects(rows), y) == losses([row.tolist() for row in rows], y) == want
    assert np.array_equal(fs.predict(network(), objects(rows)), fs.predict(network(), rows))
    targets = [row[:, :1] for row in rows]
    per_step = nn.Sequential(nn.LSTM(2, 4), nn.Linear(4, 1)).state_dict()
    found = []
    for x, y in ((rows, targets), (objects(rows), objects(targets))):
        model = nn.Sequential(nn.LSTM(2, 4), nn.Linear(4, 1))
        model.load_state_dict(per_step)
        found.append(fs.fit(model, x, y, epochs=2, verbose=False, random_state=0).history["loss"])
    assert found[0] == found[1]


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_data_frames_as_rows(library, rng):
    module = pytest.importorskip(library)
    rows, y = ragged(rng), rng.standard_normal(8)
    want = losses(rows, y)
    names = {"columns": ["a", "b"]} if library == "pandas" else {"schema": ["a", "b"]}
    assert losses([module.DataFrame(row, **names) for row in rows], module.Series(y)) == want
    if library == "pandas":
        assert losses(module.Series(rows), y) == want


@pytest.mark.parametrize("length", [0, 1])
def test_rows_of_no_or_one_step_only(length):
    assert np.isfinite(losses([np.ones((length, 2))] * 3, np.ones(3))).all()
    assert np.isfinite(losses(np.ones((3, length, 2)), np.ones(3), batch_size=10**9)).all()


def test_masked_entries_are_refused(rng):
    x = rng.standard_normal((4, 3, 2))
    assert losses(np.ma.array(x, mask=False), np.ones(4)) == losses(x, np.ones(4))
    with pytest.raises(ValueError, match="x: expected an array without masked entries"):
        losses(np.ma.array(x, mask=x > 0), np.ones(4))
    with pytest.raises(ValueError, match="y: expected an array without masked entries"):
        losses(x, np.ma.array(np.ones(4), mask=[1, 0, 0, 0]))


BAD = {
    "no targets": (None, {}, TypeError, "y: expected an array or list of targets, one per row of x, got None"),
    "one target": (3, {}, TypeError, "y: expected an array or list of targets, one per row of x, got 3"),
    "no numbers": ([None] * 4, {}, TypeError, r"y\[0\]: expected numbers"),
    "classes as floats": (
        np.zeros(4, np.float32),
        {"loss": "cross_entropy", "outputs": 3},
        ValueError,
        r"y: expected shape \(B, 3\), as the model's output \(or integer classes\), got shape \(B,\)",
    ),
    "classes from 1": (
        np.array([1, 2, 3, 1]),
        {"loss": "cross_entropy", "outputs": 3},
        ValueError,
        r"target: expected classes in 0\.\.2, got 3",
    ),
    "too large for float32": (np.full(4, 1e300), {}, ValueError, "y: expected finite numbers, got inf in row 0"),
    "old generator": (
        np.ones(4),
        {"random_state": "1"},
        TypeError,
        "random_state: expected an integer, a numpy.random.Generator or None, got '1'",
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast:RuntimeWarning")
def test_what_does_not_fit_is_named(case, rng):
    y, options, kind, message = BAD[case]
    outputs = options.get("outputs", 1)
    rest = {"random_state": 0} | {name: value for name, value in options.items() if name != "outputs"}
    with pytest.raises(kind, match=message):
        fs.fit(network(outputs), rng.standard_normal((4, 3, 2)), y, epochs=1, verbose=False, **rest)


def test_a_loss_that_is_not_a_number_stays_visible(rng):
    """A run that blows up says so in its history, and TerminateOnNaN ends it at that batch."""
    x, y = rng.standard_normal((8, 3, 2)), 1e18 * np.ones(8)
    options = {"optimizer": "sgd", "learning_rate": 1e30, "epochs": 3, "verbose": False, "random_state": 0}
    history = fs.fit(network(), x, y, **options)
    assert history.epoch == [0, 1, 2] and np.isnan(history.history["loss"][-1]) and not history.stopped
    history = fs.fit(network(), x, y, callbacks=[fs.training.callbacks.TerminateOnNaN()], **options)
    assert len(history.epoch) < 3 and "the loss of batch 1 is" in history.stopped


def test_classes_that_are_all_ignored_teach_nothing(rng):
    """As in PyTorch: a mean over nothing is NaN, its gradients are zeros."""
    model = network(3)
    before = {name: t.numpy().copy() for name, t in model.state_dict().items()}
    x, y = rng.standard_normal((4, 3, 2)), np.full(4, -100)
    history = fs.fit(model, x, y, loss="cross_entropy", optimizer="sgd", epochs=1, verbose=False)
    assert np.isnan(history.history["loss"][0])
    assert all(np.array_equal(t.numpy(), before[name]) for name, t in model.state_dict().items())
