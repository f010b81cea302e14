"""What a cell is, for the drivers: a NamedTuple type that carries a `CellSpec`, and the functions resolved by it.

A cell's module defines its weights type, with the specification as the attribute ``spec``, and registers its two
functions with `define`. Drivers call `step` and `step_backward` with any weights; Numba finds the cell's own by the
type of the weights while it compiles, so a driver names no cell and is cached like any other kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from numba.extending import overload

from fastseq.jit import PIECE, shared

TILE_VECTORS = 4
"""Vectors of a row of slots that a product does at a time: cells with fewer slots get several blocks of units."""


PROJECTED = 99
"""In place of a slot's number: the second product is h."""


class Shape(NamedTuple):
    """What drivers know of a cell: numbers only, constants while a driver is compiled.

    Slots that take a product with the input stand side by side, ``input_slots`` of them from ``input_first`` on; those
    that take one with h likewise. ``group`` is the number of blocks of units whose slots stand in one panel,
    ``vectors`` that of further weights which each unit has. A second product in a step is a part of slot
    ``second_slot``, or h itself if that is `PROJECTED`; there is none if it is -1. ``standards`` is the number of runs
    of slots that are standardised, ``early`` 1 for a cell whose step has two parts.
    """

    slots: int
    memories: int
    input_first: int
    input_slots: int
    state_first: int
    state_slots: int
    group: int
    vectors: int
    second_slot: int
    standards: int
    early: int


class CellSpec(NamedTuple):
    """The shape of a cell's computation.

    ``slots`` names the pre-activation blocks; ``memories`` names the states beside h, which are carried along but take
    no part in products. ``inputs`` and ``recurrent`` name the slots that take a product with the input and one with h,
    in the order of the rows of these matrices; each is a run of neighbouring slots in any order, all of them (in the
    order of ``slots``) if None. ``vectors`` names parameters with one number per unit, which the cell reads.

    ``second`` names what takes a second product, with one number of each unit that the step makes when its slots are
    there. It is a slot (made by the cell's `operand`; the slot's rows are the last of h's matrix, whose rows are in the
    order of the input's), or "h", which then is this product with what `step` returns for h.

    ``standardized`` are runs of neighbouring slots which are brought to mean 0 and variance 1, over all units of a row
    and all slots of the run, before the cell sees them. A last run of one slot without a product is made of the other
    slots by the cell's `made` before that. A name that ``vectors`` repeats is one parameter of so many blocks.

    ``early`` says that the step is in two parts, too: `activate` makes what depends on the slots alone, `complete` the
    rest. Done for some rows after one another, the chains of operations that wait for one another are half as long, and
    the processor has twice as many of them in flight.
    """

    slots: tuple[str, ...]
    memories: tuple[str, ...] = ()
    inputs: tuple[str, ...] | None = None
    recurrent: tuple[str, ...] | None = None
    vectors: tuple[str, ...] = ()
    second: str = ""
    standardized: tuple[tuple[str, ...], ...] = ()
    early: bool = False

    @property
    def input_rows(self) -> tuple[str, ...]:
        """The slots that take a product with the input, as the matrix' rows are ordered."""
        return self.slots if self.inputs is None else self.inputs

    @property
    def state_rows(self) -> tuple[str, ...]:
        """The slots that have rows in h's matrix, as these are ordered: that of the second product stands last."""
        return (*self.own_rows, self.second) if self.second in self.slots else self.own_rows

    @property
    def own_rows(self) -> tuple[str, ...]:
        """The slots that take a product with h itself."""
        return self.slots if self.recurrent is None else self.recurrent

    @property
    def projects(self) -> bool:
        """Whether h is a product, and so may have another size than the memories."""
        return self.second == "h"

    @property
    def waits(self) -> bool:
        """Whether a row's units are finished together, when the slots of all of them are there."""
        return bool(self.second or self.standardized)

    @property
    def runs(self) -> tuple[tuple[int, int], ...]:
        """First slot and number of slots of each standardised run."""
        return tuple((self.slots.index(run[0]), len(run)) for run in self.standardized)

    @property
    def shape(self) -> Shape:
        """What drivers know of the cell."""
        count = len(self.slots)
        firsts = [min(map(self.slots.index, rows), default=0) for rows in (self.input_rows, self.own_rows)]
        whole = all(len(rows) in (0, count) for rows in (self.input_rows, self.own_rows))
        second = PROJECTED if self.projects else self.slots.index(self.second) if self.second else -1
        return Shape(
            count, len(self.memories), firsts[0], len(self.input_rows), firsts[1], len(self.own_rows),
            max(1, TILE_VECTORS // count) if whole and not self.vectors and not self.waits else 1, len(self.vectors),
            second, len(self.standardized), int(self.early),
        )  # fmt: skip

    @property
    def order(self) -> tuple[int, ...]:
        """For each slot, which block of rows of the input's matrix is its own, then of h's; -1 for none."""
        return tuple(
            rows.index(slot) if slot in rows else -1 for rows in (self.input_rows, self.own_rows) for slot in self.slots
        )


_cells: dict[type, dict[str, Callable[..., Any]]] = {}


def all_cells() -> list[type]:
    """Return the weights types of all cells that have been imported."""
    return list(_cells)


def define(
    weights: Any,
    step: Callable[..., Any],
    step_backward: Callable[..., Any],
    operand: Callable[..., Any] | None = None,
    operand_backward: Callable[..., Any] | None = None,
    made: Callable[..., Any] | None = None,
    made_backward: Callable[..., Any] | None = None,
    activate: Callable[..., Any] | None = None,
    complete: Callable[..., Any] | None = None,
) -> None:
    """Register a cell's functions under its weights type: `step` and `step_backward`.

    A cell without vectors leaves them out: of the arguments, and of what ``step_backward`` returns. One whose second
    product is a part of a slot also has `operand` and `operand_backward`; one that standardises, `made` and
    `made_backward`; one whose step is in two parts, `activate` and `complete`, and no vectors.
    """
    spec: CellSpec = weights.spec
    assert (activate is None) == (complete is None) == (not spec.early)
    assert not (spec.early and (spec.vectors or spec.waits))
    assert (operand is None) == (operand_backward is None) == (spec.second not in spec.slots)
    assert (made is None) == (made_backward is None) == (not spec.standardized)
    assert spec.second not in spec.slots or spec.state_rows == spec.input_rows
    step, step_backward = shared(step), shared(step_backward)
    rest = step if complete is None else shared(complete)
    if not spec.vectors:
        step, rest, step_backward = _without_vectors(weights.__name__, step, rest, step_backward)
    _cells[weights] = {
        "step": step,
        "complete": rest,
        "step_backward": step_backward,
        "vector_pattern": _constant(f"{weights.__name__}_vectors", (0,) * len(spec.vectors)),
        "slot_pattern": _constant(f"{weights.__name__}_slots", (0,) * len(spec.slots)),
        "memory_pattern": _constant(f"{weights.__name__}_memories", (0,) * len(spec.memories)),
        "shape_of": _constant(f"{weights.__name__}_shape", spec.shape),
    }
    if activate is not None:
        _cells[weights]["activate"] = shared(activate)
    if operand is not None and operand_backward is not None:
        _cells[weights] |= {"operand": shared(operand), "operand_backward": shared(operand_backward)}
    if made is not None and made_backward is not None:
        _cells[weights] |= {"made": shared(made), "made_backward": shared(made_backward)}
        _cells[weights]["runs_of"] = _constant(f"{weights.__name__}_runs", spec.runs)


def stage(wanted: Callable[[CellSpec], bool]) -> Callable[[Any], Any]:
    """Let drivers call a function whose first argument is the weights: compiled where the cell wants it, else nothing.

    Parameters
    ----------
    wanted
        Whether a specification wants it.

    Returns
    -------
    callable
        The decorator. What it is applied to returns nothing.
    """

    def put(function: Any) -> Any:
        def nothing(*arguments):
            return None

        nothing.__name__ = nothing.__qualname__ = f"no_{function.__name__}"

        @overload(function, jit_options=PIECE, strict=False)
        def choose(weights, *arguments):
            return function if wanted(weights.instance_class.spec) else nothing

        return function

    return put


def _constant(name: str, value: Any) -> Callable[..., Any]:
    """Return a function of the weights that is constant; its name is its own, see `fastseq.jit`."""

    def constant(weights):
        return value

    constant.__name__ = constant.__qualname__ = name
    return constant


def _without_vectors(name: str, step: Any, complete: Any, step_backward: Any) -> tuple[Any, Any, Any]:
    """Return the functions of a cell without vectors as drivers call them."""

    def forth(weights, slots, h, memory, vectors):
        return step(weights, slots, h, memory)

    def rest(weights, slots, h, memory, vectors):
        return complete(weights, slots, h, memory)

    def back(weights, gates, h, memory, d_h, d_memory, vectors):
        d_slots, d_before, d_memory_before = step_backward(weights, gates, h, memory, d_h, d_memory)
        return d_slots, d_before, d_memory_before, ()

    for function in (forth, rest, back):
        function.__name__ = function.__qualname__ = f"{name}_{function.__name__}"
    return shared(forth), shared(rest), shared(back)


def _by_weights(function: Any) -> Any:
    """Let drivers call a function of the weights: they get what the cell has under its name."""

    @overload(function, jit_options=PIECE, strict=False)
    def choose(weights, *arguments):
        return _cells.get(getattr(weights, "instance_class", type(weights)), {}).get(function.__name__)

    return function


@_by_weights
def step(weights, slots, h, memory, vectors=()):
    """Advance one step.

    Parameters
    ----------
    weights
        The cell's weights; their type says which cell.
    slots
        Tuple of S pre-activations.
    h
        State h before the step.
    memory
        Tuple of the other states before the step.
    vectors
        Tuple of the parameters with one number per unit.

    Returns
    -------
    tuple
        Gates (tuple of S), h after the step, the other states after the step (tuple).
    """
    return _cells[type(weights)]["step"](weights, slots, h, memory, vectors)


@_by_weights
def activate(weights, slots):
    """Return slots with those gates in their places that nothing else decides: the first part of an early cell's step.

    Parameters
    ----------
    weights
        The cell's weights; their type says which cell.
    slots
        Tuple of S pre-activations.
    """
    return _cells[type(weights)]["activate"](weights, slots)


@_by_weights
def complete(weights, slots, h, memory, vectors=()):
    """Advance one step from what `activate` returned; of a cell that is not early: `step`.

    Parameters
    ----------
    weights
        The cell's weights; their type says which cell.
    slots
        Tuple of S.
    h
        State h before the step.
    memory
        Tuple of the other states before the step.
    vectors
        Tuple of the parameters with one number per unit.

    Returns
    -------
    tuple
        As from `step`.
    """
    return _cells[type(weights)]["complete"](weights, slots, h, memory, vectors)


@_by_weights
def step_backward(weights, gates, h, memory, d_h, d_memory, vectors=()):
    """Go back one step.

    Parameters
    ----------
    weights
        The cell's weights; their type says which cell.
    gates
        Tuple of S gates that `step` returned.
    h
        State h before the step.
    memory
        Tuple of the other states before the step.
    d_h
        Gradient of h after the step.
    d_memory
        Tuple of the gradients of the other states after the step.
    vectors
        Tuple of the parameters with one number per unit.

    Returns
    -------
    tuple
        Gradients of the slots (tuple of S), of h before the step as far as it does not pass through the slots, of the
        other states before the step (tuple), and of the vectors (tuple), this step's part of them.
    """
    return _cells[type(weights)]["step_backward"](weights, gates, h, memory, d_h, d_memory, vectors)


@_by_weights
def operand(weights, slots, h):
    """Return what takes part in the second product.

    Parameters
    ----------
    weights
        The cell's weights; their type says which cell.
    slots
        Tuple of S pre-activations, that of the second product not finished.
    h
        State h before the step.
    """
    return _cells[type(weights)]["operand"](weights, slots, h)


@_by_weights
def operand_backward(weights, d_slots, h, d_operand):
    """Go back through `operand`.

    Parameters
    ----------
    weights
        The cell's weights; their type says which cell.
    d_slots
        Tuple of S, as `step_backward` returned it: in the place of a slot that `operand` depends on it may have left
        something else for this function.
    h
        State h before the step.
    d_operand
        Gradient of the operand.

    Returns
    -------
    tuple
        Gradients of the slots (tuple of S), and this part of that of h.
    """
    return _cells[type(weights)]["operand_backward"](weights, d_slots, h, d_operand)


@_by_weights
def made(weights, slots, memory, vectors):
    """Return the last slot of a cell that standardises, before it is standardised.

    Parameters
    ----------
    weights
        The cell's weights; their type says which cell.
    slots
        Tuple of S, the others standardised.
    memory
        Tuple of the other states before the step.
    vectors
        Tuple of the parameters with one number per unit.
    """
    return _cells[type(weights)]["made"](weights, slots, memory, vectors)


@_by_weights
def made_backward(weights, gates, d_slots, memory, d_memory, vectors, d_vectors):
    """Go back through `made`, behind `step_backward`.

    Parameters
    ----------
    weights
        The cell's weights; their type says which cell.
    gates
        Tuple of S gates that `step` returned: for such a cell the slots as it was given them.
    d_slots
        Gradients of the slots from `step_backward` (tuple of S), the last one that of what `made` returned.
    memory
        Tuple of the other states before the step.
    d_memory
        Tuple of what `step_backward` returned for them.
    vectors
        Tuple of the parameters with one number per unit.
    d_vectors
        Their gradients from `step_backward` (tuple).

    Returns
    -------
    tuple
        Gradients of the slots (tuple of S), of the other states before the step (tuple), and of the vectors (tuple).
    """
    return _cells[type(weights)]["made_backward"](weights, gates, d_slots, memory, d_memory, vectors, d_vectors)


@_by_weights
def runs_of(weights):
    """Return the standardised runs: a tuple of first slots and numbers of slots."""
    return _cells[type(weights)]["runs_of"](weights)


@_by_weights
def slot_pattern(weights):
    """Return a tuple with as many entries as the cell has slots."""
    return _cells[type(weights)]["slot_pattern"](weights)


@_by_weights
def memory_pattern(weights):
    """Return a tuple with as many entries as the cell has states beside h."""
    return _cells[type(weights)]["memory_pattern"](weights)


@_by_weights
def vector_pattern(weights):
    """Return a tuple with as many entries as the cell has vectors."""
    return _cells[type(weights)]["vector_pattern"](weights)


@_by_weights
def shape_of(weights):
    """Return the cell's `Shape`."""
    return _cells[type(weights)]["shape_of"](weights)
