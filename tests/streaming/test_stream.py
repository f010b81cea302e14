"""Stream: the bits of the whole sequence, states in and out, clear errors, no allocation."""

from __future__ import annotations

import gc
import tracemalloc

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn

F32, F64 = np.float32, np.float64

NETS = {
    "lstm": (lambda: nn.LSTM(5, 64), 5, F32),
    "head": (lambda: nn.Sequential(nn.LSTM(1, 32), nn.Linear(32, 1)), 1, F32),
    "odd": (lambda: nn.Sequential(nn.LSTM(3, 17, bias=False), nn.Linear(17, 70, bias=False)), 3, F32),
    "stack": (
        lambda: nn.Sequential(
            nn.LSTM(3, 50, num_layers=2, dropout=0.3), nn.Dropout(0.5), nn.Linear(50, 70), nn.Tanh(),
            nn.Linear(70, 5), nn.ReLU(),
        ), 3, F32,
    ),
    "every": (
        lambda: nn.Sequential(
            nn.Standardize(np.arange(3.0), np.arange(3) + 1.0), nn.Linear(3, 20), nn.SiLU(), nn.Identity(),
            nn.Sequential(nn.LSTM(20, 17), nn.LeakyReLU(0.1)), nn.LSTM(17, 9), nn.LastStep(), nn.Linear(9, 3),
            nn.Rescale(2.0, 3.0), nn.Sigmoid(),
        ), 3, F32,
    ),
    "rest": (lambda: nn.Sequential(nn.LSTM(3, 9), nn.Linear(9, 4), nn.GELU(), nn.Linear(4, 3), nn.Softmax(-1)), 3, F32),
    "double": (lambda: nn.Sequential(nn.LSTM(3, 33, dtype=F64), nn.Linear(33, 4, dtype=F64), nn.Tanh()), 3, F64),
    "gru": (lambda: nn.Sequential(nn.GRU(3, 50, num_layers=2), nn.Linear(50, 2)), 3, F32),
    "gru before": (lambda: nn.Sequential(nn.GRU(3, 50, 2, reset_after=False), nn.Linear(50, 2)), 3, F32),
    "rnn": (lambda: nn.Sequential(nn.RNN(3, 150, num_layers=2, bias=False), nn.Linear(150, 2)), 3, F32),
    "minimal": (lambda: nn.MinGRU(3, 50, num_layers=2), 3, F32),
    "projected": (lambda: nn.Sequential(nn.LSTM(3, 50, 2, proj_size=20), nn.Linear(20, 2)), 3, F32),
    "layer norm": (lambda: nn.LayerNormLSTM(3, 20, num_layers=2), 3, F32),
    "rectified": (lambda: nn.LSTM(3, 20, num_layers=2, activation="relu"), 3, F32),
    "peephole": (lambda: nn.PeepholeLSTM(3, 20, num_layers=2), 3, F32),
    "tagger": (lambda: nn.Tagger(nn.Sequential(nn.GRU(3, 9), nn.ReLU()), 9, 4, dropout=0.5), 3, F32),
    "dense": (lambda: nn.Sequential(nn.Linear(6, 130), nn.Sigmoid(), nn.Linear(130, 2)), 6, F32),
}  # fmt: skip


def batched(net: nn.Module, x: np.ndarray) -> np.ndarray:
    """The outputs of the whole sequences; a LastStep in the net is left out, since a stream has one at each step."""
    with fs.no_grad():
        value = x
        for layer in layers_of(net):
            value = layer(value)
            value = value[0] if isinstance(value, tuple) else value
    return value.numpy()


def layers_of(net: nn.Module) -> list[nn.Module]:
    if isinstance(net, nn.Sequential):
        return [inner for layer in net.children() for inner in layers_of(layer)]
    return [] if isinstance(net, nn.LastStep) else [net]


def build(name: str) -> tuple[nn.Module, int, type]:
    make, features, dtype = NETS[name]
    fs.manual_seed(0)
    return make().eval(), features, dtype


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n == "rectified")) for n in NETS])
def test_a_stream_gives_the_bits_of_the_batch(name, rng):
    net, features, dtype = build(name)
    x = rng.standard_normal((3, 20, features)).astype(dtype)
    want = batched(net, x)
    stream = fs.Stream(net)
    for row in range(3):
        stream.reset()
        got = np.stack([stream.step(v).copy() for v in x[row]])
        assert got.tobytes() == want[row].tobytes()
        assert got.dtype == dtype


def test_a_stream_does_not_depend_on_training_mode(rng):
    net, features, dtype = build("stack")
    x = rng.standard_normal((10, features)).astype(dtype)
    want = batched(net, x[None])[0]
    stream = fs.Stream(net.train())
    assert np.stack([stream.step(v).copy() for v in x]).tobytes() == want.tobytes()


@pytest.mark.parametrize("name", ["head", "stack", "double", "rest"])
def test_the_state_goes_out_and_in(name, rng):
    net, features, dtype = build(name)
    x = rng.standard_normal((12, features)).astype(dtype)
    stream, other = fs.Stream(net), fs.Stream(net)
    for v in x[:7]:
        stream.step(v)
    state = stream.state
    for layer in state:
        for array in layer:
            assert array.dtype == dtype and array.any()
    first = [stream.step(v).copy() for v in x[7:]]
    other.state = state
    second = [other.step(v).copy() for v in x[7:]]
    stream.state = [list(layer) for layer in state]  # lists do, and going back is possible
    third = [stream.step(v).copy() for v in x[7:]]
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, third)


def test_the_state_is_that_of_the_layer(rng):
    lstm = nn.LSTM(3, 17, num_layers=2)
    x = rng.standard_normal((1, 6, 3)).astype(F32)
    h0, c0 = rng.standard_normal((2, 2, 1, 17)).astype(F32)
    with fs.no_grad():
        out, (h_n, c_n) = lstm(x, (h0, c0))
    stream = fs.Stream(lstm)
    stream.state = [(h0[k, 0], c0[k, 0]) for k in range(2)]
    got = np.stack([stream.step(v).copy() for v in x[0]])
    assert got.tobytes() == out.numpy()[0].tobytes()
    for k, (h, c) in enumerate(stream.state):
        assert h.tobytes() == h_n.numpy()[k, 0].tobytes()
        assert c.tobytes() == c_n.numpy()[k, 0].tobytes()


def test_the_state_is_a_copy(rng):
    stream = fs.Stream(nn.LSTM(2, 3))
    stream.step(np.ones(2, F32))
    kept = stream.state
    before = [a.copy() for layer in kept for a in layer]
    stream.step(np.ones(2, F32))
    for array, former in zip((a for layer in kept for a in layer), before, strict=True):
        np.testing.assert_array_equal(array, former)
        array[:] = 99
    assert all((a != 99).all() for layer in stream.state for a in layer)


def test_reset_starts_over(rng):
    net, features, dtype = build("stack")
    x = rng.standard_normal((5, features)).astype(dtype)
    stream = fs.Stream(net)
    first = [stream.step(v).copy() for v in x]
    stream.reset()
    assert not any(a.any() for layer in stream.state for a in layer)
    np.testing.assert_array_equal([stream.step(v).copy() for v in x], first)


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (None, r"state: expected 2 layers' states, got None"),
        ([], "state: expected 2 layers' states, got list"),
        ([(np.zeros(3, F32), np.zeros(3, F32))], "expected 2 layers' states"),
        ([(np.zeros(3, F32),)] * 2, r"state\[0\]: expected 2 arrays"),
        ([(np.zeros(3, F32), np.zeros(3, F32)), (np.zeros(3, F32), np.zeros(4, F32))], r"state\[1\]\[1\]: .*\(3,\)"),
        ([(np.zeros((1, 3), F32), np.zeros(3, F32))] * 2, r"state\[0\]\[0\]: expected shape \(3,\)"),
    ],
)
def test_a_state_of_another_form_is_refused_and_changes_nothing(state, words):
    stream = fs.Stream(nn.LSTM(2, 3, num_layers=2))
    stream.step(np.ones(2, F32))
    before = stream.state
    with pytest.raises((TypeError, ValueError), match=words):
        stream.state = state
    np.testing.assert_array_equal(np.array(stream.state), np.array(before))


@pytest.mark.parametrize(
    "x",
    [
        np.zeros(2, F32),
        np.zeros(4, F32),
        np.zeros(0, F32),
        np.zeros((1, 3), F32),
        np.zeros((3, 1), F32),
        F32(1),
        [1, 2],
    ],
    ids=lambda x: str(np.shape(x)),
)
def test_an_observation_of_the_wrong_size_leaves_the_state(x):
    stream = fs.Stream(nn.Sequential(nn.LSTM(3, 5), nn.Linear(5, 2)))
    stream.step(np.ones(3, F32))
    before = np.array(stream.state)
    with pytest.raises(ValueError, match=r"x: expected shape \(3,\), got"):
        stream.step(x)
    np.testing.assert_array_equal(np.array(stream.state), before)


@pytest.mark.parametrize(
    "x",
    [
        None, "abc", ["a", "b", "c"], np.zeros(3, complex), [True, False, True], {}, object(),
        np.ma.array(np.zeros(3), mask=[0, 1, 0]), np.zeros(3, [("a", "f4")]),
    ],
)  # fmt: skip
def test_an_observation_that_is_no_numbers_leaves_the_state(x):
    stream = fs.Stream(nn.LSTM(3, 5))
    stream.step(np.ones(3, F32))
    before = np.array(stream.state)
    with pytest.raises(TypeError, match="x: expected (numbers|an array without a mask)"):
        stream.step(x)
    np.testing.assert_array_equal(np.array(stream.state), before)


def test_other_forms_of_the_same_numbers_give_the_same_bits(rng):
    net, _, _ = build("stack")
    x = rng.integers(-3, 4, 3).astype(F32)
    want = fs.Stream(net).step(x).copy()
    wide, reading = np.repeat(x, 2), x.copy()
    reading.flags.writeable = False
    raw = np.zeros(13, np.uint8)
    raw[1:] = x.view(np.uint8)
    forms = {
        "list": x.tolist(),
        "tuple": tuple(x.tolist()),
        "double": x.astype(F64),
        "integers": x.astype(np.int64),
        "half": x.astype(np.float16),
        "every second": wide[::2],
        "backwards": x[::-1].copy()[::-1],
        "read-only": reading,
        "swapped bytes": x.astype(">f4"),
        "off alignment": raw[1:].view(F32),
        "Tensor": fs.Tensor(x),
        "matrix row": np.stack([x, x])[1],
        "spelt dtype": x.astype(np.dtype("f4")),
    }
    for name, form in forms.items():
        assert fs.Stream(net).step(form).tobytes() == want.tobytes(), name


def test_nan_passes_and_a_reset_clears_it(rng):
    net, features, dtype = build("head")
    stream = fs.Stream(net)
    want = stream.step(np.ones(features, dtype)).copy()
    stream.step(np.full(features, np.nan, dtype))
    assert np.isnan(stream.step(np.ones(features, dtype))).all()
    stream.reset()
    assert stream.step(np.ones(features, dtype)).tobytes() == want.tobytes()


def test_streams_are_independent(rng):
    net, features, dtype = build("stack")
    x = rng.standard_normal((6, features)).astype(dtype)
    alone = fs.Stream(net)
    want = [alone.step(v).copy() for v in x]
    one, other = fs.Stream(net), fs.Stream(net)
    got = []
    for v in x:
        got.append(one.step(v).copy())
        other.step(-v)
    np.testing.assert_array_equal(got, want)


def test_a_stream_keeps_the_weights_it_was_made_with(rng):
    net, features, dtype = build("head")
    x = rng.standard_normal(features).astype(dtype)
    stream = fs.Stream(net)
    want = stream.step(x).copy()
    for p in net.parameters():
        p.data = np.zeros(p.shape, dtype)
    stream.reset()
    assert stream.step(x).tobytes() == want.tobytes()
    assert not fs.Stream(net).step(x).any()


def test_the_output_is_overwritten_by_the_next_step():
    stream = fs.Stream(build("head")[0])
    first = stream.step(np.ones(1, F32))
    assert stream.step(np.zeros(1, F32)) is first


class Ahead(nn.Module):
    """A layer of a user's that needs whole rows."""

    uses_lengths = True

    def forward(self, x, lengths=None):
        return x


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (lambda: nn.LSTM(2, 3, bidirectional=True), "looks back only, got a bidirectional"),
        (
            lambda: nn.Sequential(nn.LSTM(2, 3), nn.MeanPool(), nn.Linear(3, 1)),
            "layer '1'.*looks back only, got MeanPool",
        ),
        (lambda: nn.Sequential(nn.LSTM(2, 3), nn.MaxPool()), "looks back only, got MaxPool"),
        (
            lambda: nn.Bidirectional(nn.LSTM(2, 3)),
            "layer 'Bidirectional': .*got Bidirectional, which reads rows from both",
        ),
        (lambda: nn.AttentionPool(2), "looks back only, got AttentionPool, which waits for the last step"),
        (lambda: nn.Sequential(nn.Linear(2, 2), nn.CRF(2)), "layer '1': .*got CRF, which weighs the tags"),
        (lambda: nn.Tagger(nn.LSTM(2, 3, bidirectional=True), 6, 2), "layer .encoder.: .*got a bidirectional"),
        (
            lambda: nn.Sequential(nn.Linear(2, 2), Ahead()),
            "looks back only, got Ahead, whose layers a stream cannot see",
        ),
        (
            lambda: nn.Sequential(nn.LSTM(2, 3), nn.Linear(3, 1).double()),
            "layer '1': expected numbers of float32 like the layers before it, got float64",
        ),
        (
            lambda: nn.Sequential(nn.LSTM(2, 4, dtype=np.float64), nn.SinusoidalPositions(4)),
            "layer '1': expected numbers of float64 like the layers before it, got float32",
        ),
        (
            lambda: fs.models.Sequential([fs.layers.Input((None, 2)), fs.layers.LSTM(3)]),
            "got Sequential, whose layers a stream cannot see: put layers of fastseq.nn in a Sequential",
        ),
        (lambda: nn.Sequential(nn.ReLU()), "model: expected a layer with a fixed number of inputs"),
        (lambda: np.zeros(3), "model: expected a fastseq.nn module"),
    ],
)
def test_models_that_cannot_be_streamed(net, words):
    with pytest.raises(TypeError, match=words):
        fs.Stream(net())


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (lambda: nn.Sequential(), "model: expected at least one layer"),
        (lambda: nn.Sequential(nn.LSTM(2, 3), nn.Linear(4, 1)), "layer '1'.*expected 3 inputs.*got 4"),
        (lambda: nn.Sequential(nn.Linear(4, 1), nn.LSTM(2, 3)), "layer '1'.*expected 1 inputs.*got 2"),
    ],
)
def test_models_that_do_not_fit_together(net, words):
    with pytest.raises(ValueError, match=words):
        fs.Stream(net())


@pytest.mark.parametrize("name", ["lstm", "head", "stack", "every", "double"])
def test_a_step_allocates_nothing(name, rng):
    net, features, dtype = build(name)
    stream = fs.Stream(net)
    x = rng.standard_normal(features).astype(dtype)
    step = stream.step
    for _ in range(10):
        step(x)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        for _ in range(100):
            step(x)
        tracemalloc.reset_peak()
        low = tracemalloc.get_traced_memory()[0]
        for _ in range(1000):
            step(x)
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert now - low < 1000, "not a byte per step stays"
    # During a call the interpreter has 192 bytes of its own (x.flags, boxed numbers); an array would add 112 and data.
    assert peak - max(now, low) < 280
