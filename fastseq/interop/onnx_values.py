"""What is known of the values in an ONNX graph while it is read, and what masks must look like.

A graph is read by following its input. What depends on weights and features becomes layers (`Flow`); what depends on
sizes and lengths only is computed with NumPy for one small batch, the probe, and is recognised by its numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastseq.nn.module import Module

Array = NDArray[Any]

#: Letters of axes: rows, steps, features, directions, hidden units, heads, units of a head.
AXES = "BTFDHNK"


class Known(NamedTuple):
    """Numbers: a constant of the file, or what the probe gives.

    Parameters
    ----------
    values
        The numbers.
    constant
        Whether they are the same for every batch.
    """

    values: Array
    constant: bool


class Probe(NamedTuple):
    """The batch for which sizes and masks are computed.

    Parameters
    ----------
    rows, steps
        B and T.
    lengths
        int (B,), unlike T somewhere.
    """

    rows: int
    steps: int
    lengths: Array


@dataclass(eq=False)
class Step:
    """One layer of the model that is being built, and what comes before it.

    Parameters
    ----------
    module
        The layer.
    before
        The step before it; None for the graph's input.
    node
        The node that made it, for messages.
    uses
        Whether the graph gives it lengths; None for a layer that does not ask.
    weights
        What a later node may go on building with: a recurrent layer's directions.
    """

    module: Module
    before: Step | None
    node: str
    uses: bool | None = None
    weights: Any = None


@dataclass(frozen=True, eq=False)
class Flow:
    """Features on their way through the layers.

    Parameters
    ----------
    step
        The last layer; None for the graph's input.
    axes
        A letter for each axis.
    sizes
        The size of each axis, for the probe.
    stage
        "" for the layer's output itself; "zeroed", "lowered" (minus infinity) past the lengths; "chosen" where all
        but one step of a row are zero; "sum", "max" of valid steps.
    detail
        What the stage needs: which steps were chosen.
    """

    step: Step | None
    axes: str
    sizes: tuple[int, ...]
    stage: str = ""
    detail: Any = None

    def size(self, axis: str) -> int:
        """Return the size of an axis.

        Parameters
        ----------
        axis
            Its letter.
        """
        return self.sizes[self.axes.index(axis)]

    def permuted(self, order: list[int]) -> Flow:
        """Return this with its axes in another order.

        Parameters
        ----------
        order
            For each new axis, the old one.
        """
        axes = "".join(self.axes[k] for k in order)
        return replace(self, axes=axes, sizes=tuple(self.sizes[k] for k in order))


@dataclass(frozen=True, eq=False)
class State:
    """A recurrent layer's final state, or several layers' behind one another.

    Parameters
    ----------
    steps
        The layers, as steps were when the state was made.
    number
        0 for h, 1 for c.
    axes, sizes
        As of Flow.
    """

    steps: tuple[Any, ...]
    number: int
    axes: str
    sizes: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Initial:
    """An initial state that the graph takes as an input, or a part of it.

    Parameters
    ----------
    name
        The input.
    layer
        Which layer's part; None for all.
    """

    name: str
    layer: int | None = None


class Projection(NamedTuple):
    """A weighted sum of features that attention takes: weights (O, I) and bias (O,) or None.

    Parameters
    ----------
    weight, bias
        Arrays.
    """

    weight: Array
    bias: Array | None


@dataclass(frozen=True, eq=False)
class Heads:
    """Queries, keys or values of attention, split into heads; or what the heads found.

    Parameters
    ----------
    source
        The flow that was projected.
    parts
        One projection; queries, keys and values of what heads found.
    axes, sizes
        As of Flow: N heads of K units.
    scale
        What the products were multiplied with, of what heads found.
    causal
        Whether they see earlier steps only, likewise.
    uses
        Whether lengths hide keys, likewise.
    """

    source: Flow
    parts: tuple[Projection, ...]
    axes: str
    sizes: tuple[int, ...]
    scale: float = 1.0
    causal: bool = False
    uses: bool = False


@dataclass(frozen=True, eq=False)
class Scores:
    """Products of queries and keys (B, N, T, T), or their softmax.

    Parameters
    ----------
    source
        The flow that was projected.
    parts
        Projections of queries and keys.
    sizes
        As of Flow.
    scale
        What they were multiplied with.
    causal
        Whether later steps are hidden.
    uses
        Whether keys past the lengths are hidden.
    normal
        Whether softmax has been taken.
    """

    source: Flow
    parts: tuple[Projection, ...]
    sizes: tuple[int, ...]
    scale: float = 1.0
    causal: bool = False
    uses: bool = False
    normal: bool = False


@dataclass
class Masks:
    """What masks and counts must be for the probe.

    Parameters
    ----------
    probe
        The batch.
    """

    probe: Probe
    positions: Array = field(init=False)

    def __post_init__(self) -> None:
        """Number the steps."""
        self.positions = np.arange(self.probe.steps)

    def valid(self) -> Array:
        """Return which steps are valid, (B, T)."""
        return self.positions < self.probe.lengths[:, None]

    def steps_of(self, lengths: Array | None, which: str) -> Array:
        """Return which step of each row is chosen, (B, T).

        Parameters
        ----------
        lengths
            Of the rows; None for full ones.
        which
            "last" or "first".
        """
        own = np.full(self.probe.rows, self.probe.steps) if lengths is None else lengths
        if which == "last":
            return self.positions == own[:, None] - 1
        return (self.positions == 0) & (own[:, None] > 0)

    def kind(self, mask: Array, flow: Flow) -> tuple[str, bool | None] | None:
        """Say what a mask over a flow lets through.

        Parameters
        ----------
        mask
            Bools that broadcast to the flow's sizes.
        flow
            The flow.

        Returns
        -------
        tuple or None
            "valid", "last" or "first", and whether that follows from lengths; None if it is something else.
        """
        try:
            whole = np.broadcast_to(mask, flow.sizes)
        except ValueError:
            return None
        others = [k for k, axis in enumerate(flow.axes) if axis not in "BT"]
        plane = whole.transpose(*(flow.axes.index(axis) for axis in "BT"), *others).reshape(
            self.probe.rows, self.probe.steps, -1
        )
        if plane.size == 0 or (plane != plane[:, :, :1]).any():
            return None
        found = plane[:, :, 0]
        if np.array_equal(found, self.valid()):
            return "valid", True
        for which in ("last", "first"):
            for lengths in (self.probe.lengths, None):
                if np.array_equal(found, self.steps_of(lengths, which)):
                    return which, lengths is not None
        return None
