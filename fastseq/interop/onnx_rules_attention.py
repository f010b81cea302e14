"""How attention made of basic operators is read: projections, heads, scaled products, masks, softmax."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from fastseq import nn
from fastseq.interop.onnx_reader import Reading
from fastseq.interop.onnx_rules import apply
from fastseq.interop.onnx_values import Array, Flow, Heads, Known, Projection, Scores

HIDDEN = -1e9
"""What is at most added to a product, or stands in its place, where a key is hidden."""


def divided(reading: Reading, flow: Flow, target: tuple[int, ...]) -> Heads:
    """Return a weighted sum of features, divided into heads.

    Parameters
    ----------
    reading
        The pass.
    flow
        (B, T, F) behind a Linear layer.
    target
        (B, T, N, K)
    """
    rows, steps, heads, inner = target
    if flow.axes != "BTF" or (rows, steps) != flow.sizes[:2] or heads * inner != flow.size("F"):
        reading.fail("features (B, T, F) divided into heads (B, T, N, K)", f"{flow.axes} {flow.sizes} to {target}")
    layer = flow.step.module if flow.step is not None else None
    if flow.step is None or not isinstance(layer, nn.Linear):
        reading.fail("heads of a weighted sum of the features", "something else")
    bias = None if layer.bias is None else layer.bias.numpy()
    source = replace(flow, step=flow.step.before, sizes=(rows, steps, layer.in_features), stage="", detail=None)
    return Heads(source, (Projection(layer.weight.numpy(), bias),), "BTNK", target)


def joined(reading: Reading, heads: Heads, target: tuple[int, ...]) -> Heads:
    """Return what heads found, put behind one another.

    Parameters
    ----------
    reading
        The pass.
    heads
        (B, T, N, K)
    target
        (B, T, N * K)
    """
    rows, steps, count, inner = heads.sizes
    if heads.axes != "BTNK" or target != (rows, steps, count * inner) or len(heads.parts) != 3:
        reading.fail("what the heads found, (B, T, N, K), joined", f"{heads.axes} {heads.sizes} to {target}")
    return replace(heads, axes="BTF", sizes=(*target[:2], count, inner))


def attended(reading: Reading, operator: str, value: Heads | Scores, known: Any) -> Heads | Scores:
    """Return heads or products that are scaled, or products that a mask is added to.

    Parameters
    ----------
    reading
        The pass.
    operator
        Add, Sub, Mul or Div.
    value
        Heads or products.
    known
        The other operand.
    """
    if isinstance(known, Known) and isinstance(value, Scores) and operator == "Add" and not value.normal:
        numbers = known.values
        if ((numbers == 0) | (numbers <= HIDDEN)).all():
            return hidden_scores(reading, value, numbers == 0, -np.inf)
    elif isinstance(known, Known) and known.values.size == 1 and operator in ("Mul", "Div"):
        number = float(known.values.reshape(()))
        open_ = not value.normal if isinstance(value, Scores) else len(value.parts) == 1
        if open_ and math.isfinite(number) and number > 0:
            return replace(value, scale=value.scale * (number if operator == "Mul" else 1 / number))
    reading.fail("products of queries and keys times a number > 0, or plus a mask", "other operands")


def hidden_scores(reading: Reading, scores: Scores, mask: Array, fill: float) -> Scores:
    """Return products of which some are hidden.

    Parameters
    ----------
    reading
        The pass.
    scores
        The products, (B, N, T, T).
    mask
        True for those that stay.
    fill
        What stands in place of the others.
    """
    probe = reading.masks.probe
    before = np.tri(probe.steps, dtype=bool)[None, None]
    valid = reading.masks.valid()[:, None, None]
    every = np.ones((1, 1, 1, 1), bool)
    if fill <= HIDDEN and not scores.normal:
        for causal in (False, True):
            for uses in (False, True):
                wanted = np.broadcast_to((before if causal else every) & (valid if uses else every), scores.sizes)
                try:
                    same = np.array_equal(np.broadcast_to(mask, scores.sizes), wanted)
                except ValueError:
                    same = False
                if same:
                    return replace(scores, causal=scores.causal or causal, uses=scores.uses or uses)
    reading.fail("keys hidden past the lengths, or after the query, with minus infinity", f"another mask, or {fill}")


def products(reading: Reading, one: Heads | Scores, other: Any) -> Any:
    """Return products of queries and keys, what heads find with their values, or the finished layer.

    Parameters
    ----------
    reading
        The pass.
    one, other
        The operands of a MatMul.
    """
    if isinstance(one, Scores):
        fits = one.normal and isinstance(other, Heads) and other.axes == "BNTK" and len(other.parts) == 1
        if not fits or other.source.step is not one.source.step or other.scale != 1:
            reading.fail("softmax of products times values of the same sequence", "other operands")
        parts = (*one.parts, *other.parts)
        return Heads(one.source, parts, "BNTK", other.sizes, one.scale, one.causal, one.uses)
    if len(one.parts) == 1:
        if not isinstance(other, Heads) or (one.axes, other.axes) != ("BNTK", "BNKT") or len(other.parts) != 1:
            reading.fail("queries (B, N, T, K) times keys (B, N, K, T)", f"{one.axes} and another value")
        if one.source.step is not other.source.step or one.sizes[1] != other.sizes[1] or one.sizes[3] != other.sizes[2]:
            reading.fail("queries and keys of the same sequence, in the same heads", "others")
        sizes = (*one.sizes[:3], other.sizes[3])
        return Scores(one.source, (*one.parts, *other.parts), sizes, one.scale * other.scale)
    weight = reading.constant("B", other, 2)
    return _layer(reading, one, np.ascontiguousarray(weight.T))


def _layer(reading: Reading, found: Heads, out: Array) -> Flow:
    """Return the flow behind attention; a bias may follow."""
    rows, steps, heads, inner = found.sizes
    size, features = heads * inner, found.source.size("F")
    if found.axes != "BTF" or out.shape != (size, size) or any(p.weight.shape != (size, size) for p in found.parts):
        reading.fail(f"square weights for {features} features in {heads} heads", f"{out.T.shape}")
    factor = found.scale * math.sqrt(inner)  # the layer itself divides by the root
    queries, keys, values = found.parts
    if not math.isclose(factor, 1.0, rel_tol=1e-6):
        queries = Projection(*(None if a is None else (a * factor).astype(a.dtype) for a in queries))  # type: ignore[arg-type]
    parts = (queries, keys, values)
    bias = any(part.bias is not None for part in parts)
    kind = out.dtype
    layer = nn.MultiheadAttention(
        size, heads, bias=bias, batch_first=not reading.time_first, causal=found.causal, dtype=kind
    )
    state = {"in_proj_weight": np.concatenate([part.weight for part in parts]), "out_proj.weight": out}
    if bias:
        given = [np.zeros(size, kind) if part.bias is None else part.bias for part in parts]
        state |= {"in_proj_bias": np.concatenate(given), "out_proj.bias": np.zeros(size, kind)}
    layer.load_state_dict(state)
    return apply(reading, found.source, layer, uses=found.uses, weights="no bias")
