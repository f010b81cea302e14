"""Vectors along an axis: by hand, and their gradients by finite differences."""

from __future__ import annotations

import numpy as np

from fastseq.nn import functional
from tests.gradcheck import gradcheck


def test_vectors_of_length_one():
    found = functional.normalize(np.array([[3.0, 4.0], [0.0, 0.0], [-2.0, 0.0]]))
    np.testing.assert_allclose(found.numpy(), [[0.6, 0.8], [0, 0], [-1, 0]], rtol=1e-15)
    found = functional.normalize(np.array([[3.0, 4.0], [1.0, -4.0]]), p=1.0, dim=0)
    np.testing.assert_allclose(found.numpy(), [[0.75, 0.5], [0.25, -0.5]], rtol=1e-15)


def test_cosines_of_shapes_that_broadcast(rng):
    one, other = rng.standard_normal((5, 1, 4)), rng.standard_normal((1, 3, 4))
    found = functional.cosine_similarity(one, other, dim=-1).numpy()
    for i in range(5):
        for j in range(3):
            a, b = one[i, 0], other[0, j]
            np.testing.assert_allclose(found[i, j], a @ b / np.sqrt(a @ a) / np.sqrt(b @ b), rtol=1e-13)
    # a vector of one number against vectors of two: it broadcasts first, then its length is that of two
    found = functional.cosine_similarity(np.ones((1, 1)), np.array([[1.0, 0.0]]))
    np.testing.assert_allclose(found.numpy(), [np.sqrt(0.5)], rtol=1e-15)


def test_gradients(rng):
    gradcheck(lambda x: functional.normalize(x, dim=1), rng.standard_normal((3, 4)))
    gradcheck(lambda a, b: functional.cosine_similarity(a, b), rng.standard_normal((3, 4)), rng.standard_normal((3, 1)))
