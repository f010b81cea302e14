"""The module `fastseq.models.losses` where Keras has it: ``from fastseq.losses import ...``."""

from __future__ import annotations

import sys

from fastseq.models import losses as _place
from fastseq.models.losses import *  # noqa: F403 - for those who read types

sys.modules[__name__] = _place
