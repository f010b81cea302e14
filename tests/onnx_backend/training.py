"""Optimisers: operators of ai.onnx.preview.training, each by one step of the optimiser of that name.

The inputs are the learning rate, the number of updates so far, and then all weights, all gradients, all first states,
and so on.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastseq import optim
from fastseq.autograd.tensor import Tensor
from fastseq.nn import Parameter
from tests.onnx_backend.operators import Arrays, Unsupported, operator, options

DOMAIN = "ai.onnx.preview.training"


def stepped(kind: Any, before: int, names: list[str], inputs: Arrays, **chosen: Any) -> list[np.ndarray]:
    """New weights and states after one step of an optimiser that has taken ``before`` of them."""
    count = len(inputs) // (2 + len(names))
    groups = [inputs[k : k + count] for k in range(0, len(inputs), count)]
    parameters = [Parameter(values.copy()) for values in groups[0]]
    optimizer = kind(parameters, **chosen)
    state = {
        number: {"step": before} | {name: groups[2 + place][number] for place, name in enumerate(names)}
        for number in range(count)
    }
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    for parameter, gradient in zip(parameters, groups[1], strict=True):
        parameter.grad = Tensor(gradient)
    optimizer.step()
    after = optimizer.state_dict()["state"]
    weights = [np.array(parameter.numpy()) for parameter in parameters]
    return weights + [after[number][name] for name in names for number in range(count)]


@operator("Adam", DOMAIN)
def adam(attributes: dict[str, Any], inputs: Arrays) -> Arrays:
    """Adam; ``epsilon`` is added to the root before the second moment is corrected, and not at all at update 0."""
    o = options(attributes, alpha=0.9, beta=0.999, epsilon=0.0, norm_coefficient=0.0, norm_coefficient_post=0.0)
    rate, updates = float(inputs[0]), int(inputs[1])
    step = max(updates, 1)
    root = np.sqrt(1 - o["beta"] ** step)
    if updates == 0:  # not corrected: undo what the first step corrects
        rate *= (1 - o["alpha"]) / root
    found = stepped(
        optim.Adam,
        step - 1,
        ["exp_avg", "exp_avg_sq"],
        inputs[2:],
        lr=rate,
        betas=(o["alpha"], o["beta"]),
        eps=o["epsilon"] / root,
        weight_decay=o["norm_coefficient"],
    )
    count = len(found) // 3
    shrink = np.float32(1 - o["norm_coefficient_post"])
    return [weights * shrink for weights in found[:count]] + found[count:]


@operator("Adagrad", DOMAIN)
def adagrad(attributes: dict[str, Any], inputs: Arrays) -> Arrays:
    """Adagrad."""
    o = options(attributes, decay_factor=0.0, epsilon=1e-6, norm_coefficient=0.0)
    return stepped(
        optim.Adagrad,
        int(inputs[1]),
        ["sum"],
        inputs[2:],
        lr=float(inputs[0]),
        lr_decay=o["decay_factor"],
        eps=o["epsilon"],
        weight_decay=o["norm_coefficient"],
    )


@operator("Momentum", DOMAIN)
def momentum(attributes: dict[str, Any], inputs: Arrays) -> Arrays:
    """Stochastic gradient descent with momentum; at update 0 the gradient counts whole, beside the given velocity."""
    o = options(attributes, alpha=0.9, beta=1.0, mode="standard", norm_coefficient=0.0)
    take = o["beta"] if int(inputs[1]) > 0 else 1.0
    nesterov = o["mode"] == "nesterov"
    if nesterov and take != 1.0:
        raise Unsupported("Nesterov's momentum with dampening, which PyTorch's optimiser does not have")
    return stepped(
        optim.SGD,
        1,  # at step 0 the velocity that is given would be left out
        ["momentum_buffer"],
        inputs[2:],
        lr=float(inputs[0]),
        momentum=o["alpha"],
        dampening=1.0 - take,
        nesterov=nesterov,
        weight_decay=o["norm_coefficient"],
    )
