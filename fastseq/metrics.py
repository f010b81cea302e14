"""The module `fastseq.models.metrics` where Keras has it: ``from fastseq.metrics import ...``."""

from __future__ import annotations

import sys

from fastseq.models import metrics as _place
from fastseq.models.metrics import *  # noqa: F403 - for those who read types

sys.modules[__name__] = _place
