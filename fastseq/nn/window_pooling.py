"""MaxPool1d and AvgPool1d: the largest value or the mean of each window of steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.operands import array
from fastseq.autograd.tensor import Tensor, record
from fastseq.nn.module import Module
from fastseq.nn.tokens import as_given, batched, lone_length

Array = NDArray[Any]
Numbers = NDArray[np.int64]


class WindowPool(Module):
    """What pooling over windows shares: where they are, and rows with room for those that reach past the ends.

    Parameters
    ----------
    kernel_size
        K, the steps of a window.
    stride
        Steps from one window to the next; K if None.
    padding
        Steps added at each end, at most K / 2; or ``"same"`` for ceil(T / stride) outputs, as in TensorFlow: as many
        steps as that needs, half of them in front, the odd one behind.
    dilation
        Steps from one value of a window to the next.
    ceil_mode
        Whether a last window that is not full counts, too.
    """

    dilation: int

    def __init__(self, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> None:
        super().__init__()
        self.kernel_size = checks.single("kernel_size", kernel_size, 1)
        self.stride = self.kernel_size if stride is None else checks.single("stride", stride, 1)
        self.padding: int | str
        if isinstance(padding, str):
            self.padding = checks.choice("padding", padding, ("same",))
        else:
            self.padding = checks.single("padding", padding, 0)
            if self.padding > self.kernel_size // 2:
                raise checks.value_error("padding", f"at most half of kernel_size = {self.kernel_size}", padding)
        self.dilation = checks.single("dilation", dilation, 1)
        self.ceil_mode = checks.boolean("ceil_mode", ceil_mode)

    @property
    def reach(self) -> int:
        """How many steps lie between the first value of a window and the last."""
        return self.dilation * (self.kernel_size - 1)

    def output_lengths(self, lengths: Any) -> Numbers:
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
        if self.padding == "same":
            return -(-found // self.stride)
        pad = int(self.padding)
        room = found + 2 * pad - self.reach - 1
        if self.ceil_mode:
            count = -(-room // self.stride) + 1
            count = np.where((count - 1) * self.stride >= found + pad, count - 1, count)  # it begins past the row
        else:
            count = room // self.stride + 1
        return np.where(found > 0, np.maximum(count, 0), 0)

    def _before(self, lengths: Numbers, counts: Numbers) -> Numbers:
        """Return how many steps are added in front of each row."""
        if self.padding != "same":
            return np.full_like(lengths, int(self.padding))
        return np.maximum((counts - 1) * self.stride + self.reach + 1 - lengths, 0) // 2

    def _rows(self, x: Any, lengths: Any, fill: float) -> tuple[_Windows, bool]:
        """Return the windows of checked rows, and whether there was one row alone."""
        data = array(x)
        if data.dtype.kind not in "f":
            raise checks.kind_error("x", "float32 or float64", data)
        rows, alone = batched("x", x, data.shape[-1] if data.ndim else 0, data.dtype)
        batch, steps, _ = rows.shape
        given = lone_length(lengths) if alone else lengths
        valid = checks.lengths("lengths", None if given is None else array(given), batch, steps)
        whole = int(self.output_lengths(steps))
        if steps and not whole:
            least = next(n for n in range(1, self.reach + 2) if self.output_lengths(n))
            raise checks.value_error("x", f"at least {least} steps", f"{steps}")
        counts = self.output_lengths(valid)
        return _Windows(self, rows, valid, counts, self._before(valid, counts), whole, fill), alone


class _Windows:
    """Rows with what is added at their ends, seen tap by tap.

    Parameters
    ----------
    layer
        Whose windows.
    x
        (B, T, C)
    lengths, counts, before
        Of each row (B,): valid steps, windows, added steps in front.
    whole
        How many windows T steps have, W.
    fill
        What added steps are.
    """

    def __init__(
        self, layer: WindowPool, x: Tensor, lengths: Numbers, counts: Numbers, before: Numbers, whole: int, fill: float
    ) -> None:
        data = x._data
        self.layer, self.x, self.counts, self.before, self.whole = layer, x, counts, before, whole
        self.shape, self.dtype = data.shape, data.dtype
        batch, steps, features = data.shape
        self.valid = np.arange(steps) < lengths[:, None]
        self.row, self.step = np.nonzero(self.valid)
        self.place = self.step + before[self.row]
        size = max(steps + int(before.max(initial=0)), max(whole - 1, 0) * layer.stride + layer.reach + 1)
        self.size = (batch, size, features)
        self.values = np.full(self.size, fill, self.dtype)
        self.values[self.row, self.place] = data[self.row, self.step]
        self.lengths = lengths

    @property
    def counted(self) -> Array:
        """Which windows are a row's own, bools (B, W, 1)."""
        return (np.arange(self.whole) < self.counts[:, None])[:, :, None]

    def starts(self) -> Numbers:
        """Return at which step of its row each window begins (B, W); below 0 among what was added."""
        return np.arange(self.whole) * self.layer.stride - self.before[:, None]

    def tap(self, of: Array, k: int) -> Array:
        """Return the k-th value of every window, a view (B, W, C).

        Parameters
        ----------
        of
            Rows with what is added.
        k
            Which.
        """
        first, stride = k * self.layer.dilation, self.layer.stride
        return of[:, first : first + self.whole * stride : stride][:, : self.whole]

    def pulled(self, parts: Any) -> Array:
        """Return the gradient of the rows.

        Parameters
        ----------
        parts
            One gradient per value of a window (B, W, C).
        """
        d_values = np.zeros(self.size, self.dtype)
        for k, part in enumerate(parts):
            view = self.tap(d_values, k)
            view += part
        d_x = np.zeros(self.shape, self.dtype)
        d_x[self.row, self.step] = d_values[self.row, self.place]
        return d_x


class MaxPool1d(WindowPool):
    """Return the largest value of each feature in windows over time: (B, T, C) becomes (B, T', C). NaN wins.

    PyTorch's arrays are (N, C, L); here time comes first.

    Parameters
    ----------
    kernel_size
        K, the steps of a window.
    stride
        Steps from one window to the next; K if None.
    padding
        Steps of -infinity added at each end, at most K / 2; or ``"same"`` for ceil(T / stride) outputs.
    dilation
        Steps from one value of a window to the next.
    return_indices
        Whether to return the steps of the largest values, too.
    ceil_mode
        Whether a last window that is not full counts, too.

    Notes
    -----
    With lengths, a row's outputs are those of the row cut to its length. Of equal values the earliest gets the
    gradient.
    """

    _config = ("kernel_size", "stride", "padding", "dilation", "return_indices", "ceil_mode")

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: int | str = 0,
        dilation: int = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode)
        self.return_indices = checks.boolean("return_indices", return_indices)

    def forward(self, x: Any, lengths: Any = None) -> Any:
        """Return the largest values.

        Parameters
        ----------
        x
            (B, T, C), float32 or float64; or one row (T, C): the outputs are without B, too, then.
        lengths
            Valid steps per row, integers (B,); None means all T. What stands past them is never read. A number for one
            row.

        Returns
        -------
        Tensor
            (B, T', C), zeros past ``output_lengths(lengths)``; with ``return_indices`` also the steps, int64.

        Raises
        ------
        ValueError
            If a shape or a length does not fit, or T steps are too few for one output.
        """
        windows, alone = self._rows(x, lengths, -np.inf)
        batch, _, features = windows.shape
        shape = (batch, windows.whole, features)
        largest = np.full(shape, -np.inf, windows.dtype)
        for k in range(self.kernel_size):
            np.maximum(largest, windows.tap(windows.values, k), out=largest)
        counted = windows.counted
        out = np.where(counted, largest, windows.dtype.type(0))

        def pull(g: Array) -> Array:
            best, kept = self._places(windows, largest), np.where(counted, g, g.dtype.type(0))
            return windows.pulled(np.where(best == k, kept, g.dtype.type(0)) for k in range(self.kernel_size))

        found = as_given(record(out, (windows.x,), (pull,)), alone)
        if not self.return_indices:
            return found
        steps = windows.starts()[:, :, None] + self._places(windows, largest) * self.dilation
        return found, as_given(Tensor(np.where(counted, steps, 0)), alone)

    def _places(self, windows: _Windows, largest: Array) -> Numbers:
        """Return which value of its window is the largest, the earliest where several are."""
        first = np.maximum(-(windows.starts() // self.dilation), 0)[:, :, None]  # the first that is the row's own
        best = np.broadcast_to(first, largest.shape).astype(np.int64)
        for k in reversed(range(self.kernel_size)):
            values = windows.tap(windows.values, k)
            np.copyto(best, k, where=((values == largest) | np.isnan(values)) & (first <= k))
        return best


class AvgPool1d(WindowPool):
    """Return the mean of each feature in windows over time: (B, T, C) becomes (B, T', C).

    PyTorch's arrays are (N, C, L); here time comes first.

    Parameters
    ----------
    kernel_size
        K, the steps of a window.
    stride
        Steps from one window to the next; K if None.
    padding
        Zeros added at each end, at most K / 2; or ``"same"`` for ceil(T / stride) outputs.
    ceil_mode
        Whether a last window that is not full counts, too.
    count_include_pad
        Whether the zeros count in the mean.

    Notes
    -----
    With lengths, a row's outputs are those of the row cut to its length.
    """

    _config = ("kernel_size", "stride", "padding", "ceil_mode", "count_include_pad")

    def __init__(
        self,
        kernel_size: int,
        stride: int | None = None,
        padding: int | str = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, 1, ceil_mode)
        self.count_include_pad = checks.boolean("count_include_pad", count_include_pad)

    def forward(self, x: Any, lengths: Any = None) -> Tensor:
        """Return the means.

        Parameters
        ----------
        x
            (B, T, C), float32 or float64; or one row (T, C): the outputs are without B, too, then.
        lengths
            Valid steps per row, integers (B,); None means all T. What stands past them is never read. A number for one
            row.

        Returns
        -------
        Tensor
            (B, T', C), zeros past ``output_lengths(lengths)``.

        Raises
        ------
        ValueError
            If a shape or a length does not fit, or T steps are too few for one output.
        """
        windows, alone = self._rows(x, lengths, 0.0)
        batch, _, features = windows.shape
        total = np.zeros((batch, windows.whole, features), windows.dtype)
        for k in range(self.kernel_size):
            total += windows.tap(windows.values, k)
        start, end = windows.starts(), windows.lengths[:, None]
        if self.count_include_pad:  # a window that reaches past what is added ends there
            behind = windows.before[:, None]
            if self.padding == "same":
                behind = np.maximum(start[:, -1:] + self.kernel_size - end, 0) if windows.whole else behind
            size = np.minimum(start + self.kernel_size, end + behind) - start
        else:
            size = np.minimum(start + self.kernel_size, end) - np.maximum(start, 0)
        counted = windows.counted
        divisor = np.where(counted, size[:, :, None], 1).astype(windows.dtype)
        out = np.where(counted, total / divisor, windows.dtype.type(0))

        def pull(g: Array) -> Array:
            share = np.where(counted, g / divisor, g.dtype.type(0))
            return windows.pulled(share for _ in range(self.kernel_size))

        return as_given(record(out, (windows.x,), (pull,)), alone)
