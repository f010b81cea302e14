"""The device that everything is computed on."""

from __future__ import annotations

from typing import Any

from fastseq import checks


class device(str):
    """The only device there is: the text ``"cpu"``, with PyTorch's attributes.

    Parameters
    ----------
    type
        ``"cpu"``.

    Attributes
    ----------
    type : str
        ``"cpu"``.
    index : None
        PyTorch's number of a device among several.

    Raises
    ------
    ValueError
        If it is another one.
    """

    index = None  # type: ignore[assignment]

    def __new__(cls, type: Any = "cpu") -> device:
        """Return the name of the CPU, or raise."""
        checks.is_device("device", type)
        return super().__new__(cls, checks.choice("device", type, ("cpu",)))

    @property
    def type(self) -> str:
        """The name of the device."""
        return str(self)


CPU = device()
