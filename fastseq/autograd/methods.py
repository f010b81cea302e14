"""The operations of Tensor as methods and operators; each one calls the function of the same meaning in ops."""

from __future__ import annotations


class TensorMethods:
    """Base of Tensor: everything that is also a function of ``fastseq.autograd.ops``."""

    __slots__ = ()
