"""Lets ``python -m fastseq`` do what the command ``fastseq`` does."""

from __future__ import annotations

import sys

from fastseq.cli import main

if __name__ == "__main__":
    sys.exit(main())
