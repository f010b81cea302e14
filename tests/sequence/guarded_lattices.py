"""CTC and CRF with every array that their kernels get next to a forbidden page; run as a program, prints the passes."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.guard_pages import GuardedNumpy


def passes(at_end: bool, dtype: Any) -> int:
    """Run both over many sizes; return the number of passes."""
    from fastseq.autograd import Tensor, alignments, chain
    from fastseq.nn import CRF
    from fastseq.nn.functional import ctc_loss

    own = GuardedNumpy(at_end)
    for module in (alignments, chain):
        module.np, module.workspace = own, SimpleNamespace(scratch=own.empty)
    rng, done = np.random.default_rng(0), 0
    for rows, steps, count in [(1, 1, 1), (3, 5, 2), (2, 4, 3), (5, 9, 17), (4, 3, 33), (9, 6, 8)]:
        x = own.copied(rng.standard_normal((rows, steps, count)).astype(dtype))
        lengths = own.copied(rng.integers(0, steps + 1, rows))
        crf = CRF(count, dtype=dtype)
        for parameter in crf.parameters():
            parameter._data = own.copied(parameter._data)
        tags = own.copied(rng.integers(0, count, (rows, steps)))
        for given in (None, lengths):
            leaf = Tensor(x, requires_grad=True)
            crf(leaf, tags, lengths=given).backward()
            crf.decode(x, lengths=given)
            crf.marginals(x, lengths=given)
            assert np.isfinite(leaf.grad.numpy()).all()
            if count > 1:
                inputs = np.full(rows, steps) if given is None else given
                counts = own.copied(inputs // 2)
                targets = own.copied(rng.integers(1, count, (rows, int(counts.max(initial=0)))))
                leaf = Tensor(x, requires_grad=True)
                ctc_loss(leaf, targets, inputs, counts, zero_infinity=True, batch_first=True).backward()
                assert np.isfinite(leaf.grad.numpy()).all()
            done += 1
    return done


if __name__ == "__main__":
    print(passes(sys.argv[1] == "end", np.dtype(sys.argv[2])))
