"""Nested dicts, lists, numbers, texts and arrays as JSON and arrays, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.autograd.tensor import Tensor


class Packer:
    """Turns nested values into JSON, arrays aside, and back.

    Parameters
    ----------
    arrays
        The arrays of a file that was read; None to write one.
    argument
        The name to use in messages.
    """

    def __init__(self, arrays: dict[str, NDArray[Any]] | None = None, argument: str = "checkpoint") -> None:
        self.arrays = {} if arrays is None else arrays
        self.argument = argument

    def pack(self, value: Any) -> Any:
        """Return a value as JSON, and keep its arrays.

        Parameters
        ----------
        value
            Anything of dicts, lists, numbers, texts, None, arrays and Tensors.
        """
        if isinstance(value, (np.ndarray, Tensor)):
            name = f"array{len(self.arrays)}"
            self.arrays[name] = value._data if isinstance(value, Tensor) else value
            return {"tensor" if isinstance(value, Tensor) else "array": name}
        if isinstance(value, Mapping):
            return {"map": [[self._key(key), self.pack(item)] for key, item in value.items()]}
        if isinstance(value, (list, tuple)):
            return [self.pack(item) for item in value]
        if isinstance(value, np.generic):
            return self.pack(value.item())
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
            return {"integer": hex(value)}
        if isinstance(value, float) and not math.isfinite(value):
            return {"float": repr(value)}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise checks.kind_error(self.argument, "numbers, strings, lists, dicts and arrays", value)

    def _key(self, key: Any) -> Any:
        if isinstance(key, bool) or not isinstance(key, (str, int)):
            raise checks.kind_error(self.argument, "names or numbers as keys", key)
        return key

    def unpack(self, value: Any) -> Any:
        """Return what `pack` was given; tuples are lists.

        Parameters
        ----------
        value
            JSON.
        """
        if isinstance(value, list):
            return [self.unpack(item) for item in value]
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items()
        if kind == "array":
            return self.arrays[content]
        if kind == "tensor":
            return Tensor(self.arrays[content])
        if kind == "map":
            return {key: self.unpack(item) for key, item in content}
        if kind == "integer" and len(content) <= 100:
            return int(content, 16)
        if kind == "float":
            return float(content)
        raise ValueError(f"a value of kind {kind!r}"[:100])
