"""score_batches: any cut of the stream gives the same predictions in input order."""

from __future__ import annotations

from decimal import Decimal

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
        ScoringError, match=r"model: expected predictions of shape \(1, C\) or \(1, 2, C\), found \(3,\) of float64"
    ):
        list(score_batches(lambda x, lengths: np.zeros(3), batches))
    for wrong in (None, {"a": 1}, np.zeros((1, 0)), np.zeros((1, 1), complex), np.array([["text"]])):
        with pytest.raises(ScoringError, match="model: expected predictions of shape"):
            list(score_batches(lambda x, lengths, wrong=wrong: wrong, batches))
    with pytest.raises(ScoringError, match="model: expected as many predictions for every series, found 5 and 2"):
        table = long_table(ragged([2, 5]))
        list(score_batches(lambda x, lengths: np.zeros(x.shape[:2]), table.to_batches(), batch_size=1))
    with pytest.raises(TypeError, match="model: expected a model, or the path of one"):
        list(score_batches(None, batches))
    for wrong in ("in.csv", 3):
        with pytest.raises(TypeError, match="batches: expected record batches, a table or a data frame"):
            list(score_batches(weighted_sum, wrong))


@pytest.mark.parametrize(
    ("features", "kind", "message"),
    [
        ("abc", TypeError, "features: expected a list of column names, got 'abc'"),
        ([1, 2, 3], TypeError, "features: expected a list of column names"),
        ([], ValueError, "features: expected at least one column name"),
        (["a", "a"], ScoringError, "features: expected columns that differ .*found 'a' twice"),
        (["a", "unique_id"], ScoringError, "features: expected columns that differ .*found 'unique_id' as the id"),
    ],
)
def test_features_are_names_of_columns(features, kind, message):
    with pytest.raises(kind, match=message):
        list(score_batches(weighted_sum, long_table(ragged([2])).to_batches(), features=features))


def test_the_time_may_be_a_feature_and_flags_are_numbers_where_they_are_named():
    table = pa.table({"unique_id": ["p", "p", "q"], "ds": [1, 2, 7], "on": [True, False, True]})
    out = collect(score_batches(weighted_sum, table, features=["ds", "on"]))
    assert out["prediction"].to_pylist() == [1 + 2 + 2, 7 + 2]
    with pytest.raises(ScoringError, match=r"found none in unique_id, ds, on; not numeric: on \(bool\)"):
        list(score_batches(weighted_sum, table))
    with pytest.raises(ScoringError, match="expected an id column and another time column, found 'ds' for both"):
        list(score_batches(weighted_sum, table, id="ds"))
    lists = pa.table({"unique_id": ["p"], "on": [[True, False, True]]})
    assert collect(score_batches(weighted_sum, lists, features=["on"]))["prediction"].to_pylist() == [2]


@pytest.mark.parametrize(
    "ids",
    [
        [-1, -2, 0, 2**61 - 1],  # pairs that Python's hash does not tell apart
        [-1.0, -2.0, 0.0, float(2**61 - 1)],
        pa.array(np.array([-1, -2, 0, 0.5], np.float16)),  # Arrow does not compare them
        [Decimal(-1), Decimal(-2), Decimal("0.50"), Decimal("0.25")],
        pa.array([0, 2**64 - 1, 2**63, 2**61 - 1], pa.uint64()),
        pa.array([b"a", b"\xff", b"b", b"c"], pa.binary()),
        pa.array([b"ab", b"cd", b"ef", b"gh"], pa.binary(2)),
        pa.array([0, -1, -2, 5], pa.timestamp("us", "UTC")),
        pa.array([0, -1, -2, 5], pa.duration("s")),
        pytest.param("uuid", marks=pytest.mark.skipif(not hasattr(pa, "uuid"), reason="pyarrow knows no UUIDs")),
        pytest.param("view", marks=pytest.mark.skipif(not hasattr(pa, "string_view"), reason="nor views of text")),
    ],
    ids=str,
)
def test_ids_of_every_kind_are_told_apart(ids):
    if isinstance(ids, str):
        made = {"uuid": lambda: pa.array([bytes(15) + bytes([k]) for k in range(4)], pa.uuid())}
        ids = made.get(ids, lambda: pa.array(["7", "07", "x", "y"], pa.string_view()))()
    ids = ids if isinstance(ids, pa.Array) else pa.array(ids)
    series = ragged([2, 3, 1, 2])
    table = long_table(series)
    named = pa.array(np.repeat(np.arange(4), [2, 3, 1, 2]))
    text = pa.large_string() if "view" in str(ids.type) else ids.type
    plain = ids.cast(text) if ids.type != text else ids
    table = table.set_column(0, "unique_id", plain.take(named))
    for rows in (1, 3, 100):
        out = collect(score_batches(weighted_sum, table.to_batches(rows)))
        assert out["unique_id"].type == text and out["unique_id"].to_pylist() == plain.to_pylist()
        assert np.array_equal(out["prediction"].to_numpy(), expected(series))
    with pytest.raises(ScoringError, match="row 9: expected the rows of a series together"):
        collect(score_batches(weighted_sum, pa.concat_tables([table, table.slice(0, 1)]).to_batches(2)))


def test_an_id_that_is_no_number_is_refused():
    table = long_table(ragged([2, 3]), [1.5, float("nan")])
    with pytest.raises(ScoringError, match="row 3: expected an id in column 'unique_id', found nan"):
        collect(score_batches(weighted_sum, table.to_batches()))


def test_text_times_are_refused_with_a_way_out():
    table = long_table(ragged([2]))
    table = table.set_column(1, "ds", pa.array(["2026-01-01", "2026-01-02"]))
    for column in (table["ds"], table["ds"].dictionary_encode()):
        with pytest.raises(ScoringError, match="expected timestamps, dates or numbers .*found string; .*--no-time"):
            collect(score_batches(weighted_sum, table.set_column(1, "ds", column)))


@pytest.mark.parametrize("library", ["pandas", "polars", "narwhals", "pyarrow", "reader", "batch"])
def test_tables_and_data_frames(library):
    series = ragged([3, 1, 2])
    table = long_table(series)
    frame = table if library == "pyarrow" else table.to_batches()[0] if library == "batch" else table.to_reader()
    if library in ("pandas", "polars", "narwhals"):
        module = pytest.importorskip("polars" if library == "polars" else "pandas")
        frame = module.from_arrow(table) if library == "polars" else table.to_pandas()
    if library == "narwhals":
        frame = pytest.importorskip("narwhals").from_native(frame)
    out = collect(score_batches(weighted_sum, frame))
    assert out["unique_id"].to_pylist() == ["s0", "s1", "s2"]
    assert np.array_equal(out["prediction"].to_numpy(), expected(series))


def test_the_index_of_a_filtered_data_frame_is_no_feature():
    pd = pytest.importorskip("pandas")
    frame = long_table(ragged([3, 2])).to_pandas().drop(index=[1])
    assert "__index_level_0__" in pa.table(frame).column_names
    assert pd.Index([0, 2, 3, 4]).equals(frame.index)
    out = collect(score_batches(weighted_sum, frame))
    assert out.column_names == ["unique_id", "prediction"] and out.num_rows == 2
