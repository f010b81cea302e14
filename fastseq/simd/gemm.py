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

from fastseq.jit import piece
from fastseq.simd.lanes import I64, call_llvm, cpu_features, lanes_of, load_vector, pointer, spread, store_vector

WIDE = "avx512f" in cpu_features()
"""Whether a tile of 6 rows x 4 vectors fits the registers; else it is 6 x 1."""


UNROLLED = 16
"""Up to so many accumulators LLVM may unroll the loop; with more, the registers do not suffice and it would spill."""


def keep_rolled(module: Any, branch: Any) -> None:
    """Ask LLVM not to unroll the loop that a branch closes."""
    hint = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    number = len(module.metadata)
    loop = module.add_metadata([hint, ir.MetaDataString(module, f"loop {number}")])
    loop.operands = (loop, hint)  # a loop is named by a node that refers to itself
    branch.set_metadata("llvm.loop", loop)


def make_tile(rows: int, vectors: int, panels: int = 1) -> Any:
    """Return an intrinsic that computes one tile; see `multiply` for the arguments.

    With several panels the vectors of panel p are read at w + p * w_panel and start + p * s_panel and written at
    c + p * c_panel: more independent chains for the same row.
    """

    @intrinsic
    def tile(
        typing_context, a, a0, a_row, a_k, w, w0, w_panel, w_k, depth, s, s0, s_row, s_panel, c, c0, c_row, c_panel
    ):
        kind, n = lanes_of(a), types.intp
        signature = types.void(a, n, n, n, w, n, n, n, n, s, n, n, n, c, n, n, n)

        def codegen(context, b, signature, arguments):
            a, a0, a_row, a_k, w, w0, w_panel, w_k, depth, s, s0, s_row, s_panel, c, c0, c_row, c_panel = arguments

            def number(value):
                return ir.Constant(I64, value)

            def address(base, row, row_stride, panel, panel_stride, vector):
                offset = b.add(b.mul(row_stride, number(row)), b.mul(panel_stride, number(panel)))
                return b.gep(base, [b.add(offset, number(vector * kind.count))])

            places = [(r, p, v) for r in range(rows) for p in range(panels) for v in range(vectors)]
            ap = pointer(context, b, signature.args[0], a, a0)
            wp = pointer(context, b, signature.args[4], w, w0)
            sp = pointer(context, b, signature.args[9], s, s0)
            cp = pointer(context, b, signature.args[13], c, c0)
            first = [load_vector(b, kind, address(sp, r, s_row, p, s_panel, v)) for r, p, v in places]
            starts = [b.gep(ap, [b.mul(a_row, number(r))]) for r in range(0, rows, 3)]
            before, loop, after = b.block, b.append_basic_block("k"), b.append_basic_block("done")
            b.cbranch(b.icmp_signed(">", depth, number(0)), loop, after)

            b.position_at_end(loop)
            k = b.phi(I64)
            k.add_incoming(number(0), before)
            sums = [b.phi(kind.vector_ir) for _ in places]
            for phi, value in zip(sums, first, strict=True):
                phi.add_incoming(value, before)
            # One pointer per three rows, all moving alike: the others are reached by its addressing mode, so that the
            # loop needs few integer registers (a pointer per row would be kept on the stack).
            moving = [b.phi(ap.type) for _ in range(0, rows, 3)]
            for group, phi in enumerate(moving):
                phi.add_incoming(starts[group], before)
            wk = b.phi(wp.type)
            wk.add_incoming(wp, before)
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
            for phi in moving:
                phi.add_incoming(b.gep(phi, [a_k]), b.block)
            wk.add_incoming(b.gep(wk, [w_k]), b.block)
            following = b.add(k, number(1))
            k.add_incoming(following, b.block)
            for phi, value in zip(sums, new, strict=True):
                phi.add_incoming(value, b.block)
            again = b.cbranch(b.icmp_signed("<", following, depth), loop, after)
            if len(places) > UNROLLED:
                keep_rolled(b.module, again)

            b.position_at_end(after)
            for (r, p, v), start, last in zip(places, first, new, strict=True):
                value = b.phi(kind.vector_ir)
                value.add_incoming(start, before)
                value.add_incoming(last, loop)
                first[(r * panels + p) * vectors + v] = value
            for (r, p, v), value in zip(places, first, strict=True):
                store_vector(b, kind, value, address(cp, r, c_row, p, c_panel, v))
            return context.get_dummy_value()

        return signature, codegen

    return tile


if WIDE:
    _four = tuple(make_tile(rows, 4) for rows in (6, 4, 2, 1))
    _two = tuple(make_tile(rows, 2) for rows in (12, 4, 2, 1))
    _one = tuple(make_tile(rows, 1) for rows in (12, 4, 2, 1))
    _pair = make_tile(1, 4, 2)
else:
    _one = tuple(make_tile(rows, 1) for rows in (6, 4, 2, 1))
    _pair = make_tile(1, 1, 2)


def _column(tiles: tuple[Any, ...], first_rows: int, label: str) -> Any:
    """Return the loop over rows for tiles of ``first_rows``, 4, 2 and 1 rows and one width."""
    large, four, two, one = tiles

    @piece(label=label)
    def column(a, a0, a_row, a_k, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows):
        r = 0
        while rows - r >= first_rows:
            at, start, to = a0 + r * a_row, s0 + r * s_row, c0 + r * c_row
            large(a, at, a_row, a_k, w, w0, 0, w_k, depth, s, start, s_row, 0, c, to, c_row, 0)
            r += first_rows
        while rows - r >= 4:
            at, start, to = a0 + r * a_row, s0 + r * s_row, c0 + r * c_row
            four(a, at, a_row, a_k, w, w0, 0, w_k, depth, s, start, s_row, 0, c, to, c_row, 0)
            r += 4
        while rows - r >= 2:
            at, start, to = a0 + r * a_row, s0 + r * s_row, c0 + r * c_row
            two(a, at, a_row, a_k, w, w0, 0, w_k, depth, s, start, s_row, 0, c, to, c_row, 0)
            r += 2
        if r < rows:
            at, start, to = a0 + r * a_row, s0 + r * s_row, c0 + r * c_row
            one(a, at, a_row, a_k, w, w0, 0, w_k, depth, s, start, s_row, 0, c, to, c_row, 0)

    return column


if WIDE:
    _columns_four = _column(_four, 6, "four")
    _columns_two = _column(_two, 12, "two")
    _columns_one = _column(_one, 12, "one")

    @piece
    def multiply(a, a0, a_row, a_k, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows, vectors, lanes):
        """Compute c[r, v] = s[r, v] + sum over k of a[r, k] * w[k, v] for ``rows`` rows and ``vectors`` vectors.

        All arrays are flat; ``x0`` is an offset, ``x_row`` and ``x_k`` are strides, in elements. ``s`` may be ``c``
        itself (then the product is added to it); ``s_row = 0`` starts every row from the same vectors. ``c`` must not
        overlap ``a`` or ``w``.
        """
        v = 0
        while vectors - v >= 4:
            e = v * lanes
            _columns_four(a, a0, a_row, a_k, w, w0 + e, w_k, depth, s, s0 + e, s_row, c, c0 + e, c_row, rows)
            v += 4
        if vectors - v >= 2:
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
        if v < vectors:
            for p in range(2):
                at, start, to = w0 + p * w_panel + v * lanes, s0 + p * s_panel + v * lanes, c0 + p * c_panel + v * lanes
                multiply(a, a0, 0, a_k, w, at, w_k, depth, s, start, 0, c, to, 0, 1, vectors - v, lanes)

else:
    _columns_one = _column(_one, 6, "one")

    @piece
    def multiply(a, a0, a_row, a_k, w, w0, w_k, depth, s, s0, s_row, c, c0, c_row, rows, vectors, lanes):
        """Compute c[r, v] = s[r, v] + sum over k of a[r, k] * w[k, v]; see the wide twin."""
        for v in range(vectors):
            e = v * lanes
            _columns_one(a, a0, a_row, a_k, w, w0 + e, w_k, depth, s, s0 + e, s_row, c, c0 + e, c_row, rows)

    @piece
    def multiply_row(a, a0, a_k, w, w0, w_panel, w_k, depth, s, s0, s_panel, c, c0, c_panel, vectors, lanes):
        """Compute one row of two neighbouring panels at once."""
        for v in range(vectors):
            e = v * lanes
            _pair(a, a0, 0, a_k, w, w0 + e, w_panel, w_k, depth, s, s0 + e, 0, s_panel, c, c0 + e, 0, c_panel)
