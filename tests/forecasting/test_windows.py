"""windows: every history with what followed it, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastseq.forecasting import windows


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4), st.integers(0, 12), st.booleans())
def test_windows_are_what_a_loop_cuts(history, horizon, stride, extra, per_step):
    count = history + horizon + extra
    series = np.stack([np.arange(count), 100 + np.arange(count)], axis=1).astype(np.float32)
    target = series[:, 1] * 10
    cut = windows(series, history, horizon, stride, target=target, per_step=per_step)
    assert cut.origins[-1] == count - horizon and cut.origins[0] - history < stride
    assert set(np.diff(cut.origins)) <= {stride}
    assert len(cut.inputs) == len(cut.targets) == len(cut.origins)
    for inputs, targets, origin in zip(cut.inputs, cut.targets, cut.origins, strict=True):
        assert np.array_equal(inputs, series[origin - history : origin])
        if per_step:
            wanted = [target[t + 1 : t + 1 + horizon] for t in range(origin - history, origin)]
        else:
            wanted = target[origin : origin + horizon]
        assert np.array_equal(targets, wanted)


def test_one_series_is_its_own_target():
    series = np.arange(10.0)
    cut = windows(series, 3, 2)
    assert cut.inputs.shape == (6, 3, 1) and np.array_equal(cut.targets[0], [3, 4])
    assert np.shares_memory(cut.inputs, series) and np.shares_memory(cut.targets, series)
    assert not cut.inputs.flags.writeable


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(4), 3, 2), r"series: expected at least history \+ horizon = 5 rows, got 4"),
        ((np.zeros((2, 2, 2)), 1, 1), r"series: expected an array of shape \(N,\) or \(N, F\)"),
        (([1.0, 2.0], 1, 1), "series: expected an array"),
        ((np.zeros(9), 0, 2), "history: expected an integer >= 1, got 0"),
        ((np.zeros(9), 1, 0), "horizon"),
        ((np.zeros(9), 1, 1, 0), "stride"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        windows(*arguments)


def test_bad_target():
    with pytest.raises(ValueError, match=r"target: expected an array of shape \(9,\)"):
        windows(np.zeros(9), 1, 1, target=np.zeros(8))
    with pytest.raises(TypeError, match="history: expected an integer, got 1.5"):
        windows(np.zeros(9), 1.5, 1)
