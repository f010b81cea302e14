"""The comparison: what may be seen when, equal weights, and a whole run at toy size."""

from __future__ import annotations

import functools
import re

import matplotlib.image
import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.cli import main
from fastseq.cli.compare.contest import Result, answer_times, compare
from fastseq.cli.compare.kinds import KINDS, Window, chosen
from fastseq.cli.compare.report import rows
from fastseq.cli.compare.tasks import LOADERS, WEEK, Task, load_household
from fastseq.datasets import load_household_power


@functools.cache
def toy(name: str) -> Task:
    """A task at toy size."""
    return LOADERS[name](quick=True)


@pytest.fixture(params=sorted(LOADERS))
def task(request):
    """Each task at toy size."""
    return toy(request.param)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("budget", [4_000, 12_000, 50_000])
def test_all_have_the_weights_wanted_within_four_percent(task, kind, budget):
    model = kind.build(task, kind.size(task, budget), budget)
    assert model.num_parameters() == pytest.approx(budget, rel=0.04)


def test_a_budget_too_small_is_refused(task):
    with pytest.raises(ValueError, match=r"--budget: expected at least [\d,]+ weights for MLP, got 50"):
        KINDS[0].size(task, 50)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_padding_changes_nothing(kind):
    task = toy("vowels")
    fs.manual_seed(0)
    model = kind.build(task, kind.size(task, 4_000), 4_000).eval()
    row = task.test.inputs[3]
    padded = np.full((1, len(row) + 5, row.shape[1]), np.nan, np.float32)
    padded[0, : len(row)] = row
    with fs.no_grad():
        alone, beside = model(row[None]), model(padded, lengths=np.array([len(row)]))
    assert np.array_equal(alone.numpy(), beside.numpy()) and np.isfinite(alone.numpy()).all()


def test_household_keeps_its_weeks_apart():
    power = load_household_power()["active_power_kw"]
    task = load_household(quick=False)
    end = len(power) - 8 * WEEK
    assert np.array_equal(task.test.targets.ravel(), power[end:])
    assert np.array_equal(task.validation.targets.ravel(), power[end - 52 * WEEK : end - 44 * WEEK])
    past = {day.tobytes() for day in np.lib.stride_tricks.sliding_window_view(power[:end], 24)}
    assert all(day.tobytes() in past for day in task.training.targets)
    hidden = power[end - 52 * WEEK : end - 44 * WEEK]
    hours = {day.tobytes() for day in np.lib.stride_tricks.sliding_window_view(hidden, 3)}  # three hours tell a day
    assert not any(day[k : k + 3].tobytes() in hours for day in task.rehearsal.targets for k in range(22))
    assert len(task.rehearsal.targets) < len(task.training.targets)
    assert task.baselines["last week"] == pytest.approx(0.674, abs=5e-4)


def test_vowels_choose_on_a_fifth_of_each_speaker():
    task = LOADERS["vowels"](quick=False)
    assert (len(task.training.inputs), len(task.test.inputs), task.steps) == (270, 370, 29)
    assert np.array_equal(np.bincount(task.validation.targets), np.full(9, 6))
    assert len(task.rehearsal.inputs) + len(task.validation.inputs) == 270
    assert task.baselines["logistic"] < 5


def test_window_lays_steps_beside_each_other():
    x = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    x[1, 1:] = np.nan
    out = Window(4)(x, lengths=np.array([3, 1])).numpy()
    assert out.tolist() == [[0, 1, 2, 3, 4, 5, 0, 0], [6, 7, 0, 0, 0, 0, 0, 0]]


def test_kinds_are_chosen_by_name():
    assert chosen(None) == list(KINDS)
    assert [kind.name for kind in chosen(" lstm,MLP")] == ["LSTM", "MLP"]
    with pytest.raises(ValueError, match="--models: expected some of MLP, .*Transformer, got perceptron"):
        chosen("LSTM,perceptron")


def test_only_models_that_look_back_are_streamed():
    task = toy("household")
    for kind in KINDS:
        model = kind.build(task, kind.size(task, 1_500), 1_500)
        if kind.causal:
            row = task.test.inputs[0]
            stream = fs.Stream(model.eval())
            with fs.no_grad():
                assert np.array_equal([stream.step(step).copy() for step in row][-1], model(row[None]).numpy()[0])
        else:
            with pytest.raises(TypeError):
                fs.Stream(model)
    alone, together, step = answer_times(task, nn.Sequential(*task.scaling[0], nn.LSTM(5, 4)), streams=True)
    assert min(alone, together, step) > 0  # which of them is faster is for benchmarks to say


def test_the_same_seed_gives_the_same_errors():
    task = toy("household")
    once, again = (compare(task, chosen("LSTM"), budget=1_500, seeds=2, epochs=1)[0] for _ in range(2))
    assert np.array_equal(once.errors, again.errors) and once.errors[0] != once.errors[1]
    assert once.rate == again.rate and once.rate in task.rates


def test_the_table_is_sorted_and_has_the_spread():
    task = toy("household")
    results = [
        Result("b", 1500, 0.01, np.array([0.5, 0.6, 0.7]), 1.5, 60.2, 5.04, 0.55),
        Result("a", 1200, 0.003, np.array([0.2, 0.4, 0.4]), 0.25, 4.0, 3.0, None),
    ]
    heading, *body = rows(task, results)
    assert heading[:2] == ["model", "MAE (kW)"] and len({len(cells) for cells in (heading, *body)}) == 1
    assert body[0] == ["a", "0.333 ± 0.100", "1,200", "0.003", "0.25", "4", "3.0", "-"]
    assert body[1] == ["b", "0.600 ± 0.100", "1,500", "0.01", "1.50", "60", "5.0", "0.6"]
    assert [cells[0] for cells in body[2:]] == ["last week", "ridge"]


@pytest.mark.parametrize("name", sorted(LOADERS))
def test_a_run_at_toy_size(name, tmp_path, capsys):
    picture = tmp_path / "compare.png"
    assert main(["compare", "--task", name, "--quick", "--markdown", "--plot", str(picture)]) == 0
    text = capsys.readouterr().out
    found = dict(re.findall(r"^\| (\S[^|]*?) \| ([\d.]+) ", text, re.M))
    assert {kind.name for kind in KINDS} < set(found) and len(found) == len(KINDS) + (2 if name == "household" else 1)
    assert text.endswith(f"wrote {picture}\n")
    drawn = matplotlib.image.imread(picture)
    assert min(drawn.shape[:2]) > 400 and drawn[..., :3].std() > 0.05


def test_bad_arguments_are_one_line(capsys):
    for words in (["--models", "x"], ["--budget", "0"], ["--seeds", "0"], ["--epochs", "-1"]):
        assert main(["compare", *words]) == 2
        assert re.fullmatch(rf"fastseq: error: {words[0]}: expected [^\n]+\n", capsys.readouterr().err)


def test_the_table_for_people(tmp_path, capsys):
    command = ["compare", "--quick", "--models", "LSTM,Transformer", "--plot", str(tmp_path / "a.png")]
    assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    table = lines[: next(k for k, line in enumerate(lines) if line.startswith("Source"))]
    assert len(table) > 5 and max(map(len, table)) <= 80 and not any("…" in line for line in table)
    assert sum(bool(re.search(r"LSTM +0\.\d{3} ± 0\.000 ", line)) for line in lines) == 1 and any(
        "hebrail" in line.lower() for line in lines
    )
