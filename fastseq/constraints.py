"""The module `fastseq.layers.constraints` where Keras has it: ``from fastseq.constraints import ...``."""

from __future__ import annotations

import sys

from fastseq.layers import constraints as _place
from fastseq.layers.constraints import *  # noqa: F403 - for those who read types

sys.modules[__name__] = _place
