"""The module `fastseq.layers.initializers` where Keras has it: ``from fastseq.initializers import ...``."""

from __future__ import annotations

import sys

from fastseq.layers import initializers as _place
from fastseq.layers.initializers import *  # noqa: F403 - for those who read types

sys.modules[__name__] = _place
