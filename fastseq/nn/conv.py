"""Conv1d: every step a weighted sum of the steps around it, or of those before it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.autograd.operands import array
from fastseq.autograd.ops_conv import conv1d_rows
from fastseq.autograd.tensor import Tensor
from fastseq.nn import init
from fastseq.nn.module import Module, Parameter
from fastseq.nn.tokens import as_given, batched, lone_length

MODES = ("zeros", "reflect", "replicate", "circular")


class Conv1d(Module):
    """Convolution over time: rows (B, T, F) become (B, T', O).

    PyTorch's arrays are (N, C, L), channels before time; here as everywhere in fastseq time comes first: (B, T, F).
    Parameters keep PyTorch's names and layouts, so that its ``state_dict`` fits.

    Parameters
    ----------
    in_channels
        F.
    out_channels
        O.
    kernel_size
        K, the number of taps.
    stride
        Steps from one output to the next.
    padding
        Steps added at each end; or ``"valid"`` for none, or ``"same"`` for as many outputs as inputs (stride 1 only).
    dilation
        Steps from one tap to the next.
    groups
        Into how many groups features are split that do not see one another; divides F and O.
    bias
        Whether there is one.
    padding_mode
        What the added steps are: ``"zeros"``; ``"reflect"``, the row mirrored at its first and last step, which are not
        repeated; ``"replicate"``, those steps repeated; ``"circular"``, the row's other end.
    causal
        Whether output t sees inputs up to t * stride only: all zeros come before the first step, as many as the taps
        reach back. ``padding`` must then be 0 and ``padding_mode`` ``"zeros"``.
    dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter
        (O, F / groups, K), from U(-1/sqrt(n), 1/sqrt(n)) at first, n = K * F / groups, as in PyTorch.
    bias : Parameter or None
        (O,), from the same distribution.

    Notes
    -----
    With lengths, a row's outputs are those of the row cut to its length, which is where it is padded. They do not
    depend on other rows, padding or threads. van den Oord et al., "WaveNet", 2016 (causal and dilated).
    """

    _config = (
        "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias",
        "padding_mode", "causal", "dtype",
    )  # fmt: skip

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int | str = 0,
        dilation: int = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        causal: bool = False,
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__()
        self.in_channels = checks.integer("in_channels", in_channels, 1)
        self.out_channels = checks.integer("out_channels", out_channels, 1)
        self.kernel_size = checks.single("kernel_size", kernel_size, 1)
        self.stride = checks.single("stride", stride, 1)
        self.dilation = checks.single("dilation", dilation, 1)
        self.groups = checks.integer("groups", groups, 1)
        for name, size in (("in_channels", self.in_channels), ("out_channels", self.out_channels)):
            if size % self.groups:
                raise checks.value_error(name, f"a multiple of groups = {self.groups}", size)
        self.padding_mode = checks.choice("padding_mode", padding_mode, MODES)
        self.causal = checks.boolean("causal", causal)
        self.padding: int | str
        if isinstance(padding, str):
            self.padding = checks.choice("padding", padding, ("valid", "same"))
            if self.padding == "same" and self.stride > 1:
                raise checks.value_error("padding", "'same' with stride 1 only", f"stride {self.stride}")
        else:
            self.padding = checks.single("padding", padding, 0)
        if self.causal and self.padding not in (0, "valid"):
            raise checks.value_error("padding", "0 for a causal layer, whose zeros all come first", padding)
        if self.causal and self.padding_mode != "zeros":
            raise checks.value_error("padding_mode", "'zeros' for a causal layer", padding_mode)
        self.dtype = checks.float_dtype("dtype", dtype)
        shape = (self.out_channels, self.in_channels // self.groups, self.kernel_size)
        checks.product_fits("kernel_size", *shape)
        init.expect_room(math.prod(shape))
        self.weight = Parameter(np.empty(shape, self.dtype))
        wanted = checks.boolean("bias", bias)
        self.register_parameter("bias", Parameter(np.empty(self.out_channels, self.dtype)) if wanted else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias anew."""
        bound = 1 / math.sqrt(self.kernel_size * self.in_channels // self.groups)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    @property
    def reach(self) -> int:
        """How many steps lie between the first tap and the last."""
        return self.dilation * (self.kernel_size - 1)

    def _ends(self) -> tuple[int, int]:
        """Return how many steps are added before and behind."""
        if self.causal:
            return self.reach, 0
        if self.padding == "same":
            return self.reach // 2, self.reach - self.reach // 2
        size = 0 if self.padding == "valid" else int(self.padding)
        return size, size

    def output_lengths(self, lengths: Any) -> NDArray[np.int64]:
        """Return how many outputs rows of these lengths have.

        Parameters
        ----------
        lengths
            Integers (B,).

        Returns
        -------
        ndarray
            int64 (B,); 0 for a row of length 0.
        """
        found = np.asarray(array(lengths), np.int64)
        count = (found + sum(self._ends()) - self.reach - 1) // self.stride + 1
        return np.where(found > 0, np.maximum(count, 0), 0)

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Return the weighted sums.

        Parameters
        ----------
        x
            (B, T, F), or one row (T, F): the outputs are without B, too, then. Converted to the layer's dtype.
        lengths
            Valid steps per row, integers (B,); None means all T. What stands past them is never read. A number for one
            row.

        Returns
        -------
        Tensor
            (B, T', O), zeros past ``output_lengths(lengths)``; T' is what T steps give.

        Raises
        ------
        ValueError
            If a shape or a length does not fit, or T steps are too few for one output.
        """
        rows, alone = batched("x", x, self.in_channels, self.dtype)
        batch, steps, _ = rows.shape
        given = lone_length(lengths) if alone else lengths
        valid = checks.lengths("lengths", given, batch, steps)
        before, behind = self._ends()
        count = (steps + before + behind - self.reach - 1) // self.stride + 1
        if count < 1 and steps > 0:
            least = self.reach + 1 - before - behind
            raise checks.value_error("x", f"at least {least} steps", f"{steps}")
        outputs = self.output_lengths(valid)
        if self.padding_mode != "zeros" and before + behind and rows.numel():
            rows, valid = padded_rows(rows, valid, before, behind, self.padding_mode)
            before = 0
        out = conv1d_rows(
            rows, self.weight, self.bias, valid, outputs, max(0, count) if steps else 0, before, self.stride,
            self.dilation, self.groups,
        )  # fmt: skip
        return as_given(out, alone)


def padded_rows(
    x: Tensor, lengths: NDArray[np.int64], before: int, behind: int, mode: str
) -> tuple[Tensor, NDArray[np.int64]]:
    """Return rows with steps of their own added at both ends, and their lengths then.

    Parameters
    ----------
    x
        (B, T, F), not empty.
    lengths
        Valid steps per row (B,). A row of none stays one of none.
    before, behind
        How many steps are added at the first step and behind the last valid one.
    mode
        ``"reflect"``, ``"replicate"`` or ``"circular"``.

    Returns
    -------
    tuple
        (B, before + T + behind, F), unspecified past the lengths; and the lengths (B,).

    Raises
    ------
    ValueError
        If a row is too short to be mirrored or to go round.
    """
    batch, steps, _ = x.shape
    least = max(before, behind) + (mode == "reflect")
    short = np.flatnonzero((lengths > 0) & (lengths < least))
    if mode != "replicate" and short.size:
        what = "lengths" if lengths[short[0]] < steps else "x"
        raise checks.value_error(what, f"at least {least} steps to pad with {mode!r}", f"{lengths[short[0]]}")
    place, last = np.arange(-before, steps + behind), np.maximum(lengths, 1)[:, None] - 1
    if mode == "replicate":
        source = np.clip(place, 0, last)
    elif mode == "circular":
        source = place % (last + 1)
    else:
        source = last - np.abs(last - np.abs(place))
    past = place >= lengths[:, None] + behind
    source = np.where(past, 0, source)
    return x[np.arange(batch)[:, None], source], np.where(lengths > 0, lengths + before + behind, 0)
