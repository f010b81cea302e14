"""The module `fastseq.models.optimizers` where Keras has it: ``from fastseq.optimizers import ...``."""

from __future__ import annotations

import sys

from fastseq.models import optimizers as _place
from fastseq.models.optimizers import *  # noqa: F403 - for those who read types

sys.modules[__name__] = _place
