"""The tape: nodes that remember how to send gradients back, and the loop that does so.

A node knows its *edges*: where each of its inputs came from (another node and the number of its output, or a
leaf tensor). It never refers to its own outputs, so a graph has no reference cycles and dies with the last
tensor that needs it. Nodes are numbered as they are made; a node is always younger than those it depends on, so
taking the youngest waiting node first is a topological order, without recursion.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
Pullback: TypeAlias = Callable[[Array], Array]

next_number = itertools.count(1).__next__


class Node:
    """One recorded operation.

    A *simple* node has one output; each edge is ``(target, output of target, pullback)``, where the pullback
    maps the output's gradient to the input's (None: the gradient passes unchanged).
    A *joint* node has ``outputs`` > 0 outputs and one function ``backward`` from all their gradients to all input
    gradients; each edge is ``(target, output of target, position among the inputs)``.

    ``fresh`` says that a joint node's ``backward`` gives its results away: leaves keep them instead of copies.
    ``guards`` pairs version counters with their values at recording: a write to a saved array is noticed.
    """

    __slots__ = ("number", "edges", "backward", "outputs", "guards", "fresh")

    number: int
    edges: list[tuple[Any, int, Any]] | None
    backward: Callable[..., Any] | None
    outputs: int
    guards: list[tuple[list[int], int]]
    fresh: bool


def run_backward(root: Node, index: int, gradient: Array) -> None:
    """Send a gradient back through the graph under ``root`` and add the results to the leaves; free the graph.

    Parameters
    ----------
    root
        The node to start from.
    index
        Which of its outputs the gradient belongs to.
    gradient
        The gradient of that output; never written to.

    Raises
    ------
    RuntimeError
        If a node was freed by an earlier pass, or an array that it saved was changed in place.
    """
    waiting: dict[Node, Any] = {}
    owned: set[tuple[Node, int]] = set()  # sums made here, which further terms may be added to in place
    heap: list[tuple[int, Node]] = []

    def deliver(node: Node, index: int, gradient: Array) -> None:
        count = node.outputs
        former = waiting.get(node)
        if former is None:
            if count:
                former = [None] * count
                former[index] = gradient
                waiting[node] = former
            else:
                waiting[node] = gradient
            heappush(heap, (-node.number, node))
            return
        present = former[index] if count else former
        if present is None:
            total = gradient
        elif (node, index) in owned:
            present += gradient
            total = present
        else:
            # Gradients may be shared between edges, so the first sum goes to a new array.
            total = present + gradient
            owned.add((node, index))
        if count:
            former[index] = total
        else:
            waiting[node] = total

    with np.errstate(all="ignore"):  # NaN and infinity flow through gradients without a warning per node
        deliver(root, index, gradient)
        _drain(heap, waiting, deliver)


def _drain(heap: list[tuple[int, Node]], waiting: dict[Node, Any], deliver: Callable[[Node, int, Any], None]) -> None:
    """Run the waiting nodes, youngest first, until none is left."""
    while heap:
        node = heappop(heap)[1]
        received = waiting.pop(node)
        edges = node.edges
        if edges is None:
            raise RuntimeError(
                "backward: expected a graph that is still there, got one that an earlier backward() has freed; "
                "run the forward pass again"
            )
        for version, number in node.guards:
            if version[0] != number:
                raise RuntimeError(
                    "backward: expected arrays saved by the forward pass to be unchanged, got one changed in place "
                    f"(version {version[0]}, saved at {number})"
                )
        backward = node.backward
        node.edges = node.backward = None  # what the node saved is released as soon as it has been used
        if backward is None:
            for target, output, pullback in edges:
                part = received if pullback is None else pullback(received)
                if type(target) is Node:
                    deliver(target, output, part)
                else:
                    target._accumulate(part)
        else:
            parts, fresh = backward(tuple(received)), node.fresh
            for target, output, position in edges:
                part = parts[position]
                if part is None:
                    continue
                if type(target) is Node:
                    deliver(target, output, part)
                else:
                    target._accumulate(part, fresh)
