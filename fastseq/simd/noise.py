"""Dropout without stored masks: whether an element is dropped follows from its number and two keys.

The number goes through a keyed hash of 32 bits, twice: the rounds are those of C. Wellons, "Prospecting for Hash
Functions" (2018), ``triple32`` and ``lowbias32``, whose bias per output bit is below 0.03 %. Integers are exact, so
that every processor, thread and pass, forwards or backwards, finds the same elements, in float32 and in float64.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastseq.simd.lanes import I32

ROUNDS = ((17, 0xED5AD4BB), (11, 0xAC4C1B51), (15, 0x31848BAB)), ((16, 0x7FEB352D), (15, 0x846CA68B))
LAST_SHIFTS = 14, 16
SPACING = 0x9E3779B1


@intrinsic
def thinned(typing_context, vector, number, keys, threshold, scale):
    """Return a vector times ``scale``, zeros where it is dropped.

    Lane j is element ``number`` + j; it is dropped if its hash under the pair ``keys`` is less than ``threshold``.
    """
    kind = vector

    def codegen(context, builder, signature, arguments):
        vector, number, keys, threshold, scale = arguments
        wide = ir.VectorType(I32, kind.count)

        def whole(value):
            nothing = ir.Constant(wide, ir.Undefined)
            first = builder.insert_element(nothing, builder.trunc(value, I32), ir.Constant(I32, 0))
            return builder.shuffle_vector(first, nothing, ir.Constant(wide, [0] * kind.count))

        def constant(value):
            return ir.Constant(wide, [value] * kind.count)

        found = builder.add(whole(number), ir.Constant(wide, list(range(kind.count))))
        found = builder.add(builder.mul(found, constant(SPACING)), whole(builder.extract_value(keys, 0)))
        for stage, rounds in enumerate(ROUNDS):
            if stage:
                found = builder.xor(found, whole(builder.extract_value(keys, 1)))
            for shift, factor in rounds:
                found = builder.xor(found, builder.lshr(found, constant(shift)))
                found = builder.mul(found, constant(factor))
            found = builder.xor(found, builder.lshr(found, constant(LAST_SHIFTS[stage])))
        dropped = builder.icmp_unsigned("<", found, whole(threshold))
        first = builder.insert_element(ir.Constant(kind.vector_ir, ir.Undefined), scale, ir.Constant(I32, 0))
        scales = builder.shuffle_vector(
            first, ir.Constant(kind.vector_ir, ir.Undefined), ir.Constant(wide, [0] * kind.count)
        )
        return builder.select(dropped, kind.constant(0.0), builder.fmul(vector, scales))

    pair = types.UniTuple(types.int64, 2)  # type: ignore[attr-defined]
    return kind(kind, types.int64, pair, types.int64, kind.real), codegen
