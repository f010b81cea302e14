"""Sums and maxima within a vector, in one fixed order: halves are combined until one lane is left.

The tree is spelled out, so that no compiler or processor picks another: a row's sum is made of L running sums, element
e in number e mod L, and this tree. Zeros behind a row's end change none of them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastseq.simd.lanes import I32, I64, Lanes, spread


def _fold(builder: ir.IRBuilder, kind: Lanes, vector: Any, combine: Any) -> Any:
    """Combine the upper half with the lower one until one element is left."""
    count = kind.count
    while count > 1:
        half = count // 2
        nothing = ir.Constant(vector.type, ir.Undefined)
        wide = ir.VectorType(I32, half)
        low = builder.shuffle_vector(vector, nothing, ir.Constant(wide, list(range(half))))
        high = builder.shuffle_vector(vector, nothing, ir.Constant(wide, list(range(half, count))))
        vector, count = combine(low, high), half
    return builder.extract_element(vector, ir.Constant(I32, 0))


@intrinsic
def total(typing_context, vector):
    """Return the sum of the lanes."""
    kind = vector

    def codegen(context, builder, signature, arguments):
        return _fold(builder, kind, arguments[0], lambda a, b: builder.fadd(a, b))

    return kind.real(kind), codegen


@intrinsic
def largest(typing_context, vector):
    """Return the largest lane; lanes that are NaN are passed over where another one is not."""
    kind = vector

    def codegen(context, builder, signature, arguments):
        def larger(a, b):
            return builder.select(builder.fcmp_unordered("<=", b, a), a, b)

        return _fold(builder, kind, arguments[0], larger)

    return kind.real(kind), codegen


@intrinsic
def head_or(typing_context, vector, count, fill):
    """Return the first ``count`` lanes, and ``fill`` in the others."""
    kind = vector

    def codegen(context, builder, signature, arguments):
        vector, count, fill = arguments
        wide = ir.VectorType(I64, kind.count)
        nothing = ir.Constant(wide, ir.Undefined)
        first = builder.insert_element(nothing, count, ir.Constant(I32, 0))
        counts = builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count))
        inside = builder.icmp_signed("<", ir.Constant(wide, list(range(kind.count))), counts)
        other = spread(builder, kind, context.cast(builder, fill, signature.args[2], kind.real))
        return builder.select(inside, vector, other)

    return kind(kind, types.intp, types.float64), codegen


@intrinsic
def moved(typing_context, memory, count):
    """Return the pointer that is ``count`` elements further on."""

    def codegen(context, builder, signature, arguments):
        return builder.gep(arguments[0], [arguments[1]])

    return memory(memory, types.intp), codegen
