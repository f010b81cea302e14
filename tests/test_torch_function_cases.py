"""PyTorch's own samples (`op_db`) of the functions that `nn.functional` has: values and gradients beside torch's."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from fastseq.autograd import Tensor
from fastseq.nn import functional

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # torch's own tests import it
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    invocations = pytest.importorskip("torch.testing._internal.common_methods_invocations")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

MOST = 60  # samples of one function
UNLIKE = {
    "ctc_loss": "torch's gradient is right behind log_softmax only; see test_torch_module_cases.py",
    "dropout": "random",
    "embedding": "torch's samples give weights before indices",
    "one_hot": "torch's samples are of the dtype that is asked for, and it takes integers only",
    "pad circular": "other modes than constant are refused",
    "pad reflect": "other modes than constant are refused",
    "pad replicate": "other modes than constant are refused",
    "pad replicate_negative": "other modes than constant are refused",
}
OPS = {
    f"{op.name.removeprefix('nn.functional.')} {op.variant_test_name}".strip(): op
    for op in invocations.op_db
    if op.name.startswith("nn.functional.") or op.name in ("softmax", "log_softmax", "sigmoid", "tanh")
}
NAMES = sorted(
    name for name in OPS if hasattr(functional, name.split()[0]) and not {name, name.split()[0]} & UNLIKE.keys()
)


def twin(value, pairs):
    """An argument for fastseq; tensors are put beside torch's."""
    if isinstance(value, torch.Tensor):
        if value.requires_grad:
            value.retain_grad()
        pairs.append((value, Tensor(value.detach().numpy().copy(), value.requires_grad)))
        return pairs[-1][1]
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    return type(value)(twin(one, pairs) for one in value) if isinstance(value, (tuple, list)) else value


def agree(found, want, what):
    """Assert equal shapes, and values within rounding of the largest."""
    assert found.shape == want.shape, what
    largest = np.abs(want[np.isfinite(want)]).max(initial=1.0)
    np.testing.assert_allclose(found, want, rtol=1e-10, atol=1e-10 * largest, err_msg=what)


@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients(name):
    torch.manual_seed(0)
    op, count = OPS[name], 0
    for sample in itertools.islice(op.sample_inputs("cpu", torch.float64, requires_grad=True), MOST):
        if sample.kwargs.get("dropout_p"):
            continue  # random
        if name in ("normalize", "cosine_similarity") and sample.input.ndim == 0:
            continue  # a number has no axis here
        if name == "prelu" and sample.input.ndim > 2:
            continue  # features are the last axis here
        if sample.kwargs.get("attn_mask") is not None:  # a constant here, which an error says
            sample.kwargs["attn_mask"] = sample.kwargs["attn_mask"].detach()
        pairs: list = []
        want = op(sample.input, *sample.args, **sample.kwargs)
        arguments = [twin(value, pairs) for value in (sample.input, *sample.args)]
        options = {option: twin(value, pairs) for option, value in sample.kwargs.items()}
        found = getattr(functional, name.split()[0])(*arguments, **options)
        what = f"{[np.shape(a) for a in arguments]} {list(sample.kwargs)}"
        agree(found.numpy(), want.detach().numpy(), what)
        count += 1
        if not want.requires_grad or not torch.isfinite(want).all():
            continue
        upstream = np.random.default_rng(0).standard_normal(want.shape or (1,)).reshape(want.shape)
        want.backward(torch.from_numpy(upstream))
        found.backward(upstream)
        for theirs, ours in pairs:
            if theirs.requires_grad and theirs.grad is not None:
                agree(ours.grad.numpy(), theirs.grad.numpy(), f"gradient of {what}")
    assert count


def test_enough_functions_are_there():
    assert len(NAMES) >= 20
