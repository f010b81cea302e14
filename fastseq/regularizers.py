"""The module `fastseq.layers.regularizers` where Keras has it: ``from fastseq.regularizers import ...``."""

from __future__ import annotations

import sys

from fastseq.layers import regularizers as _place
from fastseq.layers.regularizers import *  # noqa: F403 - for those who read types

sys.modules[__name__] = _place
