"""Checkpoints: a run that is resumed is the run that never stopped."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn, optim
from fastseq.optim import lr_scheduler
from fastseq.persistence import ModelFileError, read_arrays, write_arrays
from fastseq.training import (
    Callback,
    Checkpoint,
    CSVLogger,
    EarlyStopping,
    ReduceLROnPlateau,
    load_checkpoint,
    save_checkpoint,
)

RNG = np.random.default_rng(0)
X = [RNG.standard_normal((int(n), 2)) for n in RNG.integers(1, 12, 50)]
Y = np.array([row[:, 0].mean() for row in X])


def model():
    fs.manual_seed(0)
    return nn.Sequential(nn.LSTM(2, 6), nn.Dropout(0.3), nn.LastStep(), nn.Linear(6, 1))


class Die(Callback):
    """Ends the process's run in the middle of an epoch."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_train_batch_end(self, batch, loss):
        if len(self.run.history.epoch) == self.epoch and batch == 1:
            raise RuntimeError("lights out")


def run(net, path, die=None, **options):
    callbacks = [
        Checkpoint(path / "c"),
        EarlyStopping(patience=4),
        ReduceLROnPlateau(patience=1, factor=0.7),
        CSVLogger(path / "log.csv"),
        Die(-1 if die is None else die),
    ]
    options = {
        "epochs": 8,
        "batch_size": 8,
        "learning_rate": 0.05,
        "validation_split": 0.3,
        "random_state": 5,
    } | options
    return fs.fit(net, X, Y, callbacks=callbacks, verbose=False, resume_from=path / "c", **options)


def decay(optimizer):
    return lr_scheduler.LinearLR(optimizer, 0.2, total_iters=20)


WAYS = [{"optimizer": name} for name in ("adam", "adamw", "sgd", "rmsprop", "adagrad", "nadam", "radam", "lion")]
WAYS += [
    {"random_state": None},
    {"ema": 0.9},
    {"accumulate": 3, "ema": 0.5, "optimizer": "nadam"},
    {"scheduler": decay, "scheduler_interval": "step"},
    {"scheduler": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2), "ema": 0.8},
    {"scheduler": lambda o: lr_scheduler.OneCycleLR(o, 0.05, 5 * 8), "scheduler_interval": "step"},
    {"scheduler": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=0), "optimizer": "lion"},
    {
        "scheduler": lambda o: lr_scheduler.SequentialLR(
            o, [lr_scheduler.LinearLR(o, total_iters=2), lr_scheduler.ExponentialLR(o, 0.8)], [2]
        )
    },
]


@pytest.mark.parametrize("way", range(len(WAYS)))
def test_resuming_after_any_epoch_changes_no_bit(way, tmp_path):
    options = WAYS[way]
    whole = model()
    (tmp_path / "whole").mkdir()
    expected = run(whole, tmp_path / "whole", **options)
    for die in sorted({1, 2, len(expected.epoch) - 1}):
        folder = tmp_path / f"{die}"
        folder.mkdir()
        with pytest.raises(RuntimeError, match="lights out"):
            run(model(), folder, die=die, **options)
        fs.manual_seed(99 + die)  # another process: other random numbers, other weights
        fresh = nn.Sequential(nn.LSTM(2, 6), nn.Dropout(0.3), nn.LastStep(), nn.Linear(6, 1))
        history = run(fresh, folder, **options)
        for name in ("loss", "val_loss", "lr"):
            assert len(expected.history[name]) > die
            assert history.history[name] == expected.history[name]
        assert history.epoch == expected.epoch and history.stopped == expected.stopped
        for name, tensor in whole.state_dict().items():
            assert np.array_equal(fresh.state_dict()[name].numpy(), tensor.numpy()), name
        assert len((folder / "log.csv").read_text().splitlines()) == 1 + len(expected.epoch)


def test_a_schedule_of_ones_own_resumes_too(tmp_path):
    """The optimiser and its schedule are made by hand, anew in each process."""

    def go(folder, die=None):
        net = model()
        optimizer = optim.SGD([{"params": net[0].parameters()}, {"params": net[3].parameters(), "lr": 0.5}], lr=0.1)
        schedule = lr_scheduler.LambdaLR(optimizer, [lambda e: 0.9**e, lambda e: 1 / (1 + e)])
        history = run(net, folder, die, optimizer=optimizer, learning_rate=None, scheduler=schedule)
        return net, history

    (tmp_path / "whole").mkdir()
    whole, expected = go(tmp_path / "whole")
    (tmp_path / "part").mkdir()
    with pytest.raises(RuntimeError, match="lights out"):
        go(tmp_path / "part", die=3)
    again, history = go(tmp_path / "part")
    assert history.history["loss"] == expected.history["loss"] and history.history["lr"] == expected.history["lr"]
    assert all(
        np.array_equal(p.numpy(), q.numpy()) for p, q in zip(whole.parameters(), again.parameters(), strict=True)
    )


def test_a_run_with_averages_is_not_one_without(tmp_path):
    with pytest.raises(RuntimeError):
        run(model(), tmp_path, die=2, ema=0.9)
    with pytest.raises(ModelFileError, match="expected a run that averages weights, got one that does not"):
        run(model(), tmp_path)


def test_a_finished_run_is_not_trained_on(tmp_path):
    net = model()
    run(net, tmp_path)
    again = model()
    history = run(again, tmp_path)
    assert len(history.epoch) <= 8
    assert np.array_equal(again[3].weight.numpy(), net[3].weight.numpy())


def test_every_nth_epoch_and_the_last(tmp_path, monkeypatch):
    import fastseq.training.checkpoint as module

    written = []
    monkeypatch.setattr(module, "save_checkpoint", lambda path, *a, epoch, **k: written.append(epoch))
    fs.fit(model(), X, Y, epochs=5, callbacks=Checkpoint(tmp_path / "c", every=2), verbose=False)
    assert written == [2, 4, 5]


def trained(kind=optim.Adam, **options):
    net = model()
    optimizer = kind(net.parameters(), lr=0.01, **options)
    for _ in range(3):
        optimizer.zero_grad()
        net(np.ones((2, 3, 2), np.float32)).sum().backward()
        optimizer.step()
    return net, optimizer


@pytest.mark.parametrize("kind", [optim.Adam, optim.SGD, optim.NAdam])
@pytest.mark.parametrize("bits", [np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64])
def test_by_hand(kind, bits, tmp_path):
    net, optimizer = trained(kind, **({"momentum": 0.9} if kind is optim.SGD else {}))
    rng = np.random.Generator(bits(3))
    rng.integers(10, dtype=np.int32)
    extra = {"note": "x", "best": float("nan"), "list": [1, 2.5, None, True], "array": np.arange(3), "big": 2**100}
    save_checkpoint(tmp_path / "c", net, optimizer, rng=rng, epoch=7, extra=extra)
    ahead = rng.random(4)
    other = model()
    other_optimizer = kind(other.parameters(), lr=1.0)
    saved = load_checkpoint(tmp_path / "c", other, other_optimizer, rng=rng)
    assert saved.epoch == 7 and np.isnan(saved.extra["best"]) and saved.extra["big"] == 2**100
    assert saved.extra["list"] == [1, 2.5, None, True] and saved.extra["array"].tolist() == [0, 1, 2]
    assert np.array_equal(rng.random(4), ahead)
    assert other_optimizer.param_groups[0]["lr"] == 0.01
    for a, b in zip(net.parameters(), other.parameters(), strict=True):
        assert np.array_equal(a.numpy(), b.numpy())


def test_the_packages_generator_is_kept_unless_another_is_named(tmp_path):
    net, optimizer = trained()
    fs.manual_seed(4)
    save_checkpoint(tmp_path / "c", net, optimizer)
    ahead = fs.nn.init.generator().random()
    load_checkpoint(tmp_path / "c", net, optimizer)
    assert fs.nn.init.generator().random() == ahead


def test_files_that_do_not_fit_change_nothing(tmp_path):
    net, optimizer = trained()
    path = tmp_path / "c"
    save_checkpoint(path, net, optimizer)
    with pytest.raises(ModelFileError, match="expected a checkpoint of SGD, got one of Adam"):
        load_checkpoint(path, net, optim.SGD(net.parameters()))
    other = nn.Sequential(nn.Linear(2, 1))
    before = other[0].weight.numpy().copy()
    with pytest.raises(ModelFileError, match="expected a checkpoint of this model and optimiser"):
        load_checkpoint(path, other, optim.Adam(other.parameters()))
    fewer = optim.Adam([net[3].weight])
    with pytest.raises(ModelFileError, match=r"groups of \[1\] parameters"):
        load_checkpoint(path, net, fewer)
    with pytest.raises(ModelFileError, match="checkpoint of this model and optimiser"):
        load_checkpoint(path, net, optimizer, rng=np.random.Generator(np.random.MT19937(0)))
    assert np.array_equal(other[0].weight.numpy(), before)
    fs.save_state(net, tmp_path / "s")
    with pytest.raises(ModelFileError, match="expected a checkpoint, got another kind of file"):
        load_checkpoint(tmp_path / "s", net, optimizer)
    with pytest.raises(ModelFileError, match="file of kind model"):
        fs.load(path)
    with pytest.raises(ModelFileError, match="a checkpoint that fit wrote"):
        run(model(), tmp_path)
    fs.fit(model(), X, Y, epochs=1, callbacks=Checkpoint(path), verbose=False)
    with pytest.raises(
        ModelFileError, match=r"a run with the callbacks \['EarlyStopping', 'ReduceLR.*got \['Checkpoint'\]"
    ):
        run(model(), tmp_path)
    with pytest.raises(TypeError, match="checkpoint: expected numbers, strings"):
        save_checkpoint(path, net, optimizer, extra={"a": {1}})


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(format=2),
        lambda d: d.update(format="1"),
        lambda d: d.update(epoch=-1),
        lambda d: d.update(epoch="1"),
        lambda d: d.pop("rng"),
        lambda d: d.update(model=[]),
        lambda d: d.update(model={"array": "nothing"}),
        lambda d: d.update(model={"code": "import os"}),
        lambda d: d.update(model={"map": 3}),
        lambda d: d.update(rng={"map": [["state", {"integer": "0x" + "f" * 200}]]}),
        lambda d: d.update(rng={"map": []}),
        lambda d: d.update(optimizer={"type": 3}),
        lambda d: d["optimizer"].update(state={"map": []}),
        lambda d: d["optimizer"].update(state={"map": [["state", 3], ["param_groups", [3]]]}),
        lambda d: d.update(extra={"map": [["callbacks", 3]]}),
    ],
)
def test_documents_that_lie(change, tmp_path):
    net, optimizer = trained()
    save_checkpoint(tmp_path / "c", net, optimizer)
    arrays, document = read_arrays(tmp_path / "c")
    change(document)
    write_arrays(tmp_path / "c", arrays, document)
    with pytest.raises(ModelFileError):
        run(net, tmp_path)


def entry_of(pairs, name):
    """The value that packed pairs hold under a name, as a list that can be changed."""
    return next(pair for pair in pairs["map"] if pair[0] == name)


@pytest.mark.parametrize(
    "change",
    [
        lambda extra, d: entry_of(extra, "start").__setitem__(1, {"map": []}),
        lambda extra, d: entry_of(extra, "start").__setitem__(1, {"float": "nan"}),
        lambda extra, d: entry_of(entry_of(extra, "start")[1], "uinteger").__setitem__(1, -1),
        lambda extra, d: entry_of(extra, "history").__setitem__(1, {"map": [["loss", ["low"]]]}),
        lambda extra, d: entry_of(extra, "epochs").__setitem__(1, ["first"]),
        lambda extra, d: entry_of(extra, "stopped").__setitem__(1, 3),
        lambda extra, d: entry_of(entry_of(extra, "callbacks")[1][1][1], "best").__setitem__(1, "low"),
        lambda extra, d: entry_of(entry_of(extra, "callbacks")[1][1][1], "wait").__setitem__(1, {"float": "inf"}),
        lambda extra, d: entry_of(entry_of(extra, "callbacks")[1][0][1], "weights.3.bias").__setitem__(1, [1.0, 2.0]),
        lambda extra, d: entry_of(d["optimizer"]["state"], "state")[1]["map"][0].__setitem__(1, "none"),
        lambda extra, d: d["rng"]["map"].pop(),
    ],
)
def test_a_run_that_lies_changes_nothing(change, tmp_path):
    """F31: under a right checksum; what was found by a million of changes at random."""
    with pytest.raises(RuntimeError):
        run(model(), tmp_path, die=2)
    arrays, document = read_arrays(tmp_path / "c")
    change(document["extra"], document)
    write_arrays(tmp_path / "c", arrays, document)
    net, rng = model(), np.random.default_rng(5)
    optimizer = optim.Adam(net.parameters(), lr=0.25)
    before = [p.numpy().copy() for p in net.parameters()]
    with pytest.raises(ModelFileError):
        run(net, tmp_path, optimizer=optimizer, learning_rate=None, random_state=rng)
    assert rng.bit_generator.state == np.random.default_rng(5).bit_generator.state
    assert all(np.array_equal(p.numpy(), kept) for p, kept in zip(net.parameters(), before, strict=True))
    assert optimizer.param_groups[0]["lr"] == 0.25


class DieAfterLogging(Callback):
    """Ends the process's run between the log's line and the checkpoint."""

    def __init__(self, last):
        self.last = last

    def on_epoch_end(self, epoch, logs):
        if epoch == self.last:
            raise RuntimeError("lights out")


def test_a_log_goes_on_where_the_checkpoint_is(tmp_path):
    """A run that is killed after a line, or within one, does not leave that epoch twice."""

    def go(last):
        callbacks = [CSVLogger(tmp_path / "log.csv"), last, Checkpoint(tmp_path / "c")]
        fs.fit(model(), X, Y, epochs=5, callbacks=callbacks, verbose=False, resume_from=tmp_path / "c")

    with pytest.raises(RuntimeError, match="lights out"):
        go(DieAfterLogging(3))
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 5
    with open(tmp_path / "log.csv", "a") as log:
        log.write("4,0.1")

    go(DieAfterLogging(-1))
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["epoch", "0", "1", "2", "3", "4"]


class Killed(Callback):
    """Ends the process at a step of the optimiser, without a farewell."""

    def __init__(self, step):
        self.step = step

    def on_optimizer_step(self):
        self.step -= 1
        if not self.step:
            os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("options", [{}, {"optimizer": "sgd", "ema": 0.9}, {"accumulate": 2}], ids=str)
def test_a_kill_at_every_step_changes_no_bit(options, tmp_path):
    """F24: killed anew at every step, and resumed each time."""

    def go(folder, step):
        folder.mkdir(exist_ok=True)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                callbacks = [
                    Checkpoint(folder / "c"),
                    EarlyStopping(patience=9),
                    CSVLogger(folder / "log"),
                    Killed(step),
                ]
                net = model()
                fs.fit(
                    net, X, Y, epochs=4, batch_size=12, validation_split=0.3, random_state=1, callbacks=callbacks,
                    verbose=False, resume_from=folder / "c", **options,
                )  # fmt: skip
                fs.save(net, folder / "m")
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    fs.fit(model(), X, Y, epochs=1, validation_split=0.3, verbose=False, **options)  # children find kernels loaded
    assert go(tmp_path / "whole", -1) == 0
    whole = (tmp_path / "whole" / "m").read_bytes()
    for step in range(1, 100):
        ended = go(tmp_path / f"{step}", step)
        if ended == 0:
            break
        assert ended == -signal.SIGKILL
        assert go(tmp_path / f"{step}", -1) == 0
        assert (tmp_path / f"{step}" / "m").read_bytes() == whole, step
        assert len((tmp_path / f"{step}" / "log").read_text().splitlines()) == 5
    assert step > 4
