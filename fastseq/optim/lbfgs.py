"""L-BFGS: many gradients of one fixed problem, the curvature guessed from their changes, by SciPy's L-BFGS-B.

Source: Liu and Nocedal, "On the limited memory BFGS method", 1989; the line search is Moré and Thuente's, 1994, whose
steps satisfy the strong Wolfe conditions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastseq import checks
from fastseq.optim.optimizer import Optimizer


class LBFGS(Optimizer):
    """L-BFGS through ``scipy.optimize.minimize``, for losses that come out the same when computed again.

    One ``step`` is a whole minimisation of at most ``max_iter`` iterations from the present weights; the next step
    starts from where it ended, with no curvature remembered. The numbers are gathered in double precision, whatever
    the parameters' dtype. The line search finds each step's length.

    Parameters
    ----------
    params
        Parameters, in one group.
    lr
        1: there is no learning rate beside the line search. Stands here for PyTorch's order of arguments.
    max_iter
        Iterations per step, >= 1.
    max_eval
        Evaluations per step after which no new iteration begins; None for 1.25 times ``max_iter``.
    tolerance_grad
        Stop when no entry of the gradient is larger, >= 0.
    tolerance_change
        Stop when an iteration lowers the loss by less than this share of it (of 1 for losses below 1), >= 0.
    history_size
        How many changes of the gradient the curvature is guessed from, >= 1.
    line_search_fn
        ``"strong_wolfe"``, which is always taken. (PyTorch's default is none at all.)

    Attributes
    ----------
    n_iter, func_evals : int
        Iterations and evaluations of all steps so far.
    message : str
        Why the last step ended.

    Examples
    --------
    >>> def closure():
    ...     optimizer.zero_grad()
    ...     loss = loss_of_all_data(model)
    ...     loss.backward()
    ...     return loss
    >>> optimizer.step(closure)  # doctest: +SKIP
    """

    needs_closure = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str = "strong_wolfe",
    ) -> None:
        if checks.real("lr", lr) != 1:
            raise checks.value_error("lr", "1: the line search finds each step's length", lr)
        checks.choice("line_search_fn", line_search_fn, ("strong_wolfe",))
        defaults = {
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
        }
        self.n_iter = self.func_evals = 0
        self.message = ""
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        """Add the one group of parameters there is.

        Parameters
        ----------
        param_group
            A dict with ``"params"`` and any of the options.
        """
        if self.param_groups:
            raise checks.value_error("param_group", "one group of parameters: L-BFGS steps along them all", "another")
        super().add_param_group(param_group)

    def _check(self, group: Mapping[str, Any]) -> None:
        checks.integer("max_iter", group["max_iter"], 1)
        checks.integer("history_size", group["history_size"], 1)
        if group["max_eval"] is not None:
            checks.integer("max_eval", group["max_eval"], 1)
        checks.real("tolerance_grad", group["tolerance_grad"], 0.0)
        checks.real("tolerance_change", group["tolerance_change"], 0.0)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Minimise what the closure computes.

        Parameters
        ----------
        closure
            Forgets the gradients, computes loss and gradients, and returns the loss: a number or a Tensor of one.
            Called many times. A parameter without a gradient stays where it is.

        Returns
        -------
        Any
            What the closure returned first.

        Raises
        ------
        TypeError
            If there is no closure.

        Notes
        -----
        Where the loss or a gradient is not finite to begin with, the weights are left as they are and the loss is
        returned; where that happens on the way, the step ends at the best weights that were met.
        """
        if not callable(closure):
            raise checks.kind_error(
                "closure", "a function that computes loss and gradients and returns the loss", closure
            )
        from scipy.optimize import minimize

        (group,) = self.param_groups
        problem = _Problem(group["params"], closure)
        start = problem.gather()
        self.func_evals += 1
        if not problem.evaluate(start):
            self.message = "loss or gradient not finite at the start"
            return problem.first
        evaluations = group["max_eval"] or group["max_iter"] * 5 // 4
        options = {
            "maxiter": group["max_iter"],
            "maxfun": evaluations,
            "maxcor": min(group["history_size"], group["max_iter"]),  # SciPy allots them all at once
            "gtol": group["tolerance_grad"],
            "ftol": group["tolerance_change"],
        }
        found = minimize(problem, start, jac=True, method="L-BFGS-B", options=options)
        problem.scatter(problem.best)
        self.n_iter += int(found.nit)
        self.func_evals += problem.calls - 1
        self.message = str(found.message)
        for buffer in self._buffers[0]:
            buffer.steps = [step + 1 for step in buffer.steps]
        return problem.first


class _Problem:
    """Loss and gradient as a function of one vector, which remembers the best vector it was called with."""

    def __init__(self, parameters: list[Any], closure: Callable[[], Any]) -> None:
        self.parameters = parameters
        self.closure = closure
        self.calls = 0
        self.first: Any = None
        self.lowest = math.inf
        self.best = self.gather()
        self._known: tuple[NDArray[np.float64], float, NDArray[np.float64]] | None = None

    def gather(self) -> NDArray[np.float64]:
        return np.concatenate([p._data.reshape(-1).astype(np.float64) for p in self.parameters])

    def scatter(self, vector: NDArray[np.float64]) -> None:
        start = 0
        for parameter in self.parameters:
            stop = start + parameter._data.size
            with np.errstate(over="ignore"):  # a trial step may leave single precision: its loss is infinite then
                parameter._data[...] = vector[start:stop].reshape(parameter._data.shape)
            parameter._version[0] += 1
            start = stop

    def evaluate(self, vector: NDArray[np.float64]) -> bool:
        """Compute loss and gradient; say whether both are finite."""
        self.scatter(vector)
        loss = self.closure()
        value = float(loss)
        if self.calls == 0:
            self.first = loss
        self.calls += 1
        gradients = [
            np.zeros(p._data.size) if p.grad is None else p.grad._data.reshape(-1).astype(np.float64)
            for p in self.parameters
        ]
        gradient = np.concatenate(gradients)
        finite = math.isfinite(value) and bool(np.isfinite(gradient).all())
        if finite and value < self.lowest:
            self.lowest, self.best = value, vector.copy()
        self._known = vector.copy(), value, gradient
        return finite

    def __call__(self, vector: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        known = self._known
        if known is None or not np.array_equal(known[0], vector):
            self.evaluate(vector)
            known = self._known
        assert known is not None
        return known[1], known[2]
