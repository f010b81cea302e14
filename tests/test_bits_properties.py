"""Properties of a row's bits over drawn shapes and batches; `test_bits` has chosen cases, `test_processors` CPUs."""

from __future__ import annotations

from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastseq as fs
from fastseq import nn
from tests import naive
from tests.strategies import KINDS, LayerShape, RaggedBatch, layer_shapes, ragged_batches

dtypes = st.sampled_from([np.float32, np.float64])


STEPS = {
    "LSTM": naive.lstm_step,
    "GRU": naive.gru_step,
    "GRU before": naive.gru_reset_before_step,
    "RNN": naive.rnn_step,
}


def build(shape: LayerShape, features: int, dtype: type) -> nn.Module:
    """The layer with weights drawn from the shape's seed, biases and forget gates included."""
    name, options = KINDS[shape.kind]
    lstm = getattr(nn, name)(
        features, shape.hidden_size, shape.num_layers, bias=shape.bias, bidirectional=shape.bidirectional, dtype=dtype,
        **options,
    )  # fmt: skip
    rng = np.random.default_rng(shape.seed)
    lstm.load_state_dict(
        {name: (0.5 * rng.standard_normal(p.shape)).astype(dtype) for name, p in lstm.named_parameters()}
    )
    return lstm


def states(shape: LayerShape, batch: int, dtype: type) -> tuple[np.ndarray, ...]:
    """Non-zero initial states, as many as the layer has."""
    rng = np.random.default_rng(shape.seed + 1)
    size = (shape.num_layers * shape.directions, batch, shape.hidden_size)
    return tuple(rng.standard_normal(size).astype(dtype) for _ in range(2 if shape.kind == "LSTM" else 1))


def called(layer: nn.Module, x, hx, lengths) -> list[fs.Tensor]:
    """Output and final states."""
    out, last = layer(x, hx if len(hx) > 1 else hx[0], lengths=lengths)
    return [out, *(last if isinstance(last, tuple) else [last])]


def run(layer: nn.Module, x: np.ndarray, hx, lengths) -> list[np.ndarray]:
    """Output and final states without a tape."""
    with fs.no_grad():
        return [value.numpy() for value in called(layer, x, hx, lengths)]


def run_with_gradients(lstm: nn.Module, x: np.ndarray, hx, lengths) -> dict[str, np.ndarray]:
    """Outputs, states and every gradient, under upstream gradients that depend on row and step only."""
    lstm.zero_grad()
    names = "xhc"[: 1 + len(hx)]
    inputs = {name: fs.Tensor(value.copy(), requires_grad=True) for name, value in zip(names, (x, *hx), strict=True)}
    out, h_n, *c_n = called(lstm, inputs["x"], [inputs[name] for name in names[1:]], lengths)
    ((out * out).sum() + (h_n * 2.0).sum() + sum((c * c).sum() for c in c_n)).backward()
    result = {"out": out.numpy(), "h_n": h_n.numpy()} | ({"c_n": c_n[0].numpy()} if c_n else {})
    result |= {f"d_{name}": tensor.grad.numpy() for name, tensor in inputs.items()}
    return result | {f"d_{name}": parameter.grad.numpy().copy() for name, parameter in lstm.named_parameters()}


def assert_same_bits(got, want) -> None:
    """Equal as bytes, so that -0.0 is not 0.0 and NaN is NaN."""
    pairs = (
        [(name, got[name], want[name]) for name in want]
        if isinstance(want, dict)
        else list(zip("ohc", got, want, strict=False))
    )
    for name, one, other in pairs:
        np.testing.assert_array_equal(one, other, err_msg=name)
        assert np.ascontiguousarray(one).tobytes() == np.ascontiguousarray(other).tobytes(), name


@given(ragged_batches(max_batch=4, max_steps=5, dtype=np.float64), layer_shapes(max_hidden=5, max_layers=2))
def test_the_oracle_agrees(batch: RaggedBatch, shape: LayerShape):
    lstm = build(shape, batch.x.shape[2], np.float64)
    hx = states(shape, len(batch.x), np.float64)
    weights = {name: parameter.numpy() for name, parameter in lstm.named_parameters()}
    want = naive.layers(
        STEPS[shape.kind],
        batch.zero_padded,
        weights,
        hidden_size=shape.hidden_size,
        num_layers=shape.num_layers,
        bidirectional=shape.bidirectional,
        lengths=batch.lengths,
        states=hx,
    )
    for got, right in zip(run(lstm, batch.x, hx, batch.lengths), want, strict=True):
        np.testing.assert_allclose(got, right, rtol=0, atol=1e-12)


@given(ragged_batches(), layer_shapes(), dtypes)
def test_padding_is_never_read(batch: RaggedBatch, shape: LayerShape, dtype: type):
    lstm, hx = build(shape, batch.x.shape[2], dtype), states(shape, len(batch.x), dtype)
    filled = run_with_gradients(lstm, batch.x.astype(dtype), hx, batch.lengths)
    zeros = run_with_gradients(lstm, batch.zero_padded.astype(dtype), hx, batch.lengths)
    assert_same_bits(filled, zeros)
    assert not filled["out"][~batch.valid].any() and not filled["d_x"][~batch.valid].any()


@given(ragged_batches(), layer_shapes(), dtypes)
def test_the_tape_changes_no_bit(batch: RaggedBatch, shape: LayerShape, dtype: type):
    lstm, hx, x = build(shape, batch.x.shape[2], dtype), states(shape, len(batch.x), dtype), batch.x.astype(dtype)
    taped = run_with_gradients(lstm, x, hx, batch.lengths)
    assert_same_bits([taped[name] for name in ("out", "h_n", "c_n") if name in taped], run(lstm, x, hx, batch.lengths))


@given(ragged_batches(max_batch=9), layer_shapes(), dtypes, st.randoms(use_true_random=False))
def test_permuting_rows_permutes_results(batch: RaggedBatch, shape: LayerShape, dtype: type, random):
    lstm, hx, x = build(shape, batch.x.shape[2], dtype), states(shape, len(batch.x), dtype), batch.x.astype(dtype)
    order = list(range(len(x)))
    random.shuffle(order)
    out, *last = run(lstm, x, hx, batch.lengths)
    moved = run(lstm, x[order], [s[:, order] for s in hx], batch.lengths[order])
    assert_same_bits(moved, [out[order], *(s[:, order] for s in last)])


@given(ragged_batches(max_batch=9), layer_shapes(), dtypes)
def test_each_row_alone_gives_its_row(batch: RaggedBatch, shape: LayerShape, dtype: type):
    lstm, hx, x = build(shape, batch.x.shape[2], dtype), states(shape, len(batch.x), dtype), batch.x.astype(dtype)
    out, *last = run(lstm, x, hx, batch.lengths)
    for row, n in enumerate(batch.lengths):
        if n:
            alone = run(lstm, x[row : row + 1, :n], [s[:, row : row + 1] for s in hx], None)
            assert_same_bits(alone, [out[row : row + 1, :n], *(s[:, row : row + 1] for s in last)])
        else:
            assert_same_bits([s[:, row] for s in last], [s[:, row] for s in hx])


@given(ragged_batches(max_steps=12), layer_shapes(), dtypes, st.integers(0, 12))
def test_carrying_the_state_over_a_cut_equals_one_run(batch: RaggedBatch, shape: LayerShape, dtype: type, cut: int):
    if shape.bidirectional:
        shape = replace(shape, bidirectional=False)
    lstm, hx, x = build(shape, batch.x.shape[2], dtype), states(shape, len(batch.x), dtype), batch.x.astype(dtype)
    cut = min(cut, x.shape[1])
    whole = run(lstm, x, hx, batch.lengths)
    head, *carried = run(lstm, x[:, :cut], hx, np.minimum(batch.lengths, cut))
    tail, *last = run(lstm, x[:, cut:], tuple(carried), np.maximum(batch.lengths - cut, 0))
    assert_same_bits([np.concatenate([head, tail], axis=1), *last], whole)


@given(ragged_batches(max_batch=6), layer_shapes(), dtypes, st.integers(0, 5))
def test_a_nan_stays_in_its_row(batch: RaggedBatch, shape: LayerShape, dtype: type, row: int):
    lstm, hx, x = build(shape, batch.x.shape[2], dtype), states(shape, len(batch.x), dtype), batch.x.astype(dtype)
    row %= len(x)
    clean = run(lstm, x, hx, batch.lengths)
    if not batch.lengths[row]:
        return
    x[row, 0, 0] = np.nan
    out, *last = run(lstm, x, hx, batch.lengths)
    others = np.arange(len(x)) != row
    assert_same_bits(
        [out[others], *(s[:, others] for s in last)], [clean[0][others], *(s[:, others] for s in clean[1:])]
    )
    assert np.isnan(out[row, : batch.lengths[row]]).any(axis=1).all() and np.isnan(last[0][:, row]).all(axis=1).all()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_thread_count_changes_no_bit(dtype, kind, rng):
    # large enough that the work is shared between threads
    shape = LayerShape(hidden_size=70, num_layers=2, bidirectional=True, bias=True, seed=3, kind=kind)
    lstm, hx = build(shape, 20, dtype), states(shape, 61, dtype)
    x, lengths = rng.standard_normal((61, 33, 20)).astype(dtype), rng.integers(0, 34, 61)
    fs.set_num_threads(1)
    one = run_with_gradients(lstm, x, hx, lengths)
    for count in range(1, min(numba.config.NUMBA_NUM_THREADS, 8) + 1):
        fs.set_num_threads(count)
        assert_same_bits(run_with_gradients(lstm, x, hx, lengths), one)


@given(ragged_batches(min_length=1), layer_shapes(), dtypes)
def test_streaming_gives_the_bits_of_the_batch(batch: RaggedBatch, shape: LayerShape, dtype: type):
    rng = np.random.default_rng(shape.seed)
    features = batch.x.shape[2]
    lstm = build(replace(shape, bidirectional=False), features, dtype)
    net = nn.Sequential(lstm, nn.Linear(shape.hidden_size, 3, dtype=dtype)).eval()
    net.load_state_dict({name: rng.standard_normal(p.shape).astype(dtype) for name, p in net.named_parameters()})
    stream = fs.Stream(net)
    for sequence in batch.sequences:
        stream.reset()
        one_by_one = np.stack([stream.step(value).copy() for value in sequence.astype(dtype)])
        with fs.no_grad():
            assert_same_bits([one_by_one], [net(sequence[None].astype(dtype)).numpy()[0]])
