"""What is the wearer of a watch doing, and how soon can one tell? BasicMotions: six sensors, ten readings a second.

A causal LSTM names the activity after every reading, so that a stream of readings needs no window. The picture shows
four recordings of the test set with what the model thought while it saw them.

    python examples/classify_sensors.py [--seeds 5] [--plot classify_sensors.png] [--quick]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.datasets import load_basic_motions

import fastseq as fs
from fastseq import nn

PER_SECOND = 10
COLOURS = ("#00798c", "#d1495b", "#edae49", "#6a4c93")


def load(split: str, names: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return recordings (B, 100, 6) and numbers of activities; ``names`` is filled where it is empty."""
    frame, activities = load_basic_motions(split=split)
    names.extend([] if names else sorted(set(activities)))
    rows = [np.stack([channel.to_numpy(np.float32) for channel in row], axis=1) for row in frame.to_numpy()]
    return np.stack(rows), np.array([names.index(activity) for activity in activities])


def logistic_accuracy(train: tuple, test: tuple) -> float:
    """Return the accuracy of logistic regression on each sensor's mean, spread and extremes over the ten seconds."""
    summary = [np.concatenate([x.mean(1), x.std(1), x.min(1), x.max(1)], axis=1) for x in (train[0], test[0])]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000)).fit(summary[0], train[1])
    return model.score(summary[1], test[1])


def plot(path: str, x: np.ndarray, chances: np.ndarray, y: np.ndarray, names: list[str], by_step: np.ndarray) -> None:
    """Write a picture: one recording of each activity, the model's chances (B, T, C) below, accuracy over time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 6.4), layout="constrained")
    grid = figure.add_gridspec(3, 4, height_ratios=(1.2, 1, 1.1))
    seconds = (1 + np.arange(x.shape[1])) / PER_SECOND
    for number, name in enumerate(names):
        row = np.flatnonzero(y == number)[0]
        top, bottom = figure.add_subplot(grid[0, number]), figure.add_subplot(grid[1, number])
        for channel in range(3):
            top.plot(seconds, x[row, :, channel], linewidth=0.9, color=("#222222", "#777777", "#b5b5b5")[channel])
        top.set_title(name, loc="left", color=COLOURS[number], fontweight="bold")
        bottom.stackplot(seconds, chances[row].T, colors=COLOURS, alpha=0.9)
        bottom.set(xlim=(seconds[0], seconds[-1]), ylim=(0, 1), xlabel="seconds")
        top.set_xlim(seconds[0], seconds[-1])
        top.tick_params(labelbottom=False)
        if number == 0:
            top.set_ylabel("acceleration")
            bottom.set_ylabel("chance")
    axes = figure.add_subplot(grid[2, :])
    for one in by_step:
        axes.plot(seconds, one, color="#999999", linewidth=0.8)
    axes.plot(seconds, by_step.mean(0), color="#222222", linewidth=2)
    axes.set(xlabel="seconds seen", ylabel="test accuracy", ylim=(0, 1.03), xlim=(0, seconds[-1]))
    axes.set_title("How soon it knows: every seed, and the mean", loc="left")
    for one in figure.axes:
        one.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    """Train one model per seed, report accuracies over time, stream one recording, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, help="how many models to train")
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--plot", metavar="PNG", default="classify_sensors.png", help="picture to write")
    parser.add_argument("--quick", action="store_true", help="toy size: one model, two epochs")
    options = parser.parse_args()
    seeds, epochs = (1, 2) if options.quick else (options.seeds, options.epochs)

    names: list[str] = []
    train, test = load("train", names), load("test", names)
    steps = test[0].shape[1]
    print(f"{len(train[0])} recordings to learn from, {len(test[0])} to test on, {steps} steps, {', '.join(names)}")
    by_step, seconds = [], []
    for seed in range(seeds):
        fs.manual_seed(seed)
        model = nn.Sequential(
            nn.Standardize.fit(train[0]),
            nn.Dropout(0.1),
            nn.LSTM(train[0].shape[2], 32),
            nn.Dropout(0.3),
            nn.Linear(32, len(names)),
        )
        begin = time.perf_counter()
        every_step = np.repeat(train[1][:, None], steps, axis=1)
        fs.fit(
            model, train[0], every_step, loss="cross_entropy", learning_rate=1e-2, epochs=epochs, batch_size=8,
            clip_norm=1.0, verbose=False, random_state=seed,
        )  # fmt: skip
        seconds.append(time.perf_counter() - begin)
        scores = fs.predict(model, test[0])
        by_step.append((scores.argmax(axis=2) == test[1][:, None]).mean(axis=0))
    found = np.stack(by_step)
    print(f"trained {seeds} models, median {np.median(seconds):.1f} s each")
    print(f"test accuracy of logistic regression on the whole ten seconds: {logistic_accuracy(train, test):.3f}")
    for seen in (1, 2, 5, 10):
        step = found[:, seen * PER_SECOND - 1]
        print(f"test accuracy of the LSTM after {seen:2} s: {step.mean():.3f} ({step.min():.3f} to {step.max():.3f})")

    stream = fs.Stream(model)
    times = []
    for reading in test[0][0]:
        begin = time.perf_counter()
        stream.step(reading)
        times.append(time.perf_counter() - begin)
    print(f"median {np.median(times) * 1e6:.2f} us per reading in a stream")
    plot(options.plot, test[0], nn.functional.softmax(scores, -1).numpy(), test[1], names, found)
    print(f"wrote {options.plot}")


if __name__ == "__main__":
    main()
