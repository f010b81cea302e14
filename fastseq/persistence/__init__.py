"""Model files: safetensors with the architecture as JSON, written atomically, read with distrust."""

from __future__ import annotations

from fastseq.persistence.arrays import ModelFileError, read_arrays, write_arrays
from fastseq.persistence.atomic import write_file
from fastseq.persistence.models import check_savable, load, load_state, read_metadata, save, save_state

__all__ = [
    "ModelFileError",
    "check_savable",
    "load",
    "load_state",
    "read_arrays",
    "read_metadata",
    "save",
    "save_state",
    "write_arrays",
    "write_file",
]
