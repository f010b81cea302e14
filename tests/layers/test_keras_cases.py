"""Keras's own test cases of its recurrent layers, and of those around them, give Keras's numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fastseq import initializers, layers
from tests.layers.keras_layer_cases import CASES

GOLDEN = Path(__file__).parents[1] / "data" / "face_golden.npz"


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN) as found:
        return {name: found[name] for name in found.files}


@pytest.mark.parametrize("name", CASES)
def test_the_numbers_are_those_of_keras(name, golden):
    found = CASES[name](layers, initializers)
    several = found if isinstance(found, (list, tuple)) else [found]
    wanted = [value for key, value in golden.items() if key.rpartition(" ")[0] == f"case {name}"]
    assert len(several) == len(wanted) > 0
    for out, value in zip(several, wanted, strict=True):
        np.testing.assert_allclose(np.asarray(out), value, rtol=1e-5, atol=1e-5)


def test_the_numbers_written_in_keras_s_tests():
    """Some of the numbers stand in Keras's files: the golden ones are not ours under another name."""
    np.testing.assert_allclose(
        np.asarray(CASES["LSTM_correctness"](layers, initializers))[:, 0], [0.6288687, 0.86899155, 0.9460773], rtol=1e-5
    )
    np.testing.assert_allclose(
        np.asarray(CASES["GRU_correctness"](layers, initializers))[:, 0], [0.5217289, 0.6371659, 0.39384964], rtol=1e-5
    )
    np.testing.assert_allclose(
        np.asarray(CASES["bidirectional_masking"](layers, initializers)),
        [[0.19393763, 0.19393763, 0.11669192, 0.11669192], [0.30818558, 0.30818558, 0.28380975, 0.28380975]],
        rtol=1e-5,
    )
