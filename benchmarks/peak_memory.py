"""Peak memory of a process that trains or infers (asv adds nothing of its own to it)."""

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


class Stream:
    """A stream over a model of 256 units."""

    timeout = 300

    def peakmem_thousand_steps(self) -> None:
        """A thousand steps: what is held, and nothing that grows."""
        import fastseq as fs
        from fastseq import nn

        stream, x = fs.Stream(nn.LSTM(64, 256).eval()), np.ones(64, np.float32)
        for _ in range(1000):
            stream.step(x)
