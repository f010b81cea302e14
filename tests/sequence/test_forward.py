"""The forward driver with a linear cell, exactly: sizes, lengths, directions, states, threads."""

from __future__ import annotations

import numpy as np
import pytest

import fastseq as fs
from fastseq.autograd.recurrent import PackedLayer, recurrent
from fastseq.autograd.tensor import Tensor
from tests.sequence.linear_cell import CELLS, LinearWeights, case, expected, run

# (B, T, F, H): on and off lanes (8), tile rows (6, 4, 2, 1; 24), blocks
SIZES = [
    (1, 1, 1, 1),
    (1, 4, 3, 24),
    (2, 3, 8, 8),
    (7, 3, 5, 9),
    (25, 4, 1, 3),
    (53, 2, 17, 16),
    (5, 3, 100, 2),
    (3, 3, 2, 75),
]
each_cell = pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.__name__.split("_")[0])
FORWARD = ("out", "h", "m")


@each_cell
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("sizes", SIZES)
def test_outputs_and_states_are_exact(sizes, directions, cell, rng):
    given = case(rng, *sizes, directions, cell)
    got, want = run(given), expected(given)
    for name in FORWARD:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)


def test_without_lengths_all_steps_count(rng):
    given = case(rng, 7, 3, 5, 9, 2)
    given = given._replace(x=np.nan_to_num(given.x))
    full = np.full(7, 3)
    want = expected(given, full)
    for lengths in (None, full):
        got = run(given, lengths)
        for name in FORWARD:
            np.testing.assert_array_equal(got[name], want[name], err_msg=name)


def test_without_a_tape_the_numbers_are_the_same(rng):
    given = case(rng, 7, 4, 5, 9, 2)
    layer = PackedLayer(LinearWeights, [tuple(Tensor(w, requires_grad=True) for w in d) for d in given.directions])
    with fs.no_grad():
        outputs = recurrent(layer, Tensor(given.x), [Tensor(s) for s in given.initial], given.lengths)
    want = expected(given)
    for name, got in zip(FORWARD, outputs, strict=True):
        assert not got.requires_grad
        np.testing.assert_array_equal(got.numpy(), want[name], err_msg=name)


def test_states_left_out_are_zeros(rng):
    given = case(rng, 5, 3, 2, 9, 2)
    given = given._replace(initial=tuple(np.zeros_like(s) for s in given.initial))
    layer = PackedLayer(LinearWeights, [tuple(Tensor(w) for w in d) for d in given.directions])
    outputs = recurrent(layer, Tensor(given.x), [None, None], given.lengths)
    want = expected(given)
    for name, got in zip(FORWARD, outputs, strict=True):
        np.testing.assert_array_equal(got.numpy(), want[name], err_msg=name)


def test_rows_of_no_length_keep_their_states(rng):
    given = case(rng, 5, 3, 2, 9, 2)._replace(lengths=np.array([0, 3, 0, 1, 0]))
    given = given._replace(x=np.nan_to_num(given.x))
    got = run(given)
    for row in (0, 2, 4):
        np.testing.assert_array_equal(got["h"][:, row], given.initial[0][:, row])
        np.testing.assert_array_equal(got["m"][:, row], given.initial[1][:, row])
        assert not got["out"][row].any()


@each_cell
@pytest.mark.parametrize("sizes", [(0, 3, 2, 4), (3, 0, 2, 4), (0, 0, 1, 1)])
def test_no_rows_or_no_steps(sizes, cell, rng):
    given = case(rng, *sizes, 2, cell)
    got, want = run(given), expected(given)
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)


@each_cell
@pytest.mark.parametrize("count", [1, 2, 3, 5, 40])
@pytest.mark.parametrize("sizes", [(7, 4, 3, 9), (2, 3, 2, 5), (30, 2, 2, 3)])
def test_shards_meet_at_no_seam(sizes, count, cell, rng, shards):
    # shards of unequal size, empty ones among them
    given = case(rng, *sizes, 2, cell)
    shards(count)
    got, want = run(given), expected(given)
    for name in want:
        np.testing.assert_array_equal(got[name], want[name], err_msg=name)
