"""Which model for my sequences? Train one of each kind on the same real task with as many weights each.

The same as `fastseq compare`; what it does is in `fastseq/cli/compare/`.

    python examples/compare_models.py [--task vowels] [--models LSTM,MLP] [--plot compare.png] [--quick]
"""

from __future__ import annotations

import sys

from fastseq.cli import main

if __name__ == "__main__":
    sys.exit(main(["compare", *sys.argv[1:]]))
