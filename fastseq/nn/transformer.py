"""TransformerEncoderLayer and TransformerEncoder, with PyTorch's names and parameters."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from fastseq import checks
from fastseq.autograd.noise import Noise, noise_of
from fastseq.autograd.ops_attention import Rows
from fastseq.autograd.ops_feedforward import feed_forward
from fastseq.autograd.ops_norm import layer_norm, sum_and_norm
from fastseq.autograd.tensor import Tensor
from fastseq.nn import functional, init
from fastseq.nn.activations import GELU, ReLU
from fastseq.nn.attention import MultiheadAttention
from fastseq.nn.containers import ModuleList
from fastseq.nn.dropout import Dropout
from fastseq.nn.linear import Linear
from fastseq.nn.masks import Mask, lone_mask, mask_of
from fastseq.nn.module import Module
from fastseq.nn.norm import LayerNorm
from fastseq.nn.tokens import Tokens, as_given, batched, lone_length, row_lengths, tokens_of

M = TypeVar("M", bound="TransformerEncoder")


def _enter(
    x: Any, mask: Any, padding: Any, causal: bool, lengths: Any, layer: TransformerEncoderLayer, name: str
) -> tuple[Tokens, Rows, Mask, bool]:
    """Return the valid tokens of padded rows, which of them are keys, what hides keys, and whether it is one row."""
    rows, alone = batched("src", x, layer.d_model, layer.self_attn.dtype, layer.batch_first)
    batch, steps, _ = rows.shape
    if alone:
        lengths, padding = lone_length(lengths), lone_mask("src_key_padding_mask", padding, steps)
    names = name, "src_key_padding_mask"
    hidden = mask_of(mask, padding, causal, batch, layer.nhead, steps, steps, layer.self_attn.dtype, names)
    valid = row_lengths("lengths", lengths, batch, steps)
    tokens = tokens_of(rows, valid)
    keys = tokens.rows
    if hidden.lengths is not None:
        keys = keys._replace(counts=np.minimum(hidden.lengths, keys.counts))
    return tokens, keys, hidden, alone


class TransformerEncoderLayer(Module):
    """Attention of a row's steps to one another, then two dense layers, each with a residual and a normalisation.

    Shape letters: B rows, T steps, E = d_model.

    Parameters
    ----------
    d_model
        E.
    nhead
        Heads; divides E.
    dim_feedforward
        Hidden units of the dense layers.
    dropout
        Probability, while training: of attention weights, of hidden units, and of what both parts add.
    activation
        ``"relu"`` or ``"gelu"``, or that function of `fastseq.nn.functional`, or a ReLU or GELU layer.
    layer_norm_eps
        ``eps`` of the normalisations.
    batch_first
        Whether arrays are (B, T, E), which is the default here, or (T, B, E) as PyTorch's default is.
    norm_first
        Whether each part's input is normalised (pre-norm), or the sum after it.
    bias
        Whether dense layers and normalisations have biases.
    causal
        Whether step r sees steps 0..r only, in every call.
    dtype
        float32 or float64.

    Notes
    -----
    Vaswani et al., "Attention Is All You Need", 2017; pre-norm: Xiong et al., "On Layer Normalization in the
    Transformer Architecture", 2020. Steps past a row's length are not computed. A row's bits do not depend on its
    neighbours, its padding, the batch size or the number of threads.
    """

    _config = (
        "d_model", "nhead", "dim_feedforward", "dropout", "activation", "layer_norm_eps", "batch_first", "norm_first",
        "bias", "causal", "dtype",
    )  # fmt: skip

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Any = "relu",
        layer_norm_eps: float = 1e-5,
        batch_first: bool = True,
        norm_first: bool = False,
        bias: bool = True,
        *,
        causal: bool = False,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.d_model = checks.integer("d_model", d_model, 1)
        self.nhead = checks.integer("nhead", nhead, 1)
        if self.d_model % self.nhead:
            raise checks.value_error("nhead", f"a divisor of d_model = {self.d_model}", self.nhead)
        self.dim_feedforward = checks.integer("dim_feedforward", dim_feedforward, 1)
        p = checks.real("dropout", dropout, 0.0, 1.0)
        known: dict[Any, str] = {functional.relu: "relu", functional.gelu: "gelu"}
        if type(activation) is ReLU or (type(activation) is GELU and activation.approximate == "none"):
            known[activation] = type(activation).__name__.lower()
        word = known.get(activation, activation)
        self.activation = checks.choice("activation", word, ("relu", "gelu"))
        self.layer_norm_eps = checks.real("layer_norm_eps", layer_norm_eps, 0.0)
        self.batch_first = checks.boolean("batch_first", batch_first)
        self.norm_first = checks.boolean("norm_first", norm_first)
        self.bias = checks.boolean("bias", bias)
        self.causal = checks.boolean("causal", causal)
        kind = self.dtype = checks.float_dtype("dtype", dtype)
        size, inner = self.d_model, self.dim_feedforward
        self.self_attn = MultiheadAttention(size, nhead, p, bias, causal=causal, dtype=kind)
        self.linear1 = Linear(size, inner, bias, dtype=kind)
        self.dropout = Dropout(p)
        self.linear2 = Linear(inner, size, bias, dtype=kind)
        self.norm1 = LayerNorm(size, self.layer_norm_eps, bias=bias, dtype=kind)
        self.norm2 = LayerNorm(size, self.layer_norm_eps, bias=bias, dtype=kind)
        self.dropout1 = Dropout(p)
        self.dropout2 = Dropout(p)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain JSON values.

        Returns
        -------
        dict
            One entry per argument.
        """
        return {**super().config(), "dropout": self.dropout.p}

    def forward(
        self, src: Any, src_mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool = False,
        lengths: Any = None,
    ) -> Tensor:  # fmt: skip
        """Return the layer's output.

        Parameters
        ----------
        src
            (B, T, E), or one row (T, E), whatever ``batch_first`` is: all others are without B, too, then. Converted
            to the layer's dtype.
        src_mask
            (T, T) or (B * nhead, T, T): bools, of which True hides, or floats to add; or None.
        src_key_padding_mask
            (B, T), likewise: which steps the others do not look at. Their own outputs are there, as in PyTorch;
            ``lengths`` spare the time for them.
        is_causal
            Whether step r sees steps 0..r only; needs no ``src_mask``.
        lengths
            Valid steps per row, integers (B,): what stands past them is never read and gives zeros. A number for one
            row.

        Returns
        -------
        Tensor
            (B, T, E)

        Raises
        ------
        TypeError
            If a mask holds neither bools nor floats.
        ValueError
            If a shape or a length does not fit.
        """
        causal = self.causal or checks.boolean("is_causal", is_causal)
        tokens, keys, mask, alone = _enter(src, src_mask, src_key_padding_mask, causal, lengths, self, "src_mask")
        found = self.run(tokens.values, lambda x: self.self_attn.attend(x, tokens.rows, keys, mask)[0], self.training)
        return as_given(tokens.padded(found), alone, self.batch_first)

    def run(self, x: Tensor, attend: Callable[[Tensor], Tensor], training: bool) -> Tensor:
        """Apply the layer to tokens.

        Parameters
        ----------
        x
            (M, E)
        attend
            Lets tokens (M, E) look at one another: ``self_attn``.
        training
            Whether dropout is on; that of attention is its own affair.

        Returns
        -------
        Tensor
            (M, E)
        """
        one, two, eps = self.norm1, self.norm2, self.layer_norm_eps

        def noise(dropout: Dropout) -> Noise | None:
            return noise_of(dropout.p, init.generator()) if training else None

        if self.norm_first:
            branch = attend(layer_norm(x, self.d_model, one.weight, one.bias, eps))
            x, inner = sum_and_norm(x, branch, two.weight, two.bias, eps, noise=noise(self.dropout1))
        else:
            branch = attend(x)
            _, inner = sum_and_norm(x, branch, one.weight, one.bias, eps, noise=noise(self.dropout1))
        branch = feed_forward(
            inner, self.linear1.weight, self.linear1.bias, self.linear2.weight, self.linear2.bias, self.activation,
            noise(self.dropout),
        )  # fmt: skip
        if self.norm_first:
            return sum_and_norm(x, branch, None, None, eps, noise=noise(self.dropout2), norm=False)[0]
        return sum_and_norm(inner, branch, two.weight, two.bias, eps, noise=noise(self.dropout2))[1]


class TransformerEncoder(Module):
    """A stack of encoder layers that begin as copies of one.

    Parameters
    ----------
    encoder_layer
        A TransformerEncoderLayer; copied.
    num_layers
        How many.
    norm
        A LayerNorm for the output (pre-norm layers need one), or None.
    enable_nested_tensor, mask_check
        PyTorch's choices of a fast path; they change nothing here, where padding is never computed.
    """

    def __init__(
        self,
        encoder_layer: TransformerEncoderLayer,
        num_layers: int,
        norm: LayerNorm | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        if not isinstance(encoder_layer, TransformerEncoderLayer):
            raise checks.kind_error("encoder_layer", "a TransformerEncoderLayer", encoder_layer)
        if norm is not None and not isinstance(norm, LayerNorm):
            raise checks.kind_error("norm", "a LayerNorm or None", norm)
        if norm is not None and norm.normalized_shape != (encoder_layer.d_model,):
            raise checks.value_error("norm", f"one over {encoder_layer.d_model} features", f"{norm.normalized_shape}")
        checks.boolean("enable_nested_tensor", enable_nested_tensor)
        checks.boolean("mask_check", mask_check)
        self.num_layers = checks.integer("num_layers", num_layers, 1)
        self.layers = ModuleList()
        for _ in range(self.num_layers):
            self.layers.append(copy.deepcopy(encoder_layer))
        self.norm = norm

    def config(self) -> dict[str, Any]:
        """Return the layer's and the normalisation's constructor arguments as plain JSON values.

        Returns
        -------
        dict
            ``encoder_layer``, ``num_layers`` and ``norm``.
        """
        norm = None if self.norm is None else self.norm.config()
        return {"encoder_layer": self.layers[0].config(), "num_layers": self.num_layers, "norm": norm}

    @classmethod
    def from_config(cls: type[M], config: Mapping[str, Any]) -> M:
        """Build a stack from what ``config`` returned.

        Parameters
        ----------
        config
            The constructor's arguments.

        Returns
        -------
        TransformerEncoder
            With fresh weights.

        Raises
        ------
        TypeError, ValueError
            If it is no such configuration.
        """
        if set(config) != {"encoder_layer", "num_layers", "norm"}:
            raise checks.value_error(
                "config", "encoder_layer, num_layers and norm", ", ".join(sorted(map(str, config)))
            )
        parts = config["encoder_layer"], config["norm"] if config["norm"] is not None else {}
        if not all(isinstance(part, Mapping) for part in parts):
            raise checks.kind_error("config", "arguments of the layer and of the normalisation", parts)
        count = checks.integer("num_layers", config["num_layers"], 1)
        norm = None if config["norm"] is None else LayerNorm.from_config(parts[1])
        made = cls.__new__(cls)
        Module.__init__(made)
        made.num_layers, made.layers = count, ModuleList()
        for _ in range(count):
            made.layers.append(TransformerEncoderLayer.from_config(parts[0]))
        made.norm = norm
        return made

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of the module's repr: nothing, the layers are listed."""
        return ""

    def forward(
        self, src: Any, mask: Any = None, src_key_padding_mask: Any = None, is_causal: bool | None = None,
        lengths: Any = None,
    ) -> Tensor:  # fmt: skip
        """Return the last layer's output, normalised if there is a norm.

        Parameters
        ----------
        src
            (B, T, E), or one row (T, E), whatever ``batch_first`` is: all others are without B, too, then. Converted
            to the layers' dtype.
        mask
            (T, T) or (B * nhead, T, T): bools, of which True hides, or floats to add; or None.
        src_key_padding_mask
            (B, T), likewise: which steps the others do not look at. Their own outputs are there, as in PyTorch;
            ``lengths`` spare the time for them.
        is_causal
            Whether step r sees steps 0..r only; needs no ``mask``. None leaves it to the layers.
        lengths
            Valid steps per row, integers (B,): what stands past them is never read and gives zeros. A number for one
            row.

        Returns
        -------
        Tensor
            (B, T, E)

        Raises
        ------
        TypeError
            If a mask holds neither bools nor floats.
        ValueError
            If a shape or a length does not fit.
        """
        first: Any = self.layers[0]
        causal = is_causal is not None and checks.boolean("is_causal", is_causal)
        tokens, keys, hidden, alone = _enter(src, mask, src_key_padding_mask, causal, lengths, first, "mask")
        x = tokens.values
        for layer in self.layers:
            assert isinstance(layer, TransformerEncoderLayer)
            attention, own = layer.self_attn, hidden._replace(causal=hidden.causal or layer.causal)

            def attend(x: Tensor, one: MultiheadAttention = attention, own: Mask = own) -> Tensor:
                return one.attend(x, tokens.rows, keys, own)[0]

            x = layer.run(x, attend, layer.training)
        if self.norm is not None:
            x = layer_norm(x, self.norm.normalized_shape, self.norm.weight, self.norm.bias, self.norm.eps)
        return as_given(tokens.padded(x), alone, first.batch_first)
