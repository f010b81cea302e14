"""Averages of weights over the course of training, which often generalise better than the last weights.

After each step of the optimiser, for weights p (Polyak and Juditsky, 1992, with exponentially falling shares)::

    average = average + (1 - decay) * (p - average)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks


class ExponentialMovingAverage:
    """Exponential moving average of parameters, which starts from what they are now.

    Parameters
    ----------
    parameters
        Tensors; a model's ``parameters()``.
    decay
        Share of the average that is kept at each update, in 0..1.
    use_num_updates
        Whether the decay is at most (1 + n) / (10 + n) at update n, so that the first weights are soon forgotten.

    Attributes
    ----------
    num_updates : int
        How often ``update`` was called.

    Examples
    --------
    >>> ema = optim.ExponentialMovingAverage(model.parameters(), decay=0.999)  # doctest: +SKIP
    >>> optimizer.step()  # doctest: +SKIP
    >>> ema.update()  # doctest: +SKIP
    >>> with ema.applied():  # doctest: +SKIP
    ...     score(model)
    """

    def __init__(self, parameters: Iterable[Any], decay: float = 0.999, use_num_updates: bool = False) -> None:
        if hasattr(parameters, "_data"):
            raise checks.kind_error("parameters", "an iterable of tensors", parameters)
        self.parameters = list(parameters)
        if not self.parameters:
            raise checks.value_error("parameters", "at least one tensor", "none")
        for parameter in self.parameters:
            if not hasattr(parameter, "_data") or not hasattr(parameter, "_version"):
                raise checks.kind_error("parameters", "tensors", parameter)
            if parameter._data.dtype not in checks.FLOATS:
                raise TypeError(f"parameters: expected float32 or float64, got {parameter._data.dtype}")
        self.decay = checks.real("decay", decay, 0.0, 1.0)
        self.use_num_updates = checks.boolean("use_num_updates", use_num_updates)
        self.num_updates = 0
        self._averages: list[NDArray[Any]] = [parameter._data.copy() for parameter in self.parameters]
        self._own: list[NDArray[Any]] | None = None

    @property
    def averages(self) -> list[NDArray[Any]]:
        """Copies of the averages, one for each parameter."""
        return [average.copy() for average in self._averages]

    def update(self) -> None:
        """Take the parameters' present values into the average.

        Raises
        ------
        RuntimeError
            While the averages are applied: the parameters hold them then.
        """
        if self._own is not None:
            raise RuntimeError("update: expected parameters with values of their own, got the averages applied")
        self.num_updates += 1
        decay = self.decay
        if self.use_num_updates:
            decay = min(decay, (1 + self.num_updates) / (10 + self.num_updates))
        for average, parameter in zip(self._averages, self.parameters, strict=True):
            change = parameter._data.astype(average.dtype, copy=False) - average
            change *= average.dtype.type(1.0 - decay)
            average += change

    def copy_to(self) -> None:
        """Write the averages into the parameters, for good."""
        for average, parameter in zip(self._averages, self.parameters, strict=True):
            _write(parameter, average)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the parameters hold the averages inside a ``with`` block, and their own values again after it.

        What is written to the parameters inside is lost.
        """
        if self._own is not None:
            raise RuntimeError("applied: expected parameters with values of their own, got the averages applied")
        self._own = [parameter._data.copy() for parameter in self.parameters]
        try:
            self.copy_to()
            yield
        finally:
            own, self._own = self._own, None
            for values, parameter in zip(own, self.parameters, strict=True):
                _write(parameter, values)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages (copies) and all that is needed to go on with them."""
        return {
            "decay": self.decay,
            "use_num_updates": self.use_num_updates,
            "num_updates": self.num_updates,
            "shadow_params": self.averages,
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up what ``state_dict`` returned; change nothing if anything does not fit.

        Parameters
        ----------
        state_dict
            From ``state_dict`` of an average over like parameters.

        Raises
        ------
        ValueError
            If a name is missing, or a shape differs.
        """
        if not isinstance(state_dict, Mapping):
            raise checks.kind_error("state_dict", "a mapping", state_dict)
        for name in ("decay", "use_num_updates", "num_updates", "shadow_params"):
            if name not in state_dict:
                raise checks.value_error("state_dict", f"an average's, with {name!r}", "none such")
        given = list(state_dict["shadow_params"])
        shapes = [average.shape for average in self._averages]
        found = [np.asarray(values).shape for values in given]
        if shapes != found:
            raise checks.value_error("state_dict['shadow_params']", f"shapes {shapes}", f"shapes {found}"[:200])
        kinds = {np.asarray(values).dtype.kind for values in given}
        if kinds != {"f"}:
            raise checks.value_error("state_dict['shadow_params']", "floating-point arrays", f"kinds {sorted(kinds)}")
        decay = checks.real("decay", state_dict["decay"], 0.0, 1.0)
        use_num_updates = checks.boolean("use_num_updates", state_dict["use_num_updates"])
        self.num_updates = checks.integer("num_updates", state_dict["num_updates"], 0)
        self.decay, self.use_num_updates = decay, use_num_updates
        for average, values in zip(self._averages, given, strict=True):
            average[...] = values


def _write(parameter: Any, values: NDArray[Any]) -> None:
    parameter._data[...] = values
    parameter._version[0] += 1
