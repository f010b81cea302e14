"""The module `fastseq.training.callbacks` where Keras has it: ``from fastseq.callbacks import ...``."""

from __future__ import annotations

import sys

from fastseq.training import callbacks as _place
from fastseq.training.callbacks import *  # noqa: F403 - for those who read types

sys.modules[__name__] = _place
