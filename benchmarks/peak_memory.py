"""Peak memory of a process that trains or infers one batch (asv adds nothing of its own to it)."""

from __future__ import annotations

import numpy as np


class LSTM:
    """One layer of 128 units on 64 rows of 100 steps."""

    params = (["inference", "training"],)
    param_names = ("mode",)
    timeout = 300

    def setup(self, mode: str) -> None:
        """Draw the batch."""
        self.x = np.random.default_rng(0).standard_normal((64, 100, 64), dtype=np.float32)

    def peakmem_pass(self, mode: str) -> None:
        """One pass over the batch."""
        import fastseq as fs
        from fastseq import nn

        lstm = nn.LSTM(64, 128)
        if mode == "training":
            lstm(self.x)[0].sum().backward()
        else:
            with fs.no_grad():
                lstm(self.x)
