"""RNN: any cell from step to step, one of the user's too; fastseq's own run as the fused layers that they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq import checks
from fastseq.autograd import ops
from fastseq.autograd.tensor import Tensor
from fastseq.layers import registry
from fastseq.layers.flow import ValidSteps, flat, nested
from fastseq.layers.layer import Layer
from fastseq.layers.recurring import Recurring
from fastseq.layers.single_steps import Cell


def _sizes(cell: Layer) -> list[Any]:
    """Return the sizes of a cell's states as a list, with lists in it where cells are stacked."""
    size = cell.state_size
    return list(size) if isinstance(size, (list, tuple)) else [size]


def _checked(argument: str, cell: Any) -> Layer:
    if not isinstance(cell, Layer) or not hasattr(cell, "state_size"):
        raise checks.kind_error(argument, "a cell: a layer with call(inputs, states) and state_size", cell)
    return cell


class StackedRNNCells(Layer):
    """Cells one above the other, as one cell.

    Parameters
    ----------
    cells
        The cells, that of the input first.
    **options
        See `Layer`.
    """

    def __init__(self, cells: Any, **options: Any) -> None:
        super().__init__(**options)
        if not isinstance(cells, (list, tuple)) or not cells:
            raise checks.kind_error("cells", "a list of cells", cells)
        self.cells = [_checked("cells", cell) for cell in cells]

    @property
    def state_size(self) -> list[Any]:
        """Each cell's state size."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """The last cell's output size."""
        return output_size_of(self.cells[-1])

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """Return each cell's first states.

        Parameters
        ----------
        batch_size
            B.
        """
        return [start_of(cell, batch_size) for cell in self.cells]

    def build(self, input_shape: Any) -> None:
        """Build the cells, see `Layer.build`."""
        for cell in self.cells:
            cell.build_from(tuple(input_shape))
            input_shape = (input_shape[0], output_size_of(cell))

    def call(self, inputs: Any, states: Any) -> Any:  # type: ignore[override]
        """Return the last cell's output, and the cells' new states.

        Parameters
        ----------
        inputs
            (B, F)
        states
            Each cell's states.
        """
        found: list[Any] = []
        for cell, own in zip(self.cells, states, strict=True):
            inputs, new = cell(inputs, list(own) if isinstance(own, (list, tuple)) else [own])
            new = list(new) if isinstance(new, (list, tuple)) else [new]
            found.append(new if isinstance(cell.state_size, (list, tuple)) else new[0])
        return inputs, found

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, see `Layer.get_config`."""
        return {**super().get_config(), "cells": [registry.describe(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config: Any) -> StackedRNNCells:
        """Build a layer from what ``get_config`` returned, see `Layer.from_config`."""
        return cls(**{**config, "cells": [registry.rebuild(cell) for cell in config["cells"]]})


def output_size_of(cell: Layer) -> int:
    """Return the size of a cell's output: what it says, or that of its first state.

    Parameters
    ----------
    cell
        The cell.
    """
    found = getattr(cell, "output_size", None)
    return int(flat(_sizes(cell))[0] if found is None else found)


def start_of(cell: Layer, rows: int | None) -> Any:
    """Return the states that a cell begins with: what it says, or zeros.

    Parameters
    ----------
    cell
        The cell.
    rows
        B.
    """
    if hasattr(cell, "get_initial_state"):
        return cell.get_initial_state(batch_size=rows)
    return nested(cell.state_size, lambda size: np.zeros((rows or 1, size), cell.dtype))


class RNN(Recurring):
    """Take a cell from step to step.

    Parameters
    ----------
    cell
        `LSTMCell`, `GRUCell`, `SimpleRNNCell`, a layer of your own with ``call(inputs, states)``, which returns the
        output (B, H) and a list of new states, and ``state_size``; or a list of such, one above the other.
    **options
        See `Recurring`.

    Notes
    -----
    A cell of your own takes Python's time at each step; fastseq's run as the fused layers LSTM, GRU, SimpleRNN.
    """

    cell: Layer

    def __init__(self, cell: Any, **options: Any) -> None:
        super().__init__(**options)
        self.cell = StackedRNNCells(cell) if isinstance(cell, (list, tuple)) else _checked("cell", cell)

    @property
    def state_sizes(self) -> list[Any]:
        """The states' sizes, see `Recurring.state_sizes`."""
        return _sizes(self.cell)

    @property
    def output_size(self) -> int:
        """H, the size of the output."""
        return output_size_of(self.cell)

    def build(self, input_shape: Any) -> None:
        """Build the cell, see `Layer.build`."""
        if len(input_shape) != 3:
            raise checks.value_error(f"{self.name}: input shape", "(rows, steps, features)", f"{input_shape}")
        self.cell.build_from((input_shape[0], input_shape[2]))
        self.remember_zeros(input_shape[0])

    def run(
        self, x: Tensor, states: list[Tensor] | None, steps: ValidSteps | None, sequences: bool, zeros: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the output, and the final states, see `Recurring.run`."""
        cells = self.cell.cells if type(self.cell) is StackedRNNCells else [self.cell]
        if not all(isinstance(cell, Cell) for cell in cells):
            return self._loop(x, states, steps, sequences, zeros)
        final: list[Tensor] = []
        for number, cell in enumerate(cells):
            count, last = cell.layer.state_count, number == len(cells) - 1
            own = None if states is None else states[len(final) : len(final) + count]
            x, new = cell.layer.run(x, own, steps, sequences or not last, zeros)
            final += new
        return x, final

    def _loop(
        self, x: Tensor, states: list[Tensor] | None, steps: ValidSteps | None, sequences: bool, zeros: bool
    ) -> tuple[Tensor, list[Tensor]]:
        rows, zero = x.shape[0], self.dtype.type(0)
        now = [self._value(state) for state in flat(start_of(self.cell, rows))] if states is None else states
        out: Any = Tensor(np.zeros((rows, self.output_size), self.dtype))
        outputs: list[Any] = []
        if steps is not None:
            x = ops.where(steps.mask[:, :, None], x, zero)  # what does not count is never read
        for t in range(x.shape[1]):
            found, new = self.cell(ops.getitem(x, (slice(None), t)), self.arranged(now))
            new = flat(new)
            if steps is not None and not steps.mask[:, t].all():
                valid = steps.mask[:, t, None]
                new = [ops.where(valid, one, old) for one, old in zip(new, now, strict=True)]
                found = ops.where(valid, found, zero if zeros else out)
            now, out = new, found
            outputs.append(out)
        if not sequences:
            return out, now
        empty = np.zeros((rows, 0, self.output_size), self.dtype)
        return ops.stack(outputs, 1) if outputs else Tensor(empty), now

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, see `Layer.get_config`."""
        return {**super().get_config(), "cell": registry.describe(self.cell)}

    @classmethod
    def from_config(cls, config: Any) -> RNN:
        """Build a layer from what ``get_config`` returned, see `Layer.from_config`."""
        return cls(**{**config, "cell": registry.rebuild(config["cell"])})
