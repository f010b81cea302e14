"""What a bit must not depend on, gradients included: beyond what test_bits_properties draws at random.

Padding of every kind, memory order, neighbours, splits, threads; and what must spread: NaN.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn

ROOT = Path(__file__).resolve().parents[1]
F32, F64 = np.float32, np.float64
B, T, F, H = 9, 6, 5, 19
LENGTHS = np.array([3, 6, 0, 1, 5, 6, 2, 0, 4])


def layer(dtype=F32, seed: int = 0, scale: float = 0.5, **options) -> nn.LSTM:
    """Two layers in both directions, unless the options say otherwise."""
    lstm = nn.LSTM(F, H, **{"num_layers": 2, "bidirectional": True, **options}, dtype=dtype)
    rng = np.random.default_rng(seed)
    lstm.load_state_dict({n: (scale * rng.standard_normal(p.shape)).astype(dtype) for n, p in lstm.named_parameters()})
    return lstm


def batch(dtype=F32, rows: int = B, steps: int = T) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, h_0 and c_0 of the layer."""
    rng = np.random.default_rng(1)
    shapes = (rows, steps, F), (4, rows, H), (4, rows, H)
    return tuple(rng.standard_normal(s).astype(dtype) for s in shapes)


def run(lstm: nn.LSTM, x, h, c, lengths=None) -> dict[str, np.ndarray]:
    """Outputs and all gradients, under upstream gradients that do not depend on the shape of the batch."""
    lstm.zero_grad()
    leaves = {n: fs.Tensor(v, requires_grad=True) for n, v in zip("xhc", (x, h, c), strict=True)}
    out, (h_n, c_n) = lstm(leaves["x"], (leaves["h"], leaves["c"]), lengths=lengths)
    ((out * out).sum() + (h_n * 3.0).sum() + (c_n * c_n).sum()).backward()
    found = {"out": out.numpy(), "h_n": h_n.numpy(), "c_n": c_n.numpy()}
    found |= {f"d_{n}": leaf.grad.numpy() for n, leaf in leaves.items()}
    return found | {f"d_{n}": p.grad.numpy().copy() for n, p in lstm.named_parameters()}


ROW_AXIS = {"out": 0, "d_x": 0, "h_n": 1, "c_n": 1, "d_h": 1, "d_c": 1}


def rows_of(found: dict[str, np.ndarray], rows) -> dict[str, np.ndarray]:
    """What belongs to some rows: everything but the gradients of the weights."""
    return {n: np.take(found[n], rows, axis) for n, axis in ROW_AXIS.items()}


def assert_same_bits(got: dict[str, np.ndarray], want: dict[str, np.ndarray]) -> None:
    assert got.keys() == want.keys()
    for name in want:
        one, other = np.ascontiguousarray(got[name]), np.ascontiguousarray(want[name])
        assert one.tobytes() == other.tobytes(), name


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf, 1e30, 1e-40, -0.0])
def test_what_stands_in_the_padding(fill, dtype):
    lstm, (x, h, c) = layer(dtype), batch(dtype)
    padding = np.arange(T) >= LENGTHS[:, None]
    x[padding] = 0
    want = run(lstm, x, h, c, LENGTHS)
    x[padding] = fill
    got = run(lstm, x, h, c, LENGTHS)
    assert_same_bits(got, want)
    for name in ("out", "d_x"):
        assert not got[name][padding].any(), name
        assert not np.signbit(got[name][padding]).any(), name


@pytest.mark.parametrize("dtype", [F32, F64])
def test_steps_of_padding_after_the_longest_row(dtype):
    lstm, (x, h, c) = layer(dtype), batch(dtype)
    want = run(lstm, x, h, c, LENGTHS)
    longer = np.concatenate([x, np.full((B, 7, F), np.nan, dtype)], 1)
    got = run(lstm, longer, h, c, LENGTHS)
    for name in ("out", "d_x"):
        assert not got[name][:, T:].any()
        got[name] = got[name][:, :T]
    assert_same_bits(got, want)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_rows_of_no_length_add_nothing_to_any_gradient(dtype):
    lstm, (x, h, c) = layer(dtype), batch(dtype)
    want = run(lstm, x, h, c, LENGTHS)
    some = np.flatnonzero(LENGTHS)
    got = run(lstm, x[some], h[:, some], c[:, some], LENGTHS[some])
    weights = [n for n in want if n not in ROW_AXIS]
    assert_same_bits({n: got[n] for n in weights}, {n: want[n] for n in weights})
    assert_same_bits(rows_of(got, range(len(some))), rows_of(want, some))


@pytest.mark.parametrize("dtype", [F32, F64])
def test_permuted_rows_with_their_gradients(dtype, rng):
    lstm, (x, h, c) = layer(dtype), batch(dtype)
    want = run(lstm, x, h, c, LENGTHS)
    order = rng.permutation(B)
    got = run(lstm, x[order], h[:, order], c[:, order], LENGTHS[order])
    assert_same_bits(rows_of(got, range(B)), rows_of(want, order))
    for name in want.keys() - ROW_AXIS.keys():  # their sums run over the rows in another order
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=3e-5 if dtype == F32 else 1e-13)


def test_equal_lengths_in_another_order_leave_the_weights_gradients_too():
    # rows are summed longest first: permuting rows of different lengths changes no order of summation
    lstm, (x, h, c) = layer(), batch(rows=6)
    lengths = np.array([1, 2, 3, 4, 5, 6])
    want = run(lstm, x, h, c, lengths)
    order = np.array([3, 0, 5, 1, 4, 2])
    got = run(lstm, x[order], h[:, order], c[:, order], lengths[order])
    weights = [n for n in want if n not in ROW_AXIS]
    assert_same_bits({n: got[n] for n in weights}, {n: want[n] for n in weights})


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("size", [1, 2, 4, 7])
def test_a_split_batch_with_its_gradients(size, dtype):
    lstm, (x, h, c) = layer(dtype), batch(dtype)
    want = run(lstm, x, h, c, LENGTHS)
    total: dict[str, np.ndarray] = {}
    for first in range(0, B, size):
        rows = np.arange(first, min(B, first + size))
        part = run(lstm, x[rows], h[:, rows], c[:, rows], LENGTHS[rows])
        assert_same_bits(rows_of(part, range(len(rows))), rows_of(want, rows))
        for name in part.keys() - ROW_AXIS.keys():
            total[name] = total.get(name, 0) + part[name].astype(F64)
    for name, value in total.items():
        np.testing.assert_allclose(value, want[name], rtol=0, atol=5e-5 if dtype == F32 else 1e-13)


@pytest.mark.parametrize("rows", [1, 2, 5, 23, 24, 25, 49])
def test_a_row_among_any_number_of_others(rows):
    lstm, (x, h, c) = layer(bidirectional=False, num_layers=1), batch(rows=49)
    alone = run(lstm, x[:1], h[:1, :1], c[:1, :1])
    together = run(lstm, x[:rows], h[:1, :rows], c[:1, :rows])
    assert_same_bits(rows_of(together, [0]), rows_of(alone, [0]))


@pytest.mark.parametrize("hidden", [128, 150, 200])
def test_a_row_alone_in_a_wide_layer(hidden, rng):
    lstm = nn.LSTM(3, hidden, bidirectional=True)
    x, (h, c) = rng.standard_normal((3, 5, 3)).astype(F32), rng.standard_normal((2, 2, 3, hidden)).astype(F32)
    together = run(lstm, x, h, c, [5, 3, 4])
    for row, n in enumerate([5, 3, 4]):
        alone = run(lstm, x[row : row + 1, :n], h[:, row : row + 1], c[:, row : row + 1])
        cut = {
            name: value[:, :n] if name in ("out", "d_x") else value for name, value in rows_of(together, [row]).items()
        }
        assert_same_bits(rows_of(alone, [0]), cut)


@pytest.mark.parametrize("dtype", [F32, F64])
def test_the_reverse_direction_is_the_forward_one_over_reversed_rows(dtype):
    both, (x, h, c) = layer(dtype, num_layers=1), batch(dtype)
    one = nn.LSTM(F, H, dtype=dtype)
    one.load_state_dict({n: getattr(both, f"{n}_reverse").numpy() for n, _ in one.named_parameters()})
    turned = np.full_like(x, np.nan)
    for row, n in enumerate(LENGTHS):
        turned[row, :n] = x[row, :n][::-1]
    out, (h_n, c_n) = both(x, (h[:2], c[:2]), lengths=LENGTHS)
    out2, (h_n2, c_n2) = one(turned, (h[1:2], c[1:2]), lengths=LENGTHS)
    for row, n in enumerate(LENGTHS):
        assert out.numpy()[row, :n, H:].tobytes() == np.ascontiguousarray(out2.numpy()[row, :n][::-1]).tobytes()
    assert h_n.numpy()[1].tobytes() == h_n2.numpy()[0].tobytes()
    assert c_n.numpy()[1].tobytes() == c_n2.numpy()[0].tobytes()


def at_offset(array: np.ndarray, offset: int) -> np.ndarray:
    """A copy that begins ``offset`` bytes past a multiple of 64."""
    raw = np.zeros(array.nbytes + 128, np.uint8)
    skip = -raw.ctypes.data % 64 + offset
    view = raw[skip : skip + array.nbytes].view(array.dtype).reshape(array.shape)
    view[:] = array
    assert view.ctypes.data % 64 == offset % 64
    return view


def read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


MEMORY = {
    "offset 1": lambda a: at_offset(a, 1),
    "offset 4": lambda a: at_offset(a, 4),
    "offset 20": lambda a: at_offset(a, 20),
    "offset 60": lambda a: at_offset(a, 60),
    "Fortran order": np.asfortranarray,
    "backwards": lambda a: np.ascontiguousarray(a[::-1, ::-1])[::-1, ::-1],
    "every second": lambda a: np.repeat(a, 2, axis=2)[:, :, ::2],
    "time first": lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
    "read-only": read_only,
}


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("memory", MEMORY)
def test_how_arrays_lie_in_memory(memory, dtype):
    lstm, arrays = layer(dtype), batch(dtype)
    want = run(lstm, *arrays, LENGTHS)
    given = [MEMORY[memory](a) for a in arrays]
    with fs.no_grad():
        out, (h_n, c_n) = lstm(given[0], given[1:], lengths=LENGTHS)
    for name, got in {"out": out, "h_n": h_n, "c_n": c_n}.items():
        assert got.numpy().tobytes() == want[name].tobytes()
    assert_same_bits(run(lstm, *given, LENGTHS), want)
    for one, other in zip(given, arrays, strict=True):
        np.testing.assert_array_equal(one, other)  # inputs stay as they are


def test_gradients_may_lie_anywhere():
    lstm, (x, h, c) = layer(), batch()
    found = []
    for askew in (False, True):
        lstm.zero_grad()
        gradient = np.ones((*x.shape[:2], lstm.hidden_size * 2), F32)
        lstm(x, (h, c))[0].backward(at_offset(gradient, 1) if askew else gradient)
        found.append([p.grad.numpy().tobytes() for p in lstm.parameters()])
    assert found[0] == found[1]


def test_swapped_bytes_are_refused():
    lstm, (x, h, c) = layer(), batch()
    with pytest.raises(TypeError, match="x: expected dtype float32 like the weights, got >f4"):
        lstm(x.astype(">f4"))
    with pytest.raises(TypeError, match="h_0: expected dtype float32 like the weights, got >f4"):
        lstm(x, (h.astype(">f4"), c))


def test_rows_that_share_their_memory():
    lstm, (x, h, c) = layer(), batch()
    same = np.broadcast_to(x[:1], x.shape)
    got = run(lstm, same, h, c)
    assert_same_bits(got, run(lstm, same.copy(), h, c))


def test_upstream_gradients_of_any_memory_order(rng):
    lstm, (x, _, _) = layer(), batch()
    gradient = rng.standard_normal((B, T, 2 * H)).astype(F32)
    found = []
    for given in (gradient, np.asfortranarray(gradient), at_offset(gradient, 4), read_only(gradient)):
        leaf = fs.Tensor(x, requires_grad=True)
        lstm(leaf)[0].backward(given)
        found.append(leaf.grad.numpy())
    for other in found[1:]:
        assert other.tobytes() == found[0].tobytes()


@pytest.mark.parametrize("dtype", [F32, F64])
def test_the_same_again_and_again(dtype):
    lstm, arrays = layer(dtype), batch(dtype)
    want = run(lstm, *arrays, LENGTHS)
    other = layer(dtype, seed=3)
    for _ in range(5):  # buffers are used again, with the garbage of other passes in them
        run(other, *(np.nan * a for a in arrays), LENGTHS)
        assert_same_bits(run(lstm, *arrays, LENGTHS), want)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("spoilt", [np.nan, np.inf])
def test_a_row_with_nan_spoils_itself_alone(spoilt, dtype):
    lstm, (x, h, c) = layer(dtype), batch(dtype)
    want = run(lstm, x, h, c, LENGTHS)
    x[4, 2, 1] = spoilt
    got = run(lstm, x, h, c, LENGTHS)
    others = np.delete(np.arange(B), 4)
    assert_same_bits(rows_of(got, others), rows_of(want, others))
    if np.isnan(spoilt):
        assert np.isnan(got["out"][4, :5]).any(axis=1).all(), "both directions together spoil every step"
        assert np.isnan(got["d_weight_ih_l0"]).any()
    else:
        assert np.isfinite(got["out"]).all(), "gates saturate"


@pytest.mark.parametrize("where", ["h", "c"])
def test_nan_in_an_initial_state_spoils_its_row_alone(where):
    lstm, (x, h, c) = layer(), batch()
    want = run(lstm, x, h, c, LENGTHS)
    {"h": h, "c": c}[where][0, 4, 3] = np.nan
    got = run(lstm, x, h, c, LENGTHS)
    others = np.delete(np.arange(B), 4)
    assert_same_bits(rows_of(got, others), rows_of(want, others))
    assert np.isnan(got["out"][4, :5]).any()


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
def test_nan_in_a_weight_is_not_hidden(name):
    lstm, (x, h, c) = layer(num_layers=1, bidirectional=False), batch()
    with fs.no_grad():
        getattr(lstm, name)[0] = np.nan
    out, (h_n, _) = lstm(x, (h[:1], c[:1]), lengths=LENGTHS)
    for row, n in enumerate(LENGTHS):
        assert np.isnan(out.numpy()[row, :n]).any(axis=1).all()
        assert np.isnan(h_n.numpy()[0, row]).any() == (n > 0)


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("size", [1e30, -1e30, 1e20])
def test_saturated_gates_stay_finite(size, dtype):
    lstm, (x, h, c) = layer(dtype), batch(dtype)
    got = run(lstm, dtype(size) * np.sign(x), h, c, LENGTHS)
    for name, value in got.items():
        assert np.isfinite(value).all(), name
    assert (np.abs(got["out"]) <= 1).all()
    # two layers, at most one added to a cell state per step
    assert (np.abs(got["c_n"]) <= np.abs(c) + T + 1e-3).all()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("dtype", [F32, F64])
def test_one_thread_and_all_threads(dtype, rng):
    lstm = nn.LSTM(40, 90, bidirectional=True, dtype=dtype)
    x, lengths = rng.standard_normal((37, 21, 40)).astype(dtype), rng.integers(0, 22, 37)
    h, c = rng.standard_normal((2, 2, 37, 90)).astype(dtype)
    most = fs.get_num_threads()
    fs.set_num_threads(1)
    want = run(lstm, x, h, c, lengths)
    fs.set_num_threads(most)
    for _ in range(3):
        assert_same_bits(run(lstm, x, h, c, lengths), want)


def test_threads_that_share_a_model():
    lstm, arrays = layer(), batch(rows=40)
    lengths = np.tile(LENGTHS, 5)[:40]
    with fs.no_grad():
        want = lstm(arrays[0], arrays[1:], lengths=lengths)[0].numpy()
    problems: list[str] = []

    def work() -> None:
        for _ in range(20):
            with fs.no_grad():
                if lstm(arrays[0], arrays[1:], lengths=lengths)[0].numpy().tobytes() != want.tobytes():
                    problems.append("other bits")

    workers = [threading.Thread(target=work) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not problems


def in_another_process(code: str, **environment: str) -> str:
    """Run code in a fresh interpreter and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, **environment},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def digest(arrays) -> str:
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def shared_digests(counts: list[int]) -> list[str]:
    """For each thread count, a digest of a pass that is large enough to share."""
    rng = np.random.default_rng(0)
    x, lengths = rng.standard_normal((37, 21, 40), dtype=F32), rng.integers(0, 22, 37)
    h, c = rng.standard_normal((2, 2, 37, 90), dtype=F32)
    fs.manual_seed(0)
    lstm = nn.LSTM(40, 90, bidirectional=True)
    found = []
    for count in counts:
        fs.set_num_threads(count)
        found.append(digest(run(lstm, x, h, c, lengths).values()))
    return found


@pytest.mark.usefixtures("threads")
def test_three_threads():
    code = "from tests.test_bits import shared_digests; print(*shared_digests([1, 2, 3, 2, 3]))"
    found = in_another_process(code, NUMBA_NUM_THREADS="3").split()
    assert found == shared_digests([1]) * 5
