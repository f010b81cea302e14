"""The micro-kernel generator and the loops around it.

A *tile* of ``rows`` rows and ``vectors`` vectors has all its accumulators in registers while it walks over k:

    c[r, v] = start[r, v] + sum over k of a[r, k] * w[k, v]          one fma per k, k ascending, nothing else

so the bits of an element depend on its own operands alone, never on the tile it fell into. Tiles are chosen by the
number of vector registers: 32 of 64 bytes (AVX-512) hold 24 accumulators, 16 of 32 bytes (AVX2) hold 6 logical ones.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from fastseq.jit import Common, piece
from fastseq.simd.lanes import (
    I64,
    Pointer,
    call_llvm,
    cpu_features,
    lanes_of,
    load_vector,
    pointer,
    spread,
    store_vector,
)

WIDE = "avx512f" in cpu_features()
"""Whether a tile of 6 rows x 4 vectors, or 8 x 3, fits the registers; else it is 6 x 1."""


def keep_rolled(module: Any, branch: Any) -> None:
    """Ask LLVM not to unroll the loop that a branch closes.

    Large tiles would run out of registers; small ones gain nothing, and the code of all would take a third longer.
    """
    hint = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    number = len(module.metadata)
    loop = module.add_metadata([hint, ir.MetaDataString(module, f"loop {number}")])
    loop.operands = (loop, hint)  # a loop is named by a node that refers to itself
    branch.set_metadata("llvm.loop", loop)


def make_tile(rows: int, vectors: int, panels: int = 1, broken: bool = False) -> Any:
    """Return an intrinsic that computes one tile; see `multiply` for the arguments.

    With several panels the vectors of panel p are read at w + p * w_panel and start + p * s_panel and written at
    c + p * c_panel: more independent chains for the same row. If ``broken``, k comes in ``runs`` of ``depth``, and a
    jumps by ``a_jump`` between them: `multiply_runs`.
    """

    def emit(context, b, signature, arguments):
        a, a0, a_row, a_k, w, w0, w_panel, w_k, depth, s, s0, s_row, s_panel, c, c0, c_row, c_panel = arguments[:17]

        def number(value):
            return ir.Constant(I64, value)

        def address(base, row, row_stride, panel, panel_stride, vector):
            offset = b.add(b.mul(row_stride, number(row)), b.mul(panel_stride, number(panel)))
            return b.gep(base, [b.add(offset, number(vector * kind.count))])

        kind = lanes_of(signature.args[0])
        places = [(r, p, v) for r in range(rows) for p in range(panels) for v in range(vectors)]
        ap = pointer(context, b, signature.args[0], a, a0)
        wp = pointer(context, b, signature.args[4], w, w0)
        sp = pointer(context, b, signature.args[9], s, s0)
        cp = pointer(context, b, signature.args[13], c, c0)
        first = [load_vector(b, kind, address(sp, r, s_row, p, s_panel, v)) for r, p, v in places]
        # One pointer per three rows, all moving alike: the others are reached by its addressing mode, so that the
        # loop needs few integer registers (a pointer per row would be kept on the stack).
        starts = [b.gep(ap, [b.mul(a_row, number(r))]) for r in range(0, rows, 3)]
        before, loop, after = b.block, b.append_basic_block("k"), b.append_basic_block("done")
        run, end = (b.append_basic_block("run"), b.append_basic_block("end")) if broken else (before, after)
        b.cbranch(b.icmp_signed(">", depth, number(0)), run if broken else loop, after)
        begin = [*first, *starts, wp]

        if broken:
            b.position_at_end(run)
            turn, outer = b.phi(I64), [b.phi(value.type) for value in begin]
            turn.add_incoming(number(0), before)
            for phi, value in zip(outer, begin, strict=True):
                phi.add_incoming(value, before)
            begin = outer
            b.branch(loop)

        b.position_at_end(loop)
        k, inner = b.phi(I64), [b.phi(value.type) for value in begin]
        k.add_incoming(number(0), run)
        for phi, value in zip(inner, begin, strict=True):
            phi.add_incoming(value, run)
        sums, moving, wk = inner[: len(places)], inner[len(places) : -1], inner[-1]
        weights = [
            load_vector(b, kind, b.gep(wk, [b.add(b.mul(w_panel, number(p)), number(v * kind.count))]))
            for p in range(panels)
            for v in range(vectors)
        ]
        new = []
        for r in range(rows):
            x = spread(b, kind, b.load(b.gep(moving[r // 3], [b.mul(a_row, number(r % 3))])))
            for at, weight in enumerate(weights):
                new.append(call_llvm(b, kind, "fma", [x, weight, sums[r * len(weights) + at]]))
        moved = [b.gep(phi, [a_k]) for phi in moving]
        last = [*new, *moved, b.gep(wk, [w_k])]
        for phi, value in zip(inner, last, strict=True):
            phi.add_incoming(value, loop)
        following = b.add(k, number(1))
        k.add_incoming(following, loop)
        again = b.cbranch(b.icmp_signed("<", following, depth), loop, end)
        keep_rolled(b.module, again)

        if broken:
            b.position_at_end(end)
            runs, jump = arguments[17:]
            jumped = [b.gep(value, [jump]) for value in moved]
            for phi, value in zip(outer, [*new, *jumped, last[-1]], strict=True):
                phi.add_incoming(value, end)
            following = b.add(turn, number(1))
            turn.add_incoming(following, end)
            b.cbranch(b.icmp_signed("<", following, runs), run, after)

        b.position_at_end(after)
        found = []
        for start, value in zip(first, new, strict=True):
            phi = b.phi(kind.vector_ir)
            phi.add_incoming(start, before)
            phi.add_incoming(value, end if broken else loop)
            found.append(phi)
        for (r, p, v), value in zip(places, found, strict=True):
            store_vector(b, kind, value, address(cp, r, c_row, p, c_panel, v))
        return context.get_dummy_value()

    n = types.intp
    if broken:

        @intrinsic
        def tile(
            typing_context, a, a0, a_row, a_k, w, w0, w_panel, w_k, depth, s, s0, s_row, s_panel, c, c0, c_row, c_panel,
            runs, a_jump,
        ):  # fmt: skip
            return types.void(a, n, n, n, w, n, n, n, n, s, n, n, n, c, n, n, n, n, n), emit

    else:

        @intrinsic
        def tile(
            typing_context, a, a0, a_row, a_k, w, w0, w_panel, w_k, depth, s, s0, s_row, s_panel, c, c0, c_row, c_panel
        ):
            return types.void(a, n, n, n, w, n, n, n, n, s, n, n, n, c, n, n, n), emit

    return tile


HEIGHTS = (5, 4, 3, 2, 1)
"""Rows of the tiles for what full tiles leave."""
if WIDE:
    _four = tuple(make_tile(rows, 4) for rows in (6, *HEIGHTS))
    _three = tuple(make_tile(rows, 3) for rows in (8, *HEIGHTS))
    _two = tuple(make_tile(rows, 2) for rows in (12, *HEIGHTS))
    _one = tuple(make_tile(rows, 1) for rows in (12, *HEIGHTS))
    _runs = {rows: make_tile(rows, 4, broken=True) for rows in (6, 2, 1)}
    _pair, _pair_of_three = make_tile(1, 4, 2), make_tile(1, 3, 2)
else:
    _one = tuple(make_tile(rows, 1) for rows in (6, *HEIGHTS))
    _runs = {rows: make_tile(rows, 1, broken=True) for rows in (6, 2, 1)}
    _pair = make_tile(1, 1, 2)


def _column(tiles: tuple[Any, ...], first_rows: int, label: str) -> Any:
    """Return the loop over rows for tiles of one width, the largest of ``first_rows`` rows.

    A tile of few rows takes as long as one of twice as many, since its sums wait for one another: so no tile of one
    row is left over where larger ones can share the rest.
    """
    large, five, four, three, two, one = tiles

    @piece(label=label, constants=True)
    def column(a, a0, a_row, a_k, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows):
        r = 0
        while r < rows:
            left = rows - r
            at, start, to = a0 + r * a_row, s0 + r * s_row, c0 + r * c_row
            if left >= first_rows and left != first_rows + 1:
                large(a, at, a_row, a_k, w, w0, 0, w_k, depth, s, start, s_row, 0, c, to, c_row, 0)
                r += first_rows
            elif left == 5 or left == 9 or left == 10:
                five(a, at, a_row, a_k, w, w0, 0, w_k, depth, s, start, s_row, 0, c, to, c_row, 0)
                r += 5
            elif left >= 4 and left != 6:
                four(a, at, a_row, a_k, w, w0, 0, w_k, depth, s, start, s_row, 0, c, to, c_row, 0)
                r += 4
            elif left >= 3:
                three(a, at, a_row, a_k, w, w0, 0, w_k, depth, s, start, s_row, 0, c, to, c_row, 0)
                r += 3
            elif left == 2:
                two(a, at, a_row, a_k, w, w0, 0, w_k, depth, s, start, s_row, 0, c, to, c_row, 0)
                r += 2
            else:
                one(a, at, a_row, a_k, w, w0, 0, w_k, depth, s, start, s_row, 0, c, to, c_row, 0)
                r += 1

    return column


if WIDE:
    _columns_four = _column(_four, 6, "four")
    _columns_three = _column(_three, 8, "three")
    _columns_two = _column(_two, 12, "two")
    _columns_one = _column(_one, 12, "one")

    @piece(constants=True, inline=True)
    def all_columns(a, a0, a_row, a_k, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows, vectors, lanes):
        """Compute a product: `multiply`."""
        v = 0
        while vectors - v >= 4:
            e = v * lanes
            _columns_four(a, a0, a_row, a_k, w, w0 + e, w_k, depth, s, s0 + e, s_row, c, c0 + e, c_row, rows)
            v += 4
        if vectors - v == 3:
            e = v * lanes
            _columns_three(a, a0, a_row, a_k, w, w0 + e, w_k, depth, s, s0 + e, s_row, c, c0 + e, c_row, rows)
            v += 3
        if vectors - v == 2:
            e = v * lanes
            _columns_two(a, a0, a_row, a_k, w, w0 + e, w_k, depth, s, s0 + e, s_row, c, c0 + e, c_row, rows)
            v += 2
        if v < vectors:
            e = v * lanes
            _columns_one(a, a0, a_row, a_k, w, w0 + e, w_k, depth, s, s0 + e, s_row, c, c0 + e, c_row, rows)

    @piece
    def multiply_row(a, a0, a_k, w, w0, w_panel, w_k, depth, s, s0, s_panel, c, c0, c_panel, vectors, lanes):
        """Compute one row of two neighbouring panels at once: `multiply` with twice as many chains in flight."""
        v = 0
        while vectors - v >= 4:
            e = v * lanes
            _pair(a, a0, 0, a_k, w, w0 + e, w_panel, w_k, depth, s, s0 + e, 0, s_panel, c, c0 + e, 0, c_panel)
            v += 4
        if vectors - v == 3:
            e = v * lanes
            _pair_of_three(a, a0, 0, a_k, w, w0 + e, w_panel, w_k, depth, s, s0 + e, 0, s_panel, c, c0 + e, 0, c_panel)
            v += 3
        if v < vectors:
            for p in range(2):
                at, start, to = w0 + p * w_panel + v * lanes, s0 + p * s_panel + v * lanes, c0 + p * c_panel + v * lanes
                multiply(a, a0, 0, a_k, w, at, w_k, depth, s, start, 0, c, to, 0, 1, vectors - v, lanes)

else:
    _columns_one = _column(_one, 6, "one")

    @piece(constants=True, inline=True)
    def all_columns(a, a0, a_row, a_k, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows, vectors, lanes):
        """Compute a product: `multiply`."""
        for v in range(vectors):
            e = v * lanes
            _columns_one(a, a0, a_row, a_k, w, w0 + e, w_k, depth, s, s0 + e, s_row, c, c0 + e, c_row, rows)

    @piece
    def multiply_row(a, a0, a_k, w, w0, w_panel, w_k, depth, s, s0, s_panel, c, c0, c_panel, vectors, lanes):
        """Compute one row of two neighbouring panels at once."""
        for v in range(vectors):
            e = v * lanes
            _pair(a, a0, 0, a_k, w, w0 + e, w_panel, w_k, depth, s, s0 + e, 0, s_panel, c, c0 + e, 0, c_panel)


def product(a, a0, a_row, a_k, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows, vectors, lanes):
    """Compute a product: `multiply`. Where the numbers of a row of a are neighbours, the tiles know it."""
    if a_k == 1:
        all_columns(a, a0, a_row, 1, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows, vectors, lanes)
    else:
        all_columns(a, a0, a_row, a_k, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows, vectors, lanes)


def _types_of_product(real):
    p, n = Pointer(real), types.intp
    return (p, n, n, n, p, n, n, n, p, n, n, p, n, n, n, n, n)


_product = Common(product, _types_of_product)


@intrinsic
def multiply(typing_context, a, a0, a_row, a_k, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows, vectors, lanes):
    """Compute c[r, v] = s[r, v] + sum over k of a[r, k] * w[k, v] for ``rows`` rows and ``vectors`` vectors.

    All arrays are flat; ``x0`` is an offset, ``x_row`` and ``x_k`` are strides, in elements. ``s`` may be ``c``
    itself (then the product is added to it); ``s_row = 0`` starts every row from the same vectors. ``c`` must not
    overlap ``a`` or ``w``.
    """
    real, n = c.dtype, types.intp
    _product.symbol(real)  # now: two compilations cannot be under way in one another's code

    def emit(context, b, signature, arguments):
        given = [
            value if kind == n else pointer(context, b, kind, value, ir.Constant(I64, 0))
            for kind, value in zip(signature.args, arguments, strict=True)
        ]
        _product.call(context, b, real, given)
        return context.get_dummy_value()

    return types.void(a, n, n, n, w, n, n, n, s, n, n, c, n, n, n, n, n), emit


RUN_VECTORS = 4 if WIDE else 1
"""Vectors that `multiply_runs` does at a time."""
_six_of_runs, _two_of_runs, _one_of_runs = _runs[6], _runs[2], _runs[1]


@piece
def multiply_runs(a, a0, a_row, run, a_jump, runs, w, w0, w_k, c, c0, c_row, rows, vectors, lanes):
    """Add to c the product of a and w, whose k comes in ``runs`` of ``run`` neighbours, ``a_jump`` apart in a.

    Like `multiply` otherwise, and with the same bits as if a had no gaps.
    """
    v = 0
    while vectors - v >= RUN_VECTORS:
        e = v * lanes
        r = 0
        while rows - r >= 6:
            at, to = a0 + r * a_row, c0 + e + r * c_row
            _six_of_runs(a, at, a_row, 1, w, w0 + e, 0, w_k, run, c, to, c_row, 0, c, to, c_row, 0, runs, a_jump)
            r += 6
        while rows - r >= 2:
            at, to = a0 + r * a_row, c0 + e + r * c_row
            _two_of_runs(a, at, a_row, 1, w, w0 + e, 0, w_k, run, c, to, c_row, 0, c, to, c_row, 0, runs, a_jump)
            r += 2
        if r < rows:
            at, to = a0 + r * a_row, c0 + e + r * c_row
            _one_of_runs(a, at, a_row, 1, w, w0 + e, 0, w_k, run, c, to, c_row, 0, c, to, c_row, 0, runs, a_jump)
        v += RUN_VECTORS
    if v < vectors:
        e = v * lanes
        for i in range(runs):
            at, here = a0 + i * (run + a_jump), w0 + e + i * run * w_k
            multiply(a, at, a_row, 1, w, here, w_k, run, c, c0 + e, c_row, c, c0 + e, c_row, rows, vectors - v, lanes)
