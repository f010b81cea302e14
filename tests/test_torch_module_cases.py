"""PyTorch's own module cases (`module_db`), with fastseq's modules beside torch's: outputs, gradients, what is refused.

Each case is a constructor call and a forward call; the fastseq module takes the same arguments and torch's state_dict.
Differences that are meant: ``batch_first`` is True by default here; convolutions, pools and batch normalisation have
time before features, and features are the last axis.
"""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

from fastseq import nn
from fastseq.autograd import Tensor
from fastseq.nn.utils.rnn import PackedSequence, pack_padded_sequence

torch = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # torch's own tests import it
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    common_modules = pytest.importorskip("torch.testing._internal.common_modules")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

#: Rounding, relative to the largest number of a case: the inputs, in -9..9, saturate gates and softmax, so that
#: gradients are small differences of large numbers.
LIMIT = {"float32": 1e-5, "float64": 1e-12}

INFOS = {info.module_cls.__name__: info for info in common_modules.module_db if hasattr(nn, info.module_cls.__name__)}
REFUSING = sorted(name for name, info in INFOS.items() if info.module_error_inputs_func)
FEATURES_LAST = ("Conv1d", "AvgPool1d", "MaxPool1d", "BatchNorm1d", "PReLU")
TIME_FIRST = ("RNN", "GRU", "LSTM", "MultiheadAttention", "TransformerEncoderLayer")


class Twin:
    """A case's arguments for fastseq, and which of torch's tensors became which of fastseq's."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.pairs = {}

    def __call__(self, value):
        """One argument as fastseq takes it."""
        if isinstance(value, torch.Tensor):
            if id(value) not in self.pairs:
                if value.requires_grad:
                    value.retain_grad()
                self.pairs[id(value)] = value, Tensor(value.detach().numpy().copy(), value.requires_grad)
            return self.pairs[id(value)][1]
        if isinstance(value, torch.nn.utils.rnn.PackedSequence):
            padded, lengths = torch.nn.utils.rnn.pad_packed_sequence(value, batch_first=True)
            return pack_padded_sequence(padded.detach().numpy().copy(), lengths.numpy(), True, enforce_sorted=False)
        if isinstance(value, torch.nn.TransformerEncoderLayer):
            made = nn.TransformerEncoderLayer(
                value.linear1.in_features, value.self_attn.num_heads, value.linear1.out_features, value.dropout.p,
                value.activation.__name__, value.norm1.eps, value.self_attn.batch_first, value.norm_first,
                value.linear1.bias is not None, dtype=self.dtype,
            )  # fmt: skip
            made.load_state_dict(value.state_dict())
            return made
        if value in (torch.nn.functional.relu, torch.nn.functional.gelu):
            return getattr(nn.functional, value.__name__)
        return type(value)(map(self, value)) if isinstance(value, (tuple, list)) else value

    def module(self, cls, given):
        """The fastseq module that torch's arguments make."""
        made = getattr(nn, cls.__name__)
        options = {name: self(value) for name, value in given.kwargs.items() if name not in ("device", "dtype")}
        if "dtype" in inspect.signature(made).parameters:
            options["dtype"] = self.dtype
        arguments = [self(value) for value in given.args]
        bound = inspect.signature(made).bind_partial(*arguments, **options).arguments
        if cls.__name__ in TIME_FIRST and "batch_first" not in bound:
            options["batch_first"] = False
        return made(*arguments, **options)


def flat(found):
    """Outputs as a list of tensors; None stays where it is."""
    if isinstance(found, torch.nn.utils.rnn.PackedSequence):
        return [torch.nn.utils.rnn.pad_packed_sequence(found, batch_first=True)[0]]
    if isinstance(found, PackedSequence):
        return [found.padded]
    return [one for part in found for one in flat(part)] if isinstance(found, (tuple, list)) else [found]


def array(found):
    """A gradient or output as an array."""
    return None if found is None else found.detach().numpy()


def results(info, case, dtype):
    """Pairs of numbers by name, torch's and fastseq's, of one case."""
    cls, given, called, twin = info.module_cls, case.constructor_input, case.forward_input, Twin(dtype)
    kind = {"dtype": getattr(torch, dtype)} if "dtype" in inspect.signature(cls).parameters else {}
    if cls.__name__ in ("RNN", "GRU", "LSTM"):
        kind = {"dtype": getattr(torch, dtype)}
    theirs = cls(*given.args, **{**given.kwargs, **kind})
    ours = twin.module(cls, given)
    ours.load_state_dict(theirs.state_dict())
    arguments, others = [twin(value) for value in called.args], list(called.args)
    rows = cls in (torch.nn.BatchNorm1d, torch.nn.PReLU) and others[0].ndim <= 2  # (B, F)
    turned = cls.__name__ in FEATURES_LAST and not rows
    if turned:
        arguments = [x.movedim(max(0, min(1, x.ndim - 2)), -1) for x in arguments]
    if cls is torch.nn.CTCLoss:  # whose gradient in torch is only right behind log_softmax
        others[0], arguments[0] = others[0].log_softmax(-1), nn.functional.log_softmax(arguments[0], -1)
    wanted = flat(theirs(*others, **called.kwargs))
    found = flat(ours(*arguments, **{name: twin(value) for name, value in called.kwargs.items()}))
    if turned:
        found = [out.movedim(-1, max(0, min(1, out.ndim - 2))) for out in found]
    assert len(wanted) == len(found)
    rng = np.random.default_rng(0)
    pairs = {f"output {k}": pair for k, pair in enumerate(zip(wanted, found, strict=True))}
    sums = [
        ((a * torch.from_numpy(g)).sum(), (b * g).sum())
        for a, b in pairs.values()
        if a is not None and a.requires_grad and b.shape == tuple(a.shape) and torch.isfinite(a).all()
        for g in [rng.standard_normal(a.shape or (1,)).astype(dtype).reshape(a.shape)]
    ]
    if sums:
        sum(one for one, _ in sums).backward()
        sum(other for _, other in sums).backward()
        leaves = [pair for pair in twin.pairs.values() if pair[0].requires_grad]
        pairs |= {f"gradient {k}": (a.grad, b.grad) for k, (a, b) in enumerate(leaves)}
        own = dict(ours.named_parameters())
        pairs |= {name: (parameter.grad, own[name].grad) for name, parameter in theirs.named_parameters()}
    return {name: (array(a), array(b)) for name, (a, b) in pairs.items()}


def check(pairs, limit):
    """Assert that torch's numbers and fastseq's agree in shape, dtype and, within the limit, value."""
    finite = [np.abs(a[np.isfinite(a)]).max(initial=0) for a, _ in pairs.values() if a is not None]
    for name, (a, b) in pairs.items():
        if a is None or b is None:
            assert all(one is None or not one.any() for one in (a, b)), name  # no gradient at all, or zeros
            continue
        assert a.shape == b.shape and a.dtype == b.dtype, (name, a.shape, b.shape, a.dtype, b.dtype)
        np.testing.assert_allclose(b, a, rtol=0, atol=limit * max(finite), err_msg=name)


@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("name", INFOS)
def test_numbers(name, dtype):
    info, count = INFOS[name], 0
    for training in (False, True) if info.train_and_eval_differ else (False,):
        torch.manual_seed(1)
        options = {"device": "cpu", "dtype": getattr(torch, dtype), "requires_grad": True, "training": training}
        for case in info.module_inputs_func(info, **options):
            check(results(info, case, dtype), LIMIT[dtype])
            count += 1
    assert count


@pytest.mark.parametrize("name", REFUSING)
def test_what_torch_refuses(name):
    info = INFOS[name]
    options = {"device": "cpu", "dtype": torch.float32, "requires_grad": False, "training": False}
    for case in info.module_error_inputs_func(info, **options):
        given, called = case.module_error_input.constructor_input, case.module_error_input.forward_input
        with pytest.raises((TypeError, ValueError), match="expected .* got|expected none"):
            twin = Twin("float32")
            twin.module(info.module_cls, given)(*map(twin, called.args), **called.kwargs)
