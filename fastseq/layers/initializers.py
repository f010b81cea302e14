"""Keras's initialisers: their names, defaults and distributions; the numbers are drawn by ``fastseq.nn.init``."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastseq import checks
from fastseq.nn import init

Array = NDArray[Any]
Shape = tuple[int, ...]
#: The standard deviation of a standard normal distribution that is cut off at two of them.
_CUT = 0.87962566103423978


def _fans(shape: Shape) -> tuple[int, int]:
    """Return (fan_in, fan_out) of a weight in Keras's layout (..., inputs, outputs)."""
    if len(shape) < 2:
        size = shape[0] if shape else 1
        return size, size
    field = math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


def _truncated(shape: Shape, std: float) -> Array:
    rng = init.generator()
    found = rng.standard_normal(shape)
    while (far := np.abs(found) > 2).any():
        found[far] = rng.standard_normal(int(far.sum()))
    return std * found


class Initializer:
    """Draws the first values of a weight.

    Parameters
    ----------
    seed
        Makes every call return the same values; None draws from the package's generator (``fastseq.manual_seed``).
    **options
        The distribution's own arguments.
    """

    #: Names and defaults of the arguments.
    defaults: dict[str, Any] = {}

    def __init__(self, seed: int | None = None, **options: Any) -> None:
        self.seed = None if seed is None else checks.integer("seed", seed, 0)
        for name in options:
            if name not in self.defaults:
                known = ", ".join((*self.defaults, "seed"))
                raise TypeError(f"{type(self).__name__}: expected arguments among {known}, got {name!r}")
        self.options = {
            name: checks.real(name, value) if isinstance(self.defaults[name], float) else value
            for name, value in {**self.defaults, **options}.items()
        }

    def __call__(self, shape: Shape, dtype: DTypeLike = np.float32) -> Array:
        """Return the values."""
        drawn = nullcontext() if self.seed is None else init.use_generator(np.random.default_rng(self.seed))
        with drawn:
            return np.asarray(self.draw(tuple(shape), **self.options), dtype)

    def draw(self, shape: Shape, **options: Any) -> Array:
        """Return the values in double precision.

        Parameters
        ----------
        shape
            The weight's shape in Keras's layout.
        **options
            The distribution's arguments.
        """
        raise TypeError(f"{type(self).__name__}: expected a class with a draw method, got one without")

    def get_config(self) -> dict[str, Any]:
        """Return the arguments as JSON values."""
        return {**self.options, "seed": self.seed}


class Zeros(Initializer):
    """Zeros."""

    def draw(self, shape: Shape, **options: Any) -> Array:
        """Return the values, see `Initializer.draw`."""
        return np.zeros(shape)


class Ones(Initializer):
    """Ones."""

    def draw(self, shape: Shape, **options: Any) -> Array:
        """Return the values, see `Initializer.draw`."""
        return np.ones(shape)


class Constant(Initializer):
    """One value.

    Parameters
    ----------
    value
        The value.
    seed
        Without a meaning here.
    """

    defaults = {"value": 0.0}

    def __init__(self, value: float = 0.0, seed: int | None = None) -> None:
        super().__init__(seed, value=value)

    def draw(self, shape: Shape, **options: Any) -> Array:
        """Return the values, see `Initializer.draw`."""
        return np.full(shape, options["value"])


class RandomNormal(Initializer):
    """Draws from N(mean, stddev**2): ``RandomNormal(mean=0.0, stddev=0.05, seed=None)``."""

    defaults = {"mean": 0.0, "stddev": 0.05}

    def draw(self, shape: Shape, **options: Any) -> Array:
        """Return the values, see `Initializer.draw`."""
        return init.normal_(np.zeros(shape), options["mean"], options["stddev"])


class TruncatedNormal(RandomNormal):
    """RandomNormal with draws further than two standard deviations drawn again."""

    def draw(self, shape: Shape, **options: Any) -> Array:
        """Return the values, see `Initializer.draw`."""
        return options["mean"] + _truncated(shape, options["stddev"])


class RandomUniform(Initializer):
    """Draws from U[minval, maxval): ``RandomUniform(minval=-0.05, maxval=0.05, seed=None)``."""

    defaults = {"minval": -0.05, "maxval": 0.05}

    def draw(self, shape: Shape, **options: Any) -> Array:
        """Return the values, see `Initializer.draw`."""
        return init.uniform_(np.zeros(shape), options["minval"], options["maxval"])


class VarianceScaling(Initializer):
    """Variance ``scale / n``, with n after ``mode`` fan_in, fan_out or fan_avg.

    ``distribution`` is ``"uniform"``, ``"truncated_normal"`` or ``"untruncated_normal"``. Glorot and Bengio, 2010;
    He et al., 2015; LeCun et al., 1998.
    """

    defaults = {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal"}

    def draw(self, shape: Shape, **options: Any) -> Array:
        """Return the values, see `Initializer.draw`."""
        fan_in, fan_out = _fans(shape)
        mode = checks.choice("mode", options["mode"], ("fan_in", "fan_out", "fan_avg"))
        count = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
        variance = checks.real("scale", options["scale"], 0.0) / max(1.0, count)
        kinds = ("uniform", "truncated_normal", "untruncated_normal")
        kind = checks.choice("distribution", options["distribution"], kinds)
        if kind == "uniform":
            bound = math.sqrt(3.0 * variance)
            return init.uniform_(np.zeros(shape), -bound, bound)
        if kind == "truncated_normal":
            return _truncated(shape, math.sqrt(variance) / _CUT)
        return init.normal_(np.zeros(shape), 0.0, math.sqrt(variance))


class _Fixed(VarianceScaling):
    """A VarianceScaling under a name of its own."""

    fixed: dict[str, Any] = {}
    defaults: dict[str, Any] = {}

    def draw(self, shape: Shape, **options: Any) -> Array:
        """Return the values, see `Initializer.draw`."""
        return super().draw(shape, **self.fixed)


class GlorotUniform(_Fixed):
    """U(-a, a) with a = sqrt(6 / (fan_in + fan_out)): the default of kernels."""

    fixed = {"scale": 1.0, "mode": "fan_avg", "distribution": "uniform"}


class GlorotNormal(_Fixed):
    """A truncated normal distribution of variance 2 / (fan_in + fan_out)."""

    fixed = {"scale": 1.0, "mode": "fan_avg", "distribution": "truncated_normal"}


class HeUniform(_Fixed):
    """U(-a, a) with a = sqrt(6 / fan_in)."""

    fixed = {"scale": 2.0, "mode": "fan_in", "distribution": "uniform"}


class HeNormal(_Fixed):
    """A truncated normal distribution of variance 2 / fan_in."""

    fixed = {"scale": 2.0, "mode": "fan_in", "distribution": "truncated_normal"}


class LecunUniform(_Fixed):
    """U(-a, a) with a = sqrt(3 / fan_in)."""

    fixed = {"scale": 1.0, "mode": "fan_in", "distribution": "uniform"}


class LecunNormal(_Fixed):
    """A truncated normal distribution of variance 1 / fan_in."""

    fixed = {"scale": 1.0, "mode": "fan_in", "distribution": "truncated_normal"}


class Orthogonal(Initializer):
    """A (semi-)orthogonal matrix times ``gain``: the default of recurrent kernels."""

    defaults = {"gain": 1.0}

    def draw(self, shape: Shape, **options: Any) -> Array:
        """Return the values, see `Initializer.draw`."""
        if len(shape) < 2:
            raise checks.value_error("shape", "two axes or more, for an orthogonal matrix", f"{shape}")
        rows = math.prod(shape[:-1])
        return init.orthogonal_(np.zeros((rows, shape[-1])), options["gain"]).reshape(shape)


class Identity(Initializer):
    """The identity matrix times ``gain``."""

    defaults = {"gain": 1.0}

    def draw(self, shape: Shape, **options: Any) -> Array:
        """Return the values, see `Initializer.draw`."""
        if len(shape) != 2:
            raise checks.value_error("shape", "two axes, for an identity matrix", f"{shape}")
        return options["gain"] * np.eye(*shape)


_CLASSES: dict[str, type[Initializer]] = {
    kind.__name__: kind
    for kind in (
        Zeros, Ones, Constant, RandomNormal, TruncatedNormal, RandomUniform, VarianceScaling, GlorotUniform,
        GlorotNormal, HeUniform, HeNormal, LecunUniform, LecunNormal, Orthogonal, Identity,
    )
}  # fmt: skip
_NAMES: dict[str, type[Initializer]] = {
    "zeros": Zeros,
    "ones": Ones,
    "constant": Constant,
    "random_normal": RandomNormal,
    "normal": RandomNormal,
    "truncated_normal": TruncatedNormal,
    "random_uniform": RandomUniform,
    "uniform": RandomUniform,
    "variance_scaling": VarianceScaling,
    "glorot_uniform": GlorotUniform,
    "glorot_normal": GlorotNormal,
    "he_uniform": HeUniform,
    "he_normal": HeNormal,
    "lecun_uniform": LecunUniform,
    "lecun_normal": LecunNormal,
    "orthogonal": Orthogonal,
    "identity": Identity,
}


def get(argument: str, given: Any) -> Callable[..., Any]:
    """Return an initialiser by name, from its configuration, or as it is.

    Parameters
    ----------
    argument
        The name to use in messages.
    given
        A name, what ``describe`` returned, an `Initializer`, or a function of (shape, dtype).
    """
    if isinstance(given, dict):
        if not isinstance(given.get("config"), dict):
            raise checks.kind_error(argument, "an initialiser's class_name and config", given)
        return _CLASSES[checks.choice(argument, given.get("class_name"), _CLASSES)](**given["config"])
    if isinstance(given, str):
        kind = _NAMES.get(given) or _CLASSES.get(given)
        return kind() if kind is not None else _NAMES[checks.choice(argument, given, _NAMES)]()
    if isinstance(given, type) and issubclass(given, Initializer):
        return given()
    if not callable(given):
        raise checks.kind_error(argument, f"one of {', '.join(_NAMES)}, or a function of (shape, dtype)", given)
    return given


def describe(initializer: Callable[..., Any]) -> Any:
    """Return an initialiser as JSON values; a function of the user's is returned as it is.

    Parameters
    ----------
    initializer
        From ``get``.
    """
    if not isinstance(initializer, Initializer):
        return initializer
    return {"class_name": type(initializer).__name__, "config": initializer.get_config()}
