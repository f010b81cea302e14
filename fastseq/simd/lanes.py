"""A SIMD vector as a Numba type, and the operations on it.

A *lane* is one element of a vector of 64 bytes: 16 of float32, 8 of float64. That width is the same on every
machine: LLVM makes one zmm, two ymm or four NEON registers of it, and since no operation here mixes lanes, the result
is the same to the bit. Every operation also works on Python floats and ndarrays (a few roundings apart, since NumPy
has no fused multiply-add), so that what is written with them can be read, run and tested as plain NumPy.

Contract of loads and stores: offsets count elements, not lanes; no alignment is asked for (aligned is faster); exactly
the named elements are touched; bounds are the caller's affair.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba.core import cgutils, config, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

VECTOR_BYTES = 64
LANES = {np.dtype(np.float32): 16, np.dtype(np.float64): 8}
I32, I64 = ir.IntType(32), ir.IntType(64)


def cpu_features() -> frozenset[str]:
    """Return the CPU features that code is generated for: the host's, or what NUMBA_CPU_FEATURES says."""
    if config.CPU_FEATURES is not None:
        return frozenset(word[1:] for word in config.CPU_FEATURES.split(",") if word.startswith("+"))
    if config.CPU_NAME == "generic":
        return frozenset()
    return frozenset(name for name, present in binding.get_host_cpu_features().items() if present)


class Lanes(types.Type):
    """The type of a vector of ``count`` elements of a real type."""

    def __init__(self, real: types.Float) -> None:
        self.real = real
        self.count = VECTOR_BYTES * 8 // real.bitwidth
        super().__init__(name=f"f{real.bitwidth}x{self.count}")

    @property
    def scalar_ir(self) -> ir.Type:
        """The LLVM type of one lane."""
        return ir.FloatType() if self.real.bitwidth == 32 else ir.DoubleType()

    @property
    def vector_ir(self) -> ir.VectorType:
        """The LLVM type of the whole vector."""
        return ir.VectorType(self.scalar_ir, self.count)

    @property
    def integers_ir(self) -> ir.VectorType:
        """The LLVM type of a vector of integers as wide as the lanes."""
        return ir.VectorType(ir.IntType(self.real.bitwidth), self.count)

    def constant(self, value: float) -> ir.Constant:
        """Return a vector with the same constant in every lane."""
        rounded = float(np.float32(value)) if self.real.bitwidth == 32 else float(value)
        return ir.Constant(self.vector_ir, [rounded] * self.count)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, kind.vector_ir)


FLOAT32, FLOAT64 = Lanes(types.float32), Lanes(types.float64)


class Pointer(types.Type):
    """The address of a flat array's first element: one machine word, and no reference counts in inner loops."""

    def __init__(self, dtype: types.Number) -> None:
        self.dtype = dtype
        super().__init__(name=f"pointer_{dtype}")


@register_model(Pointer)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Pointer) -> None:
        super().__init__(manager, kind, manager.lookup(kind.dtype).get_data_type().as_pointer())


@intrinsic
def address(typing_context, array):
    """Return the pointer to a flat array's elements; the array must stay alive as long as it is used."""

    def codegen(context, builder, signature, arguments):
        return context.make_array(signature.args[0])(context, builder, arguments[0]).data

    return Pointer(array.dtype)(array), codegen


@intrinsic
def reals_at(typing_context, number, like):
    """Return the pointer to the reals at an address, of the element type of ``like`` (an array or pointer)."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return Pointer(like.dtype)(types.int64, like), codegen


@intrinsic
def integers_at(typing_context, number):
    """Return the pointer to the int64 numbers at an address."""

    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return Pointer(types.int64)(types.int64), codegen


@type_callable(operator.getitem)
def _type_getitem(context):
    def typer(pointer, index):
        return pointer.dtype if isinstance(pointer, Pointer) and isinstance(index, types.Integer) else None

    return typer


@lower_builtin(operator.getitem, Pointer, types.Integer)
def _getitem(context, builder, signature, arguments):
    return builder.load(builder.gep(arguments[0], [context.cast(builder, arguments[1], signature.args[1], types.intp)]))


@type_callable(operator.setitem)
def _type_setitem(context):
    def typer(pointer, index, value):
        fits = isinstance(pointer, Pointer) and isinstance(index, types.Integer) and isinstance(value, types.Number)
        return types.void(pointer, index, pointer.dtype) if fits else None

    return typer


@lower_builtin(operator.setitem, Pointer, types.Integer, types.Number)
def _setitem(context, builder, signature, arguments):
    pointer, index, value = arguments
    place = builder.gep(pointer, [context.cast(builder, index, signature.args[1], types.intp)])
    builder.store(context.cast(builder, value, signature.args[2], signature.args[0].dtype), place)


def lanes_of(memory: Any) -> Lanes:
    """Return the lanes type of an array or pointer type of reals."""
    return FLOAT32 if memory.dtype == types.float32 else FLOAT64


# ---- LLVM pieces, used by the tiles in gemm.py too ------------------------------------------------------------


def pointer(context: Any, builder: ir.IRBuilder, kind: types.Type, memory: Any, offset: Any) -> Any:
    """Return the address of an element of a flat array or behind a pointer."""
    base = memory if isinstance(kind, Pointer) else context.make_array(kind)(context, builder, memory).data
    return builder.gep(base, [offset])


def load_vector(builder: ir.IRBuilder, kind: Lanes, address: Any) -> Any:
    """Load a vector from an address of any alignment."""
    value = builder.load(builder.bitcast(address, kind.vector_ir.as_pointer()))
    value.align = kind.real.bitwidth // 8
    return value


def store_vector(builder: ir.IRBuilder, kind: Lanes, value: Any, address: Any) -> None:
    """Store a vector to an address of any alignment."""
    builder.store(value, builder.bitcast(address, kind.vector_ir.as_pointer())).align = kind.real.bitwidth // 8


def spread(builder: ir.IRBuilder, kind: Lanes, scalar: Any) -> Any:
    """Return a vector with a scalar in every lane."""
    nothing = ir.Constant(kind.vector_ir, ir.Undefined)
    first = builder.insert_element(nothing, scalar, ir.Constant(I32, 0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(I32, kind.count), [0] * kind.count))


def call_llvm(builder: ir.IRBuilder, kind: Lanes, name: str, arguments: list[Any]) -> Any:
    """Call the LLVM intrinsic ``name`` of the vector type (all operands and the result are such vectors)."""
    signature = ir.FunctionType(kind.vector_ir, [kind.vector_ir] * len(arguments))
    full = f"llvm.{name}.v{kind.count}f{kind.real.bitwidth}"
    return builder.call(cgutils.get_or_insert_function(builder.module, signature, full), arguments)


def _head_mask(builder: ir.IRBuilder, kind: Lanes, count: Any) -> Any:
    """Return the mask of the first ``count`` lanes."""
    wide = ir.VectorType(I32, kind.count)
    nothing = ir.Constant(wide, ir.Undefined)
    first = builder.insert_element(nothing, builder.trunc(count, I32), ir.Constant(I32, 0))
    counts = builder.shuffle_vector(first, nothing, ir.Constant(wide, [0] * kind.count))
    return builder.icmp_signed("<", ir.Constant(wide, list(range(kind.count))), counts)


def _masked_load(builder: ir.IRBuilder, kind: Lanes, address: Any, mask: Any) -> Any:
    """Load the lanes of the mask, zeros in the others, which are not touched."""
    source = builder.bitcast(address, kind.vector_ir.as_pointer())
    form = ir.FunctionType(kind.vector_ir, [source.type, I32, mask.type, kind.vector_ir])
    name = f"llvm.masked.load.v{kind.count}f{kind.real.bitwidth}.p0"
    function = cgutils.get_or_insert_function(builder.module, form, name)
    return builder.call(function, [source, ir.Constant(I32, kind.real.bitwidth // 8), mask, kind.constant(0.0)])


def _masked_store(builder: ir.IRBuilder, kind: Lanes, value: Any, address: Any, mask: Any) -> None:
    """Store the lanes of the mask; nothing else is touched."""
    target = builder.bitcast(address, kind.vector_ir.as_pointer())
    form = ir.FunctionType(ir.VoidType(), [kind.vector_ir, target.type, I32, mask.type])
    name = f"llvm.masked.store.v{kind.count}f{kind.real.bitwidth}.p0"
    function = cgutils.get_or_insert_function(builder.module, form, name)
    builder.call(function, [value, target, ir.Constant(I32, kind.real.bitwidth // 8), mask])


# ---- memory ---------------------------------------------------------------------------------------------------


@intrinsic
def load(typing_context, array, offset):
    """Return the vector at array[offset:]."""
    kind = lanes_of(array)

    def codegen(context, builder, signature, arguments):
        return load_vector(builder, kind, pointer(context, builder, signature.args[0], *arguments))

    return kind(array, types.intp), codegen


@intrinsic
def store(typing_context, array, offset, value):
    """Write a vector to array[offset:]."""
    kind = lanes_of(array)

    def codegen(context, builder, signature, arguments):
        array, offset, value = arguments
        store_vector(builder, kind, value, pointer(context, builder, signature.args[0], array, offset))
        return context.get_dummy_value()

    return types.void(array, types.intp, kind), codegen


@intrinsic
def load_head(typing_context, array, offset, count):
    """Return the first ``count`` elements at array[offset:] and zeros in the other lanes, which are not touched."""
    kind = lanes_of(array)

    def codegen(context, builder, signature, arguments):
        array, offset, count = arguments
        address = pointer(context, builder, signature.args[0], array, offset)
        mask = _head_mask(builder, kind, count)
        return _masked_load(builder, kind, address, mask)

    return kind(array, types.intp, types.intp), codegen


@intrinsic
def store_head(typing_context, array, offset, value, count):
    """Write the first ``count`` lanes to array[offset:]; nothing behind them is touched."""
    kind = lanes_of(array)

    def codegen(context, builder, signature, arguments):
        array, offset, value, count = arguments
        address = pointer(context, builder, signature.args[0], array, offset)
        mask = _head_mask(builder, kind, count)
        _masked_store(builder, kind, value, address, mask)
        return context.get_dummy_value()

    return types.void(array, types.intp, kind, types.intp), codegen


@intrinsic
def load_group(typing_context, array, offset, stride, pattern):
    """Return a tuple of vectors at offset, offset + stride, ...: as many as the tuple ``pattern`` has entries."""
    kind, count = lanes_of(array), len(pattern)

    def codegen(context, builder, signature, arguments):
        array, offset, stride, _ = arguments
        base = pointer(context, builder, signature.args[0], array, offset)
        vectors = [
            load_vector(builder, kind, builder.gep(base, [builder.mul(stride, ir.Constant(I64, i))]))
            for i in range(count)
        ]
        return context.make_tuple(builder, signature.return_type, vectors)

    several: Any = types.UniTuple(kind, count)  # type: ignore[attr-defined]
    return several(array, types.intp, types.intp, pattern), codegen


@intrinsic
def store_group(typing_context, array, offset, stride, values):
    """Write a tuple of vectors to offset, offset + stride, ..."""
    kind, count = lanes_of(array), len(values)

    def codegen(context, builder, signature, arguments):
        array, offset, stride, values = arguments
        base = pointer(context, builder, signature.args[0], array, offset)
        for i in range(count):
            address = builder.gep(base, [builder.mul(stride, ir.Constant(I64, i))])
            store_vector(builder, kind, builder.extract_value(values, i), address)
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, values), codegen


@intrinsic
def turn(typing_context, source, at, source_row, rows, columns, target, to, target_row, pad):
    """Copy a block of ``rows`` x ``columns`` elements (at most one vector each way) transposed.

    Writes ``columns`` rows of the target: whole vectors with zeros behind the ``rows`` elements if ``pad``, else just
    these elements. Nothing else is read or written.
    """
    kind = lanes_of(source)
    count = kind.count

    def codegen(context, builder, signature, arguments):
        source, at, source_row, rows, columns, target, to, target_row, pad = arguments

        def number(value):
            return ir.Constant(I64, value)

        def inside(index, limit, wanted):
            return builder.select(builder.icmp_signed("<", number(index), limit), wanted, number(0))

        base = pointer(context, builder, signature.args[0], source, at)
        vectors = []
        for r in range(count):
            place = builder.gep(base, [builder.mul(source_row, number(r))])
            vectors.append(_masked_load(builder, kind, place, _head_mask(builder, kind, inside(r, rows, columns))))
        half = count // 2
        while half:  # exchange the off-diagonal quarters, of ever smaller squares
            for i in range(count):
                if i & half:
                    continue
                a, b = vectors[i], vectors[i + half]
                low = [j if not j & half else count + j - half for j in range(count)]
                high = [j + half if not j & half else count + j for j in range(count)]
                wide = ir.VectorType(I32, count)
                vectors[i] = builder.shuffle_vector(a, b, ir.Constant(wide, low))
                vectors[i + half] = builder.shuffle_vector(a, b, ir.Constant(wide, high))
            half //= 2
        base = pointer(context, builder, signature.args[5], target, to)
        width = builder.select(context.cast(builder, pad, signature.args[8], types.boolean), number(count), rows)
        for c in range(count):
            place = builder.gep(base, [builder.mul(target_row, number(c))])
            mask = _head_mask(builder, kind, inside(c, columns, width))
            _masked_store(builder, kind, vectors[c], place, mask)
        return context.get_dummy_value()

    n = types.intp
    return types.void(source, n, n, n, n, target, n, n, types.boolean), codegen


@intrinsic
def splat(typing_context, array, value):
    """Return a vector with ``value`` in every lane; ``array`` only says of which element type."""
    kind = lanes_of(array)

    def codegen(context, builder, signature, arguments):
        return spread(builder, kind, context.cast(builder, arguments[1], signature.args[1], kind.real))

    return kind(array, value), codegen


# ---- arithmetic: one definition for floats and arrays, one for lanes -------------------------------------------


def fma(a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, in lanes with a single rounding."""
    return a * b + c


def at_most(x: Any, bound: Any) -> Any:
    """Return the smaller of the two; NaN in x stays."""
    return np.where(np.greater(x, bound), bound, x)


def at_least(x: Any, bound: Any) -> Any:
    """Return the larger of the two; NaN in x stays."""
    return np.where(np.less(x, bound), bound, x)


def where_less(a: Any, b: Any, x: Any, y: Any) -> Any:
    """Return x where a < b, else y (also where a is NaN)."""
    return np.where(np.less(a, b), x, y)


def magnitude(x: Any) -> Any:
    """Return x without its sign."""
    return np.abs(x)


def with_sign_of(x: Any, sign: Any) -> Any:
    """Return the magnitude of x with the sign of the other."""
    return np.copysign(x, sign)


def square_root(x: Any) -> Any:
    """Return the correctly rounded square root."""
    return np.sqrt(x)


def zero_like(x: Any) -> Any:
    """Return zeros of the shape of x."""
    return np.zeros_like(x)


def _resolve(*arguments: Any) -> Lanes | None:
    """Return the lanes type of an operation on these argument types, or None if it is not one of ours."""
    kinds = {a for a in arguments if isinstance(a, Lanes)}
    others = [a for a in arguments if not isinstance(a, Lanes)]
    if len(kinds) != 1 or not all(isinstance(a, types.Number) for a in others):
        return None
    return next(iter(kinds))


def _define(function: Any, arity: int, emit: Any) -> None:
    """Give an operation its meaning on lanes; scalars among the operands are spread."""

    def typer_of(context):
        if arity == 1:
            return lambda a: _resolve(a)
        if arity == 2:
            return lambda a, b: _resolve(a, b)
        if arity == 3:
            return lambda a, b, c: _resolve(a, b, c)
        return lambda a, b, c, d: _resolve(a, b, c, d)

    type_callable(function)(typer_of)

    def lowered(context, builder, signature, arguments):
        kind = signature.return_type
        vectors = [
            value if isinstance(given, Lanes) else spread(builder, kind, context.cast(builder, value, given, kind.real))
            for given, value in zip(signature.args, arguments, strict=True)
        ]
        return emit(builder, kind, *vectors)

    for place in range(1 if arity == 1 else 2**arity - 1):
        operands = [types.Number if place >> i & 1 else Lanes for i in range(arity)]
        lower_builtin(function, *operands)(lowered)


def _negate(builder: ir.IRBuilder, kind: Lanes, x: Any) -> Any:
    return builder.fneg(x)


def _at_most(builder: ir.IRBuilder, kind: Lanes, x: Any, bound: Any) -> Any:
    return builder.select(builder.fcmp_ordered("<", bound, x), bound, x)


def _at_least(builder: ir.IRBuilder, kind: Lanes, x: Any, bound: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", bound, x), bound, x)


_define(operator.add, 2, lambda builder, kind, a, b: builder.fadd(a, b))
_define(operator.sub, 2, lambda builder, kind, a, b: builder.fsub(a, b))
_define(operator.mul, 2, lambda builder, kind, a, b: builder.fmul(a, b))
_define(operator.truediv, 2, lambda builder, kind, a, b: builder.fdiv(a, b))
_define(operator.neg, 1, _negate)
_define(fma, 3, lambda builder, kind, a, b, c: call_llvm(builder, kind, "fma", [a, b, c]))
_define(at_most, 2, _at_most)
_define(at_least, 2, _at_least)
_define(where_less, 4, lambda builder, kind, a, b, x, y: builder.select(builder.fcmp_ordered("<", a, b), x, y))
_define(magnitude, 1, lambda builder, kind, x: call_llvm(builder, kind, "fabs", [x]))
_define(with_sign_of, 2, lambda builder, kind, x, s: call_llvm(builder, kind, "copysign", [x, s]))
_define(zero_like, 1, lambda builder, kind, x: kind.constant(0.0))
_define(square_root, 1, lambda builder, kind, x: call_llvm(builder, kind, "sqrt", [x]))


def power_of_two(shifted: Any) -> Any:
    """Return 2**n for ``shifted`` = n + 1.5 * 2**(mantissa bits), the float whose low bits are the integer n."""
    shifted = np.asarray(shifted)
    single = shifted.dtype == np.float32
    bits, bias, whole = (23, 127, np.int32) if single else (52, 1023, np.int64)
    return ((shifted.view(whole) << bits) + np.asarray(bias << bits, whole)).view(shifted.dtype)


def _power_of_two(builder: ir.IRBuilder, kind: Lanes, shifted: Any) -> Any:
    bits, bias = (23, 127) if kind.real.bitwidth == 32 else (52, 1023)
    whole = builder.bitcast(shifted, kind.integers_ir)
    moved = builder.shl(whole, ir.Constant(kind.integers_ir, [bits] * kind.count))
    exponent = builder.add(moved, ir.Constant(kind.integers_ir, [bias << bits] * kind.count))
    return builder.bitcast(exponent, kind.vector_ir)


_define(power_of_two, 1, _power_of_two)
