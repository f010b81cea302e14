"""The referee itself: what it counts, whom it believes, how it judges; nothing here depends on a clock."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.peers import __main__ as command
from benchmarks.peers import adapters, goals, interleave, referee, report, workloads
from benchmarks.peers.adapters.numpy_loop import judge
from benchmarks.peers.referee import Disagreement, Referee, difference
from benchmarks.peers.tasks import ENCODER, Task, draw
from benchmarks.peers.worker import Failed, Worker, settings
from benchmarks.peers.workloads import Entry, Workload

ROOT = Path(__file__).resolve().parents[1]
TOYS = [
    Task("inference", 3, 4, 5, 6),
    Task("training", 3, 4, 5, 6),
    Task("training", 4, 20, 3, 5, ragged=True),
    Task("update", 3, 4, 5, 6, layers=2, directions=2, dropout=0.5, head=True),
    Task("update", 1, 4, 5, 6, head=True),
    Task("step", 1, 1, 5, 6),
    Task("pool", 50, 1, 5, 6, head=True, active=7),
    Task("inference", 3, 4, 5, 6, cell="GRU"),
    Task("training", 4, 20, 3, 5, ragged=True, cell="GRU"),
    Task("training", 4, 20, 3, 5, ragged=True, cell="RNN"),
    Task("training", 3, 4, 5, 6, cell="MinGRU"),
    Task("inference", 3, 12, 8, 8, ragged=True, cell=ENCODER, layers=2, heads=2, inner=11),
    Task("training", 3, 12, 8, 8, ragged=True, cell=ENCODER, layers=2, heads=2, inner=11, dropout=0.5),
]


# ---- tasks ----------------------------------------------------------------------------------------------------


def test_operations_are_counted_as_the_performance_goals_count_them():
    weights = 4 * 128 * (64 + 128)
    assert Task("training", 64, 100, 64, 128).flop == 6 * weights * 6400
    assert Task("inference", 64, 100, 64, 128).flop == 2 * weights * 6400
    assert Task("step", 1, 1, 16, 64).flop == 2 * 4 * 64 * 80
    assert Task("pool", 10_000, 1, 16, 64, head=True, active=8).flop == 2 * 8 * (4 * 64 * 80 + 64)
    contract = Task("update", 32, 50, 16, 64, layers=2, directions=2, head=True)
    assert contract.flop == 6 * 1600 * 2 * 4 * 64 * ((16 + 64) + (128 + 64))
    of_cells = {"GRU": 3 * 128 * 192, "RNN": 128 * 192, "MinGRU": 2 * 128 * 64}
    for cell, count in of_cells.items():
        assert Task("training", 64, 100, 64, 128, cell=cell).flop == 6 * count * 6400
    encoder = Task("inference", 3, 7, 8, 8, cell=ENCODER, layers=2, heads=4, inner=10)
    assert encoder.flop == 2 * 2 * 3 * (7 * (4 * 8 * 8 + 2 * 8 * 10) + 2 * 7 * 7 * 8)


def test_only_valid_steps_of_a_ragged_batch_count():
    task = Task("training", 64, 400, 32, 128, ragged=True)
    lengths = task.lengths
    assert lengths.min() >= 40 and lengths.max() <= 400 and len(set(lengths.tolist())) > 30
    assert task.flop == 6 * task.weights_per_step * lengths.sum()
    assert task.fill == lengths.sum() / (64 * 400) == pytest.approx(0.55, abs=0.08)
    d_out = draw(Task("training", 4, 20, 3, 5, ragged=True)).d_out
    short = Task("training", 4, 20, 3, 5, ragged=True).lengths
    assert all(not d_out[row, length:].any() and d_out[row, length - 1].any() for row, length in enumerate(short))


@pytest.mark.parametrize("task", TOYS, ids=str)
def test_every_process_draws_the_same(task):
    one, two = draw(task), draw(task)
    assert one.weights.keys() == two.weights.keys()
    assert all(np.array_equal(one.weights[name], two.weights[name]) for name in one.weights)
    assert np.array_equal(one.x, two.x) and np.array_equal(one.d_out, two.d_out)
    assert all(value.dtype == np.float32 for value in (one.x, one.y, one.d_out, *one.weights.values()))


# ---- who agrees -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TOYS, ids=str)
def test_fastseq_agrees_with_the_judge_in_every_way(task):
    problem, truth = draw(task), judge(task, draw(task))
    for label, way in adapters.ways("fastseq", task).items():
        run = way(task, problem)
        assert difference(run.results(), truth) < 1e-6, label
        run.call(*run.arguments)


@pytest.mark.parametrize("cell", ["LSTM", "GRU", "RNN", "MinGRU", ENCODER])
def test_the_judge_has_the_gradients_of_its_own_outputs(cell):
    task = Task("training", 2, 3, 2, 2, ragged=True, cell=cell, layers=1, heads=1, inner=4)
    problem = draw(task)
    found = judge(task, problem)
    weight = {"MinGRU": "weight_ih", ENCODER: "layers.0.self_attn.in_proj_weight"}.get(cell, "weight_hh")
    own = problem.weights[weight if cell == ENCODER else f"{weight}_l0"]
    for name, array in ((f"d_{weight}", own), ("d_x", problem.x)):
        at = (1, 0) if array is own else (0, 0, 1)
        sums = []
        for sign in (1, -1):
            before = array[at]
            array[at] = before + np.float32(sign * 2**-10)
            sums.append(float((judge(task, problem)["out"] * problem.d_out).sum()) * sign)
            array[at] = before
        assert found[name][at] != 0 and sum(sums) * 2**9 == pytest.approx(found[name][at], rel=1e-3)


def test_a_peer_is_asked_only_for_cells_that_it_has():
    for kind in ("inference", "training"):
        assert not adapters.ways("keras", Task(kind, 3, 4, 5, 6, cell="MinGRU"))
        assert not adapters.ways("keras", Task(kind, 3, 4, 8, 8, cell=ENCODER, heads=2, inner=4))
    assert not adapters.ways("onnxruntime", Task("training", 3, 4, 8, 8, cell=ENCODER, heads=2, inner=4))
    assert set(adapters.ways("torch", Task("training", 3, 4, 5, 6, ragged=True, cell="GRU"))) == {
        "torch packed", "torch padded",
    }  # fmt: skip


def test_a_difference_is_a_share_of_the_largest_entry():
    truth = {"out": np.array([1.0, -4.0]), "d_x": np.array([100.0])}
    assert difference({"out": np.array([1.0, -4.0]), "d_x": np.array([100.0])}, truth) == 0
    assert difference({"out": np.array([1.2, -4.0]), "d_x": np.array([101.0])}, truth) == pytest.approx(0.05)
    assert difference({"out": np.array([1.0, -4.0])}, truth) == math.inf
    assert difference({"out": np.array([1.0, np.nan]), "d_x": np.array([100.0])}, truth) == math.inf
    assert difference({"out": np.array([[1.0, -4.0]]), "d_x": np.array([100.0])}, truth) == math.inf


def test_a_peer_may_give_fewer_losses_but_not_none():
    truth = {"losses": np.array([1.0, 0.5, 0.25])}
    assert difference({"losses": np.array([1.0])}, truth) == 0
    assert difference({"losses": np.array([1.0, 0.6])}, truth) == pytest.approx(0.1)
    assert difference({"losses": np.empty(0)}, truth) == difference({}, truth) == math.inf


# ---- the referee, its workers in this process -----------------------------------------------------------------


class Local:
    """A worker without a process of its own."""

    def __init__(self, peer, threads, environment):
        self.worker = Worker(peer, 1)
        self.closed = False

    def __call__(self, name, *arguments):
        return getattr(self.worker, name)(*arguments)

    def close(self):
        self.closed = True


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(referee, "Remote", Local)
    monkeypatch.setattr(referee, "SINGLE_CALLS", 20)
    return lambda *peers: Referee(peers, rounds=3, seconds=1e-4, budget=10.0)


def toy(kind="training", **more):
    dense = Entry("fastseq, dense", "fastseq", "fastseq", Task("training", 2, 3, 4, 5), 1)
    extra = (dense,) if kind == "training" else ()
    return Workload(f"{kind}/toy", Task(kind, *((1, 1) if kind == "step" else (2, 3)), 4, 5, **more), 1, extra=extra)


def test_results_have_the_form_that_is_written(here, monkeypatch):
    monkeypatch.setattr(referee, "versions", lambda peer: None if peer == "keras" else {peer: "1"})
    with here("fastseq", "keras", "numpy") as judge_of_all:
        found = json.loads(json.dumps(judge_of_all.run(toy(ragged=True))))
    assert {key: found[key] for key in ("name", "kind", "shape", "threads")} == {
        "name": "training/toy", "kind": "ragged training", "shape": "2,3,4,5", "threads": 1,
    }  # fmt: skip
    assert found["P"]["1"]["q1"] <= found["P"]["1"]["median"] <= found["P"]["1"]["q3"]
    by_label = {entry["label"]: entry for entry in found["entries"]}
    assert list(by_label) == ["fastseq", "keras masked", "numpy", "fastseq, dense"]
    assert by_label["keras masked"]["status"] == "absent"
    for label in ("fastseq", "numpy", "fastseq, dense"):
        entry = by_label[label]
        assert entry["status"] == "timed" and entry["difference"] < 1e-6 and entry["first_call_s"] > 0
        seconds = entry["seconds"]
        assert len(seconds["rounds"]) == 3 and seconds["q1"] <= seconds["median"] <= seconds["q3"]
        assert 0 < entry["share"] < 1 and entry["gflops"] > 0


def test_single_calls_have_a_median_and_a_tail(here):
    with here("fastseq", "numpy") as judge_of_all:
        found = judge_of_all.run(toy("step"))
    for entry in found["entries"]:
        single = entry["single"]
        assert single["calls"] == 60 and 0 < single["median"] <= single["p99"] <= single["p999"]


def test_who_disagrees_is_not_timed(here, monkeypatch):
    truth = referee.difference
    monkeypatch.setattr(referee, "difference", lambda found, expected: truth(found, expected) + 1e-3)
    with here("numpy") as judge_of_all, pytest.MonkeyPatch.context() as patch:
        patch.setattr(referee, "JUDGED", "nobody")
        patch.setattr(Referee, "_in_turns", lambda self, ready, peaks, records: {e.label: [] for e in (*ready, *peaks)})
        found = judge_of_all.run(toy("inference"))
    (entry,) = found["entries"]
    assert entry["status"] == "disagrees" and "seconds" not in entry and "1.0e-03" in entry["note"]


def test_nothing_is_timed_if_fastseq_is_wrong(here, monkeypatch):
    monkeypatch.setattr(referee, "TOLERANCE", -1.0)
    with here("fastseq", "numpy") as judge_of_all, pytest.raises(Disagreement, match="training/toy: fastseq disagrees"):
        judge_of_all.run(toy())


def test_a_peer_that_breaks_is_reported_and_the_others_go_on(here, monkeypatch):
    def broken(self, label, task, seconds):
        if self.peer == "numpy":
            raise Failed("out of luck")
        return 1e-3

    monkeypatch.setattr(Worker, "measure", broken)
    with here("fastseq", "numpy") as judge_of_all:
        found = {entry["label"]: entry for entry in judge_of_all.run(toy("inference"))["entries"]}
    assert found["numpy"]["status"] == "failed" and found["numpy"]["note"] == "out of luck"
    assert found["fastseq"]["status"] == "timed"


def test_who_has_used_up_the_budget_drops_out_after_three_turns(here, monkeypatch):
    monkeypatch.setattr(Worker, "measure", lambda self, label, task, seconds: 5.0 if self.peer == "numpy" else 1e-3)
    with here("fastseq", "numpy") as judge_of_all:
        judge_of_all.rounds = 7
        found = {entry["label"]: entry for entry in judge_of_all.run(toy("inference"))["entries"]}
    assert len(found["numpy"]["seconds"]["rounds"]) == 3
    assert len(found["fastseq"]["seconds"]["rounds"]) == 7


def test_turns_reverse_every_other_round():
    assert "".join(interleave.in_turns("abc", 3)) == "abccbaabc"
    assert interleave.quartiles(np.array([1.0, 2.0, 3.0, 4.0, 5.0])) == {"q1": 2.0, "median": 3.0, "q3": 4.0}


def test_every_package_is_held_to_the_same_number_of_threads():
    one, two = settings(1), settings(2)
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "NPROC"):
        assert (one[name], two[name]) == ("1", "2")
    assert "XLA_FLAGS" in one and "XLA_FLAGS" not in two


# ---- goals ----------------------------------------------------------------------------------------------------


def results_of(*timed, facts=None):
    """Results in which (workload, label, seconds, share) were timed; P.999 is twice the median."""
    found = {}
    for name, label, seconds, share in timed:
        entry = {"label": label, "peer": label.split()[0].rstrip(","), "status": "timed", "share": share}
        entry |= {"seconds": {"median": seconds}, "single": {"median": seconds, "p999": 2 * seconds}}
        found.setdefault(name, {"name": name, "fill": 0.5, "entries": []})["entries"].append(entry)
    return {"workloads": list(found.values()), "facts": facts or {}}


def outcome(results, row, what):
    (goal,) = [g for g in goals.judged(results) if g["row"].startswith(row) and g["what"] == what]
    return goal["reached"], goal["met"]


def test_shares_and_ratios_are_judged():
    name = "training/64,100,64,128"
    results = results_of((name, "fastseq", 1.0, 0.85), (name, "torch", 2.0, 0.4))
    assert outcome(results, "training pass, share", "64,100,64,128") == (0.85, True)
    assert outcome(results, "training pass, ratio", "64,100,64,128") == (2.0, False)
    assert outcome(results, "training pass, share", "32,50,16,64") == (None, None)


def test_other_cells_are_judged_beside_our_lstm():
    name, row = "cells/GRU 64,100,64,128", "GRU, training pass"
    timed = [(name, "fastseq", 1.0, 0.625), (name, "fastseq LSTM", 2.0, 0.75), (name, "torch", 4.5, 0.1)]
    found = {
        g["unit"]: (g["reached"], g["met"])
        for g in goals.judged(results_of(*timed))
        if g["row"] == row and g["met"] is not None
    }
    assert found == {"x torch": (4.5, True), "P over the LSTM's": (-0.125, False)}


def test_the_best_peer_counts_and_the_floor_is_no_peer():
    name = "inference/32,50,16,64"
    timed = [(name, "fastseq", 1.0, 0.5), (name, "numpy", 0.1, 5.0), (name, "torch", 3.0, 0.2), (name, "jax", 2.0, 0.3)]
    assert outcome(results_of(*timed), "inference", "32,50,16,64") == (2.0, True)


def test_time_over_fill():
    name = "ragged/32,200,16,64"
    for seconds, met in ((0.55, True), (0.57, False)):
        results = results_of((name, "fastseq", seconds, 0.5), (name, "fastseq, dense", 1.0, 0.5))
        found = [g for g in goals.judged(results) if "fill" in g["unit"] and g["what"] == "32,200,16,64"][0]
        assert found["met"] is met and found["reached"] == pytest.approx(seconds - 0.5)


def test_a_geometric_mean_needs_all_its_parts():
    timed = []
    for shape, ratio in zip(workloads.RAGGED, (2.0, 8.0, 4.0, 16.0), strict=True):
        name = f"ragged/{workloads.name_of(shape)}"
        timed += [(name, "fastseq", 1.0, 0.5), (name, "torch packed", ratio, 0.1)]
    reached, met = outcome(results_of(*timed), "unequal lengths", "geometric mean")
    assert reached == pytest.approx(2**2.5) and met is False
    assert outcome(results_of(*timed[:-2]), "unequal lengths", "geometric mean") == (None, None)


def test_facts_and_tails_are_judged():
    results = results_of(("step/1,32", "fastseq", 0.5e-6, 0.1), facts={"cold": {"import fastseq": 0.4}})
    assert outcome(results, "cold start", "import fastseq") == (0.4, False)
    found = {g["unit"]: g["met"] for g in goals.judged(results) if g["what"] == "F 1, H 32"}
    assert found == {"us": True, "x onnxruntime": None, "medians at p99.9": True}


def test_every_goal_asks_for_a_workload_that_exists():
    class Asked(goals.Figures):
        names: set[str] = set()

        def entry(self, workload, label="fastseq"):
            self.names.add(workload)

        def labels(self, workload):
            self.names.add(workload)
            return []

    figures = Asked({"workloads": [], "facts": {}})
    assert all(goal.value(figures) is None for goal in goals.GOALS)
    there = {w.name for w in workloads.workloads(2, workloads.MANY_CORES)}
    informative = {name for name in there if name.startswith(("cells inference/", "cells/MinGRU", "encoder/"))}
    informative = {"pool/8", *informative} - {"encoder/training", "encoder/training with dropout 0.1"}
    assert figures.names == there - informative


def test_names_select_by_their_beginning():
    everything = workloads.workloads(2, 2)
    names = [w.name for w in workloads.selected(everything, ["avx2", "step/1,"])]
    assert names == ["step/1,32", "avx2/64,100,64,128", "avx2/64,100,128,256", "avx2/32,100,256,512"]
    assert workloads.selected(everything, []) == everything
    assert len({w.name for w in everything}) == len(everything)
    assert all(any(w.name == name for w in everything) for name in workloads.QUICK)


# ---- what is printed and written ------------------------------------------------------------------------------


def test_the_readme_has_its_markers_once():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert text.count(report.BEGIN) == text.count(report.END) == 1
    assert text.index("## Benchmarks") < text.index(report.BEGIN) < text.index(report.END)
    once = report.replaced(text, "| a |\n| --- |\n")
    assert report.replaced(once, "| a |\n| --- |\n") == once
    assert once.split(report.BEGIN)[0] == text.split(report.BEGIN)[0]
    assert once.split(report.END)[1] == text.split(report.END)[1]


@pytest.mark.parametrize("document", ["", report.BEGIN, f"{report.END} {report.BEGIN}"])
def test_a_document_without_markers_is_refused(document):
    with pytest.raises(ValueError, match="expected <!-- benchmarks: begin --> once"):
        report.replaced(document, "new")


def whole_results():
    name = "training/64,100,64,128"
    results = results_of((name, "fastseq", 0.0123, 0.85), (name, "torch", 0.0246, 0.4))
    results["workloads"][0]["entries"].append({"label": "jax", "peer": "jax", "status": "absent", "note": "x"})
    results["machine"] = {"processor": "a", "cores": 2, "threads": 2, "python": "3", "versions": {"numpy": "2"}}
    results["peers"] = {"fastseq": {"numpy": "2"}, "torch": {"torch": "9"}, "jax": None}
    results["goals"] = goals.judged(results)
    return results


def test_the_section_is_a_table_per_group_and_the_goals():
    section = report.readme_section(whole_results())
    assert "a, 2 cores, 2 threads, Python 3, numpy 2; torch 9, jax absent" in section
    assert "|  | fastseq | torch | fastseq's share of P |" in section
    assert "| 64, 100, 64, 128 | 12.3 | 24.6 | 85 % |" in section
    assert "Goals: 1 of 2 met." in section
    assert "| training pass, share of P x threads | >= 80 % | 64,100,64,128: 85.0 | yes |" in section
    assert "| training pass, ratio to torch | >= 2.20 x | 64,100,64,128: 2.00 | no |" in section


def test_goals_of_one_row_and_limit_share_a_line():
    timed = [
        (f"training/{shape}", "fastseq", 1.0, share)
        for shape, share in (("64,100,64,128", 0.85), ("32,50,16,32", 0.65), ("64,100,128,256", 0.5))
    ]
    results = results_of(*timed)
    rows = report.grouped_goal_rows([g for g in goals.judged(results) if g["met"] is not None])
    share = "training pass, share of P x threads"
    assert (share, ">= 60 %", "32,50,16,32: 65.0", "yes") in rows
    assert (share, ">= 80 %", "64,100,64,128: 85.0; 64,100,128,256: 50.0", "1 of 2") in rows


def test_old_results_are_kept_where_nothing_new_was_measured():
    old, new = results_of(("a", "fastseq", 1, 1), ("b", "fastseq", 1, 1), facts={"cold": {"x": 1.0}}), None
    new = results_of(("c", "fastseq", 2, 1), ("a", "fastseq", 2, 1), facts={"memory": {"y": 2.0}})
    both = command.merged(old, new)
    assert [(w["name"], w["entries"][0]["seconds"]["median"]) for w in both["workloads"]] == [
        ("a", 2), ("b", 1), ("c", 2),
    ]  # fmt: skip
    assert both["facts"] == {"cold": {"x": 1.0}, "memory": {"y": 2.0}}


def test_results_can_be_read_again(tmp_path, capsys):
    path = tmp_path / "results.json"
    path.write_text(json.dumps(whole_results()))
    assert command.main(["--results", str(path)]) == 0
    assert "85.0 %" in capsys.readouterr().out


def test_the_command_lists_its_workloads(capsys):
    assert command.main(["--list", "--threads", "2"]) == 0
    names = capsys.readouterr().out.split("\n")
    assert {"training/128,50,512,1024", "cold", "memory"} <= set(names)
    with pytest.raises(SystemExit):
        command.parser().parse_args(["--peers", "matlab"])
    capsys.readouterr()
