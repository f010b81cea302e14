"""Transformer encoders: finite differences, lengths, bits, a layer against its parts, numbers kept from PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.autograd import Tensor
from fastseq.nn import functional as F
from tests.gradcheck import gradcheck

B, T, E = 3, 5, 6
LENGTHS = np.array([3, 5, 1])
VALID = np.arange(T) < LENGTHS[:, None]
KINDS = [{}, {"norm_first": True}, {"activation": "gelu"}, {"norm_first": True, "bias": False, "causal": True}]


def filled(model: nn.Module) -> nn.Module:
    """Give every parameter numbers that follow from its place alone: w[i] = sin(i + 1) / 2."""
    for parameter in model.parameters():
        parameter.data = np.sin(np.arange(parameter.numel()) + 1.0).reshape(parameter.shape) / 2
    return model


def layer(dtype=np.float64, dropout=0.0, **options) -> nn.TransformerEncoderLayer:
    return filled(nn.TransformerEncoderLayer(E, 2, 7, dropout, **options, dtype=dtype))


def by_hand(model: nn.TransformerEncoderLayer, x: np.ndarray) -> np.ndarray:
    """The layer out of parts that are tested by themselves."""

    def dense(x):
        return model.linear2(getattr(F, model.activation)(model.linear1(x)))

    def look(x):
        return model.self_attn(x, need_weights=False)[0]

    if model.norm_first:
        x = x + look(model.norm1(x))
        return (x + dense(model.norm2(x))).numpy()
    x = model.norm1(x + look(x))
    return model.norm2(x + dense(x)).numpy()


@pytest.mark.parametrize("options", KINDS)
def test_a_layer_is_its_parts(options, rng):
    x = rng.standard_normal((B, T, E))
    np.testing.assert_allclose(layer(**options)(x).numpy(), by_hand(layer(**options), x), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("lengths", [None, LENGTHS])
def test_gradients(options, lengths, rng):
    stack = nn.TransformerEncoder(layer(**options), 2, nn.LayerNorm(E, dtype=np.float64))
    gradcheck(lambda x: stack(x, lengths=lengths), rng.standard_normal((B, T, E)), parameters=stack.parameters())


def test_numbers_kept_from_pytorch():
    # torch.nn.TransformerEncoderLayer(6, 2, 7, 0.0, batch_first=True, dtype=torch.float64), filled as above
    x = np.cos(np.arange(2 * 3 * E)).reshape(2, 3, E)
    for norm_first, want in GOLDEN.items():
        np.testing.assert_allclose(layer(norm_first=norm_first)(x).numpy()[:, -1], want, rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", KINDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_padding_is_not_read_and_gets_no_gradient(options, dtype, rng):
    stack, x = nn.TransformerEncoder(layer(dtype, **options), 2), rng.standard_normal((B, T, E)).astype(dtype)
    found = []
    for fill in (np.nan, 3.0):
        x[~VALID] = fill
        leaf = Tensor(x, requires_grad=True)
        stack.zero_grad()
        out = stack(leaf, lengths=LENGTHS)
        (out * out).sum().backward()
        found.append([out.numpy(), leaf.grad.numpy(), *(p.grad.numpy().copy() for p in stack.parameters())])
    for one, other in zip(*found, strict=True):
        assert np.isfinite(one).all() and one.tobytes() == other.tobytes()
    assert not found[0][0][~VALID].any() and not found[0][1][~VALID].any()


@pytest.mark.parametrize("options", KINDS)
def test_a_mask_of_keys_leaves_their_own_outputs_there(options, rng):
    stack, x = nn.TransformerEncoder(layer(**options), 2), rng.standard_normal((B, T, E))
    out = stack(x, src_key_padding_mask=~VALID).numpy()
    assert out[VALID].tobytes() == stack(x, lengths=LENGTHS).numpy()[VALID].tobytes()
    added = np.where(VALID, 0.0, -np.inf)
    added[:, 0] += 1e-300  # no plain row lengths: the general way through the masks
    np.testing.assert_allclose(out, stack(x, src_key_padding_mask=added).numpy(), rtol=0, atol=1e-12)
    both = stack(x, src_key_padding_mask=~VALID, lengths=np.minimum(LENGTHS, 2)).numpy()
    assert both.tobytes() == stack(x, lengths=np.minimum(LENGTHS, 2)).numpy().tobytes()
    gradcheck(lambda x: stack(x, src_key_padding_mask=~VALID), x, parameters=stack.parameters())


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("norm_first", [False, True])
def test_a_row_has_its_bits_whatever_is_around_it(norm_first, rng):
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(32, 4, 64, 0.0, norm_first=norm_first), 2)
    x, lengths = rng.standard_normal((9, 70, 32)).astype(np.float32), rng.integers(1, 71, 9)
    out = model(x, lengths=lengths).numpy()
    for row, n in enumerate(lengths):
        assert model(x[row : row + 1, :n]).numpy()[0].tobytes() == out[row, :n].tobytes()
    most = fs.get_num_threads()
    gradients = []
    for count in (1, most):
        fs.set_num_threads(count)
        model.zero_grad()
        (model(x, lengths=lengths) ** 2).sum().backward()
        gradients.append([p.grad.numpy().tobytes() for p in model.parameters()])
    assert gradients[0] == gradients[1]


def test_a_causal_stack_does_not_look_ahead(rng):
    stack = nn.TransformerEncoder(layer(causal=True), 2)
    x = rng.standard_normal((B, T, E))
    whole = stack(x).numpy()
    for n in range(1, T):
        assert stack(x[:, :n]).numpy().tobytes() == np.ascontiguousarray(whole[:, :n]).tobytes()
    free = nn.TransformerEncoder(layer(), 2)
    triangle = np.triu(np.full((T, T), -np.inf), 1)
    for given in ({"is_causal": True}, {"mask": triangle}, {"mask": triangle, "is_causal": True}):
        assert free(x, **given).numpy().tobytes() == whole.tobytes()


def test_dropout_is_seeded_and_off_in_evaluation(rng):
    x = rng.standard_normal((B, T, E)).astype(np.float32)
    for options in KINDS:
        model = layer(np.float32, 0.5, **options)
        fs.manual_seed(1)
        one = model(x).numpy()
        fs.manual_seed(1)
        assert model(x).numpy().tobytes() == one.tobytes() != model(x).numpy().tobytes()
        assert model.eval()(x).numpy().tobytes() == layer(np.float32, **options)(x).numpy().tobytes()


def test_gradients_under_dropout(rng):
    for options in KINDS:
        model = layer(dropout=0.4, **options)

        def run(x, model=model):
            fs.manual_seed(7)
            return model(x)

        gradcheck(run, rng.standard_normal((2, 3, E)), parameters=model.parameters())


def test_names_copies_and_time_first(rng):
    one = layer(np.float32)
    stack = nn.TransformerEncoder(one, 2, nn.LayerNorm(E))
    names = list(stack.state_dict())
    assert names[:4] == [f"layers.0.self_attn.{n}" for n in ("in_proj_weight", "in_proj_bias", "out_proj.weight",
                                                             "out_proj.bias")]  # fmt: skip
    assert names[-2:] == ["norm.weight", "norm.bias"] and len(names) == 26
    stack.layers[0].norm1.weight.data = np.zeros(E, np.float32)
    assert one.norm1.weight.numpy().any() and stack.layers[1].norm1.weight.numpy().any()
    x = rng.standard_normal((T, B, E)).astype(np.float32)
    turned = nn.TransformerEncoder(layer(np.float32, batch_first=False), 1)
    want = nn.TransformerEncoder(layer(np.float32), 1)(x.swapaxes(0, 1), lengths=LENGTHS).numpy()
    np.testing.assert_array_equal(turned(x, lengths=LENGTHS).numpy(), want.swapaxes(0, 1))


@pytest.mark.parametrize("shape", [(0, 4, E), (3, 0, E)])
def test_empty_input(shape):
    stack, x = nn.TransformerEncoder(layer(), 2), Tensor(np.ones(shape), requires_grad=True)
    out = stack(x, lengths=np.zeros(shape[0], int))
    out.sum().backward()
    assert out.shape == x.grad.shape == shape


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="nhead: expected a divisor of d_model = 6"):
        nn.TransformerEncoderLayer(6, 4)
    with pytest.raises(ValueError, match="activation: expected one of 'relu', 'gelu'"):
        nn.TransformerEncoderLayer(6, 2, activation="tanh")
    for given in (F.gelu, nn.GELU()):
        assert nn.TransformerEncoderLayer(6, 2, activation=given).activation == "gelu"
    with pytest.raises(ValueError, match="activation: expected one of 'relu', 'gelu'"):
        nn.TransformerEncoderLayer(6, 2, activation=nn.GELU("tanh"))  # another function
    two, x = nn.TransformerEncoder(layer(), 2, None, False), np.ones((2, 3, 6))
    for call, name in ((lambda m: layer()(x, m), "src_mask"), (lambda m: two(x, m), "mask")):
        with pytest.raises(ValueError, match=rf"^{name}: expected shape \(3, 3\)"):
            call(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="^src_key_padding_mask: expected shape"):
        two(x, src_key_padding_mask=np.zeros((3, 2), bool))
    with pytest.raises(TypeError, match="encoder_layer: expected a TransformerEncoderLayer"):
        nn.TransformerEncoder(nn.Linear(2, 2), 2)
    with pytest.raises(ValueError, match="num_layers: expected an integer >= 1"):
        nn.TransformerEncoder(layer(), 0)
    with pytest.raises(ValueError, match="norm: expected one over 6 features"):
        nn.TransformerEncoder(layer(), 1, nn.LayerNorm(5))
    with pytest.raises(ValueError, match=r"src: expected shape \(B, T, 6\)"):
        layer()(np.ones((2, 3, 4)))
    for bad in ({}, {"encoder_layer": 3, "num_layers": 1, "norm": None}):
        with pytest.raises((TypeError, ValueError), match="config: expected"):
            nn.TransformerEncoder.from_config(bad)


GOLDEN = {
    False: [
        [
            1.02866233574749,
            1.0222505629084333,
            0.06682118322605618,
            -0.07027887734615126,
            0.0067769651272861125,
            -0.0262708541905251,
        ],
        [
            0.99313111248601,
            1.0499655148323126,
            0.07081439939589362,
            -0.012787097299479336,
            0.0006499664799566682,
            -0.04108721022264074,
        ],
    ],
    True: [
        [
            3.0432248900528664,
            2.727279662062204,
            0.38207651544420773,
            -2.18430365224133,
            -2.952602091912101,
            -1.3901780956130123,
        ],
        [
            2.337197068906585,
            2.7375581162574614,
            1.1038621367834185,
            -1.3990549292145746,
            -2.802679109992642,
            -1.9885327825627415,
        ],
    ],
}
