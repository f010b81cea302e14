"""score_batches: any cut of the stream gives the same predictions in input order."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastseq as fs
from fastseq.scoring import ScoringError, score_batches
from tests.scoring.series_tables import expected, list_table, long_table, ragged, running, weighted_sum


def collect(batches) -> pa.Table:
    """All batches as one table."""
    return pa.Table.from_batches(list(batches))


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=30),
    st.integers(1, 40),
    st.integers(1, 7),
    st.sampled_from(["long", "list"]),
)
def test_any_cut_of_the_stream_gives_the_same(lengths, rows, batch_size, layout):
    series = ragged(lengths)
    table = (long_table if layout == "long" else list_table)(series)
    out = collect(score_batches(weighted_sum, table.to_batches(rows), batch_size=batch_size))
    assert out.column_names == ["unique_id", "prediction"]
    assert out["unique_id"].to_pylist() == [f"s{k}" for k in range(len(series))]
    assert out["prediction"].type == pa.float32()
    assert np.array_equal(out["prediction"].to_numpy(), expected(series))


def test_a_series_over_many_batches_and_windows():
    series = ragged([70_000, 3, 140_000, 1], features=1)
    out = collect(score_batches(weighted_sum, long_table(series).to_batches(5_000)))
    assert np.array_equal(out["prediction"].to_numpy(), expected(series))


def test_one_large_batch_is_cut():
    series = ragged([50] * 3000, features=2)
    windows = list(score_batches(weighted_sum, long_table(series).combine_chunks().to_batches(), batch_size=16))
    assert len(windows) > 2
    assert np.array_equal(pa.Table.from_batches(windows)["prediction"].to_numpy(), expected(series))


def test_predictions_per_step_give_the_last_valid_one():
    series = ragged([4, 1, 6])
    out = collect(score_batches(running, long_table(series).to_batches()))
    assert out.column_names == ["unique_id", "prediction_0", "prediction_1"]
    assert out["prediction_1"].to_pylist() == [4, 1, 6]
    assert out["prediction_0"].to_pylist() == [float(one.sum()) for one in series]


def test_the_batch_of_the_model_is_bounded():
    shapes = []

    def model(x, lengths):
        shapes.append(x.shape)
        return weighted_sum(x, lengths)

    lengths = [100_000, 50_000, 50_000, *[3] * 100]
    list(score_batches(model, long_table(ragged(lengths, 1)).to_batches(), batch_size=32))
    assert max(shape[0] for shape in shapes) <= 32
    assert max(shape[0] * shape[1] for shape in shapes) <= 100_000  # the longest alone
    assert {shape[1] for shape in shapes} >= {100_000, 50_000, 3}


@pytest.mark.parametrize("kind", [pa.int64(), pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
def test_ids_keep_their_kind(kind):
    series = ragged([2, 3])
    ids = [7, 3] if kind == pa.int64() else ["007", "3"]
    table = long_table(series, ids)
    table = table.set_column(0, "unique_id", table["unique_id"].cast(kind))
    out = collect(score_batches(weighted_sum, table.to_batches()))
    assert out["unique_id"].to_pylist() == ids
    assert out["unique_id"].type == (kind.value_type if pa.types.is_dictionary(kind) else kind)


@pytest.mark.parametrize(
    "times",
    [
        pa.array([1, 5, 2, 3]),
        pa.array([1.0, 1.5, -2.0, 3.0]),
        pa.array([1, 5, 2, 3], pa.date32()),
        pa.array([1, 5, 2, 3], pa.time32("s")),
        pa.array([1, 5, 2, 3], pa.timestamp("ns", "UTC")),
    ],
    ids=lambda times: str(times.type),
)
def test_times_of_every_kind(times):
    table = long_table(ragged([2, 2]))
    table = table.set_column(1, "ds", times)
    assert collect(score_batches(weighted_sum, table.to_batches())).num_rows == 2
    backwards = table.take([1, 0, 2, 3])
    with pytest.raises(ScoringError, match="row 2: expected ascending times in column 'ds'"):
        collect(score_batches(weighted_sum, backwards.to_batches()))
    collect(score_batches(weighted_sum, backwards.to_batches(), time=None, features=["a", "b", "c"]))


def test_feature_types_are_converted():
    series = ragged([2, 3])
    table = long_table(series)
    for name, kind in {"a": pa.decimal128(10, 3), "b": pa.float64(), "c": pa.float16()}.items():
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].cast(kind))
    out = collect(score_batches(weighted_sum, table.to_batches()))
    assert np.array_equal(out["prediction"].to_numpy(), expected(series))


def test_features_can_be_named_in_another_order():
    series = ragged([2, 3])
    out = collect(score_batches(weighted_sum, long_table(series).to_batches(), features=["c", "a"]))
    assert np.array_equal(out["prediction"].to_numpy(), expected([one[:, [2, 0]] for one in series]))


@pytest.mark.parametrize("kind", [pa.list_, pa.large_list])
def test_list_of_lists_is_steps_of_features(kind):
    series = ragged([2, 5, 1])
    rows = pa.array([one.tolist() for one in series], kind(kind(pa.float32())))
    table = pa.table({"unique_id": [1, 2, 3], "x": rows, "note": ["p", "q", "r"]})
    out = collect(score_batches(weighted_sum, table.slice(1).to_batches()))
    assert np.array_equal(out["prediction"].to_numpy(), expected(series[1:]))


def test_fixed_size_lists_and_slices():
    series = ragged([4, 4, 4], features=2)
    columns = {
        name: pa.array([one[:, f].tolist() for one in series], pa.list_(pa.float32(), 4)) for f, name in enumerate("ab")
    }
    table = pa.table({"unique_id": [1, 2, 3], **columns})
    out = collect(score_batches(weighted_sum, table.slice(1, 2).to_batches()))
    assert np.array_equal(out["prediction"].to_numpy(), expected(series[1:]))


def test_list_of_times_is_checked():
    table = list_table(ragged([3, 2])).append_column("ds", pa.array([[1, 2, 3], [5, 5]]))
    with pytest.raises(ScoringError, match="row 2, step 2: expected ascending times in column 'ds'.*same time twice"):
        collect(score_batches(weighted_sum, table.to_batches()))


def bad_lists():
    """Tables of list columns with one thing wrong, and the message."""
    good = list_table(ragged([3, 2, 4]))
    values = good["b"].to_pylist()
    b = good.column_names.index("b")

    def with_b(lists, kind=None):
        return good.set_column(b, "b", pa.array(lists, kind))

    yield with_b([values[0], values[1], values[2][:3]]), "row 3: expected 4 steps in column 'b' as in 'a', found 3"
    yield with_b([values[0], None, values[2]]), "row 2: expected a list in column 'b', found an empty cell"
    yield with_b([values[0], [None, 1.0], values[2]]), "row 2, step 1: expected a finite number in column 'b'"
    yield with_b([values[0], [1.0, np.nan], values[2]]), "row 2, step 2: expected a finite float32 .* found nan"
    yield (
        good.set_column(1, "a", pa.array([[], [1.0, 2.0], [0.0]])).select(["unique_id", "a"]),
        "row 1: expected at least one step in column 'a', found an empty list",
    )
    yield good.set_column(0, "unique_id", pa.array(["s0", "s1", "s0"])), "row 3: expected every unique_id once, .*'s0'"
    nested = pa.table({"unique_id": [1, 2], "x": [[[1.0, 2.0]], [[3.0, 4.0], [5.0]]]})
    yield nested, "row 2, step 2: expected 2 features in column 'x', found 1"


@pytest.mark.parametrize(("table", "message"), list(bad_lists()))
def test_bad_lists(table, message):
    with pytest.raises(ScoringError, match=message):
        collect(score_batches(weighted_sum, table.to_batches()))


def test_an_id_that_comes_back_in_a_later_batch():
    series = ragged([2, 2, 2])
    table = long_table(series, ["p", "q", "p"])
    with pytest.raises(ScoringError, match="row 5: expected the rows of a series together, found unique_id 'p' again"):
        collect(score_batches(weighted_sum, table.to_batches(1)))


def test_the_grad_mode_of_the_caller_is_left_alone():
    inside = []

    def model(x, lengths):
        inside.append(fs.is_grad_enabled())
        return weighted_sum(x, lengths)

    for _ in score_batches(model, long_table(ragged([1, 2])).to_batches()):
        assert fs.is_grad_enabled()
    assert inside == [False]


def test_nothing_in_nothing_out():
    assert list(score_batches(weighted_sum, [])) == []
    empty = pa.RecordBatch.from_pylist([], long_table(ragged([1])).schema)
    assert list(score_batches(weighted_sum, [empty, empty])) == []


def test_bad_arguments():
    batches = long_table(ragged([2])).to_batches()
    with pytest.raises(ValueError, match="batch_size"):
        list(score_batches(weighted_sum, batches, batch_size=0))
    with pytest.raises(ScoringError, match="id: expected a column that is not named like a prediction"):
        list(
            score_batches(
                weighted_sum, [batches[0].rename_columns(["prediction", "ds", "a", "b", "c"])], id="prediction"
            )
        )
    with pytest.raises(
        ScoringError, match=r"model: expected predictions of shape \(1, C\) or \(1, 2, C\), found \(1,\)"
    ):
        list(score_batches(lambda x, lengths: np.zeros(1), batches))
