"""The node tests that ONNX ships for its backends, with fastseq as the backend.

Every node test of the operators in the table is run, but for those of ``EXCLUDED``, which says why.
"""

from __future__ import annotations

import re
import unittest
import warnings
from functools import cache

import pytest

pytest.importorskip("onnx")

pytestmark = pytest.mark.slow  # ONNX takes seconds to make its cases

#: Pattern of the tests' names to operator; ``_expanded`` ones consist of an operator's parts, of which we have none.
NAMES = {
    r"test_attention_.*": "Attention",
    r"test_layer_normalization_.*": "LayerNormalization",
    r"test_adam(_multiple)?": "Adam",
    r"test_adagrad(_multiple)?": "Adagrad",
    r"test_(nesterov_)?momentum(_multiple)?": "Momentum",
    r"test_lstm_.*": "LSTM",
    r"test_gru_.*": "GRU",
    r"test_(simple_)?rnn_.*": "RNN",
    r"test_sce_.*": "SoftmaxCrossEntropyLoss",
    r"test_nllloss_.*": "NegativeLogLikelihoodLoss",
}
#: Pattern of names to reason.
EXCLUDED = {
    r"test_attention_.*(b?fp?16|float16).*": "fastseq computes in float32 and float64",
    r"test_attention_24_qk_matmul_output_mode3_softmax_precision": "its elements are float16 too",
    r"test_attention_.*softcap.*|test_attention_local_window_gqa_rank4_mask": "the fused attention has no soft cap",
    r"test_attention_.*qk_matmul(_bias.*)?": "products before the softmax are not kept, they exist block by block",
}
#: How many node tests of each operator must be there, over all releases of ONNX that are allowed.
LEAST = {
    "Attention": 30,
    "LayerNormalization": 19,
    "Adam": 2,
    "Adagrad": 2,
    "Momentum": 3,
    "LSTM": 4,
    "GRU": 4,
    "RNN": 4,
    "SoftmaxCrossEntropyLoss": 34,
    "NegativeLogLikelihoodLoss": 18,
}


@cache
def node_tests() -> type[unittest.TestCase]:
    """ONNX's own class of node tests, made for this backend."""
    import onnx.backend.test

    from tests.onnx_backend.backend import FastseqBackend

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of making cases for all other operators
        runner = onnx.backend.test.BackendTest(FastseqBackend, __name__)
    return runner.test_cases["OnnxBackendNodeModelTest"]


def names_of(pattern: str) -> list[str]:
    """The tests whose name a pattern matches, but for the excluded and the expanded."""
    every = [name.removesuffix("_cpu") for name in dir(node_tests()) if name.endswith("_cpu")]
    return [
        name
        for name in every
        if re.fullmatch(pattern, name)
        and "_expanded" not in name
        and not any(re.fullmatch(excluded, name) for excluded in EXCLUDED)
    ]


@pytest.mark.parametrize("pattern", NAMES)
def test_node_models(pattern):
    names, failures = names_of(pattern), {}
    assert len(names) >= LEAST[NAMES[pattern]]
    for name in names:
        try:
            node_tests()(f"{name}_cpu").debug()
        except Exception as error:  # one that skips itself has not passed either
            failures[name] = error
    assert not failures, "\n".join(f"{name}: {error!r}"[:500] for name, error in failures.items())


def test_the_table_and_the_patterns_agree():
    from tests.onnx_backend.backend import OPERATORS

    assert sorted(name for _, name in OPERATORS) == sorted(NAMES.values()) == sorted(LEAST)


def test_what_fastseq_does_not_compute_is_refused():
    import onnx

    from tests.onnx_backend.backend import FastseqBackend
    from tests.onnx_backend.operators import OPERATORS, Unsupported

    one = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    two = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Erf", ["x"], ["y"])], "g", [one], [two])
    with pytest.raises(Unsupported, match="Erf"):
        FastseqBackend.prepare(onnx.helper.make_model(graph))
    with pytest.raises(Unsupported, match="clip"):
        OPERATORS["", "LSTM"]({"clip": 3.0}, [])
