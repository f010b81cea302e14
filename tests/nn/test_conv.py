"""Conv1d: scalar loops, finite differences, lengths, causality, and torch."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.autograd import Tensor
from tests.gradcheck import gradcheck

LENGTHS = np.array([7, 3, 0, 1])


def place_of(mode: str):
    """Which step of a row of n stands at a place outside it; none of zeros."""
    return {
        "zeros": lambda place, n: place,
        "reflect": lambda place, n: -place if place < 0 else 2 * (n - 1) - place if place >= n else place,
        "replicate": lambda place, n: min(max(place, 0), n - 1),
        "circular": lambda place, n: place % n,
    }[mode]


def by_hand(layer: nn.Conv1d, row: np.ndarray) -> np.ndarray:
    """One row (T, F) without padding, tap by tap."""
    weight = layer.weight.numpy()
    before, behind = layer._ends()
    places = place_of(layer.padding_mode)
    count = (len(row) + before + behind - layer.reach - 1) // layer.stride + 1 if len(row) else 0
    out = np.zeros((max(0, count), layer.out_channels))
    per_in, per_out = layer.in_channels // layer.groups, layer.out_channels // layer.groups
    for t in range(len(out)):
        for o in range(layer.out_channels):
            total = 0.0 if layer.bias is None else float(layer.bias.numpy()[o])
            for tap in range(layer.kernel_size):
                source = places(t * layer.stride + tap * layer.dilation - before, len(row))
                if 0 <= source < len(row):
                    group = o // per_out
                    for f in range(per_in):
                        total += float(weight[o, f, tap]) * float(row[source, group * per_in + f])
            out[t, o] = total
    return out


KINDS = [
    {},
    {"padding": 1},
    {"padding": "same"},
    {"causal": True},
    {"causal": True, "dilation": 2},
    {"stride": 2, "padding": 2},
    {"groups": 2, "bias": False},
    {"causal": True, "stride": 3, "groups": 2},
    {"dilation": 2, "padding": "same", "groups": 4},
    {"padding": 5, "padding_mode": "replicate", "stride": 2},
    {"padding": 1, "padding_mode": "circular", "groups": 2},
    {"padding": "same", "padding_mode": "replicate", "dilation": 3},
]
each_kind = pytest.mark.parametrize("options", KINDS, ids=str)


def layer(options, dtype=np.float64, taps: int = 3) -> nn.Conv1d:
    fs.manual_seed(1)
    return nn.Conv1d(4, 8, taps, **options, dtype=dtype)


@each_kind
@pytest.mark.parametrize("taps", [1, 2, 3])
@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 1e-6), (np.float64, 1e-13)])
def test_the_equation_row_by_row(options, taps, dtype, tolerance, rng):
    conv, x = layer(options, dtype, taps), rng.standard_normal((4, 7, 4)).astype(dtype)
    out = conv(x, lengths=LENGTHS).numpy()
    counts = conv.output_lengths(LENGTHS)
    for row, (n, count) in enumerate(zip(LENGTHS, counts, strict=True)):
        want = by_hand(conv, x[row, :n].astype(np.float64))
        assert count == len(want)
        np.testing.assert_allclose(out[row, :count], want, rtol=0, atol=tolerance)
        assert not out[row, count:].any()


@each_kind
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradients(options, lengths, rng):
    gradcheck(layer(options), rng.standard_normal((4, 7, 4)), lengths)


@each_kind
def test_padding_is_not_read_and_gets_no_gradient(options, rng):
    conv, x = layer(options), rng.standard_normal((4, 7, 4))
    found = []
    for fill in (np.nan, 5.0):
        x[np.arange(7) >= LENGTHS[:, None]] = fill
        leaf = Tensor(x, requires_grad=True)
        conv.zero_grad()
        out = conv(leaf, lengths=LENGTHS)
        (out * out).sum().backward()
        found.append([out.numpy(), leaf.grad.numpy(), *(p.grad.numpy().copy() for p in conv.parameters())])
    for one, other in zip(*found, strict=True):
        assert np.isfinite(one).all() and one.tobytes() == other.tobytes()


@each_kind
def test_a_row_alone_has_the_bits_it_has_among_others(options, rng):
    conv, x = layer(options, np.float32), rng.standard_normal((30, 7, 4)).astype(np.float32)
    lengths = rng.integers(5, 8, 30)
    out = conv(x, lengths=lengths).numpy()
    for row in (0, 7, 29):
        alone = conv(x[row : row + 1, : lengths[row]]).numpy()[0]
        assert out[row, : len(alone)].tobytes() == alone.tobytes()


def test_a_causal_layer_does_not_look_ahead(rng):
    for stride in (1, 2):
        conv, x = layer({"causal": True, "dilation": 2, "stride": stride}), rng.standard_normal((1, 9, 4))
        whole = conv(x).numpy()
        for n in range(1, 9):
            part = conv(x[:, :n]).numpy()
            assert part.tobytes() == np.ascontiguousarray(whole[:, : part.shape[1]]).tobytes()


def test_a_mirrored_row(rng):
    conv, x = layer({"padding": 2, "padding_mode": "reflect"}), rng.standard_normal((2, 7, 4))
    x[1, 3:] = np.nan
    out = conv(x, lengths=[7, 3]).numpy()
    for row, n in enumerate((7, 3)):
        np.testing.assert_allclose(out[row, : n + 2], by_hand(conv, x[row, :n]), rtol=0, atol=1e-13)
        assert out[row, : n + 2].tobytes() == conv(x[row, :n]).numpy().tobytes() and not out[row, n + 2 :].any()
        by_numpy = np.pad(x[row, :n], ((2, 2), (0, 0)), "reflect")
        assert layer({})(by_numpy).numpy().tobytes() == out[row, : n + 2].tobytes()
    gradcheck(lambda v: conv(v, lengths=[7, 3]), np.nan_to_num(x), parameters=conv.parameters())
    twin = nn.Conv1d.from_config(conv.config())
    assert twin.padding_mode == "reflect"


def test_rows_too_short_to_be_padded_with_themselves():
    for mode, least in (("reflect", 4), ("circular", 3)):
        conv = layer({"padding": 3, "padding_mode": mode})
        assert conv(np.ones((2, least, 4)), lengths=[least, 0]).numpy()[0].all()
        words = f"expected at least {least} steps to pad with '{mode}', got"
        with pytest.raises(ValueError, match=f"x: {words} {least - 1}"):
            conv(np.ones((2, least - 1, 4)))
        with pytest.raises(ValueError, match=f"lengths: {words} 1"):
            conv(np.ones((2, 7, 4)), lengths=[7, 1])
        assert conv(np.ones((2, 0, 4))).shape == (2, 0, 8) and conv(np.ones((0, 7, 4))).shape == (0, 11, 8)


def test_lengths_behind_it_are_those_of_its_outputs(rng):
    model = nn.Sequential(nn.Sequential(nn.Conv1d(4, 3, 2, stride=2)), nn.MeanPool())
    x = rng.standard_normal((4, 7, 4)).astype(np.float32)
    out = model(x, lengths=LENGTHS).numpy()
    assert model.output_lengths(LENGTHS).tolist() == [3, 1, 0, 0]
    for row, n in enumerate([7, 3]):
        assert out[row].tobytes() == model(x[row : row + 1, :n]).numpy()[0].tobytes()
    assert not out[2:].any()


def test_empty_input():
    for shape, want in (((0, 7, 4), (0, 5, 8)), ((2, 0, 4), (2, 0, 8))):
        conv, x = layer({}), Tensor(np.ones(shape), requires_grad=True)
        out = conv(x)
        out.sum().backward()
        assert out.shape == want and x.grad.shape == shape and not conv.weight.grad.numpy().any()


def test_bad_input_is_named():
    for bad in (np.ones((2, 4, 7)), np.ones((4, 7)), np.ones(4)):
        with pytest.raises(ValueError, match=r"x: expected shape \(B, T, 4\) or \(T, 4\)"):
            layer({})(bad)
    with pytest.raises(ValueError, match="x: expected at least 3 steps, got 2"):
        layer({})(np.ones((2, 2, 4)))
    with pytest.raises(ValueError, match="lengths: expected 0 <= length <= 7"):
        layer({})(np.ones((2, 7, 4)), [8, 1])
    for options, name in (
        ({"groups": 3}, "in_channels"),
        ({"padding": "full"}, "padding"),
        ({"padding": "same", "stride": 2}, "padding"),
        ({"padding": 1, "causal": True}, "padding"),
        ({"padding": -1}, "padding"),
        ({"dilation": 0}, "dilation"),
        ({"padding_mode": "constant"}, "padding_mode"),
        ({"padding_mode": "reflect", "causal": True}, "padding_mode"),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected"):
            nn.Conv1d(4, 8, 3, **options)
    assert nn.Conv1d(2, 2, (3,), (1,), (1,)).config()["kernel_size"] == 3


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")  # of torch, about a copy that it makes
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float64", 1e-10)])
def test_against_torch(dtype, tolerance, rng):
    torch = pytest.importorskip("torch")
    for _ in range(100):
        groups = int(rng.choice([1, 1, 2, 3]))
        inputs, outputs = (groups * int(rng.integers(1, 12)) for _ in range(2))
        options = {
            "kernel_size": int(rng.integers(1, 6)), "stride": int(rng.integers(1, 4)),
            "dilation": int(rng.integers(1, 4)), "groups": groups, "bias": bool(rng.integers(2)),
        }  # fmt: skip
        options["padding_mode"] = str(rng.choice(["zeros", "zeros", "reflect", "replicate", "circular"]))
        padding = int(rng.integers(0, 5)) if options["stride"] > 1 else rng.choice(["same", "valid", 2])
        options["padding"] = padding if isinstance(padding, int) or not str(padding).isdigit() else int(padding)
        if isinstance(options["padding"], np.str_):
            options["padding"] = str(options["padding"])
        theirs = torch.nn.Conv1d(inputs, outputs, **options, dtype=getattr(torch, dtype))
        ours = nn.Conv1d(inputs, outputs, **options, dtype=dtype)
        ours.load_state_dict(theirs.state_dict())
        x = rng.standard_normal((rng.integers(1, 5), rng.integers(14, 30), inputs)).astype(dtype)
        a, b = Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        out, want = ours(a), theirs(b.transpose(1, 2)).transpose(1, 2)
        upstream = rng.standard_normal(out.shape).astype(dtype)
        out.backward(upstream)
        want.backward(torch.from_numpy(upstream))
        pairs = [(out.numpy(), want), (a.grad.numpy(), b.grad)]
        pairs += [(p.grad.numpy(), dict(theirs.named_parameters())[n].grad) for n, p in ours.named_parameters()]
        for got, expected in pairs:
            expected = expected.detach().numpy()
            limit = tolerance * max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(got, expected, rtol=0, atol=limit)
