"""Tell nine speakers apart by one vowel: JapaneseVowels, 12 features, 7 to 29 steps, a bidirectional LSTM.

The settings were chosen by 5-fold cross-validation within the 270 training rows; the test rows decide nothing.

    python examples/classify_sequences.py [--seeds 3] [--epochs 40] [--quick]
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from sktime.datasets import load_japanese_vowels

import fastseq as fs
from fastseq import nn
from fastseq.training import LearningRateScheduler


def load(split: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return sequences (T_i, 12) and speakers 0..8."""
    frame, speakers = load_japanese_vowels(split=split)
    sequences = [np.stack([channel.to_numpy(np.float32) for channel in row], axis=1) for row in frame.to_numpy()]
    return sequences, np.asarray(speakers).astype(int) - 1


def main() -> None:
    """Train one model per seed and print the test accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="how many models to train")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--quick", action="store_true", help="toy size: one small model, two epochs")
    options = parser.parse_args()
    seeds, epochs, hidden = (1, 2, 8) if options.quick else (options.seeds, options.epochs, 100)

    train_x, train_y = load("train")
    test_x, test_y = load("test")
    lengths = [len(sequence) for sequence in train_x]
    print(f"{len(train_x)} rows to learn from, {len(test_x)} to test on, {min(lengths)} to {max(lengths)} steps")

    accuracies = []
    for seed in range(seeds):
        fs.manual_seed(seed)
        model = nn.Sequential(
            nn.Standardize.fit(train_x),
            nn.Dropout(0.2),
            nn.LSTM(12, hidden, bidirectional=True),
            nn.MaxPool(),  # over the valid steps of each row
            nn.Dropout(0.3),
            nn.Linear(2 * hidden, 9),
        )
        cosine = LearningRateScheduler(lambda epoch, _: 6e-3 * 0.5 * (1 + math.cos(math.pi * epoch / epochs)))
        begin = time.perf_counter()
        fs.fit(
            model,
            train_x,
            train_y,
            loss="cross_entropy",
            epochs=epochs,
            batch_size=16,
            clip_norm=1.0,
            callbacks=[cosine],
            verbose=False,
            random_state=seed,
        )
        seconds = time.perf_counter() - begin
        correct = fs.predict(model, test_x).argmax(axis=1) == test_y
        accuracies.append(correct.mean())
        print(f"seed {seed}: test accuracy {correct.mean():.4f}, trained in {seconds:.1f} s")
    print(f"mean test accuracy over {seeds} seeds: {np.mean(accuracies):.4f}")


if __name__ == "__main__":
    main()
