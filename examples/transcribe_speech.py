"""Who speaks when? Several speakers say a vowel one after the other, and only the order of their names is known.

The turns are recordings of JapaneseVowels (12 features of real speech, nine speakers) joined without a gap; a
bidirectional LSTM learns with CTC which names come in which order, without ever being told where a turn begins. The
rival, a frame-by-frame logistic regression, is told. The picture shows what the network says at each frame.

    python examples/transcribe_speech.py [--epochs 25] [--plot transcribe_speech.png] [--quick]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sktime.datasets import load_japanese_vowels

import fastseq as fs
from fastseq import nn, optim
from fastseq.batch import bucket

BLANK, SPEAKERS, REACH = 0, 9, 3
COLOURS = ("#e8e8e8", "#d1495b", "#00798c", "#edae49", "#6a4c93", "#5f9e58", "#30638e", "#f78c6b", "#8d6b3f", "#333333")


def load(split: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Return recordings (T_i, 12) and speakers 1..9."""
    frame, speakers = load_japanese_vowels(split=split)
    sequences = [np.stack([channel.to_numpy(np.float32) for channel in row], axis=1) for row in frame.to_numpy()]
    return sequences, np.asarray(speakers).astype(int)


def converse(rng: np.random.Generator, turns: list[np.ndarray], who: np.ndarray, count: int) -> list[tuple]:
    """Return conversations of two to six turns: features (T, 12), speakers in order, and the speaker of each frame."""
    found = []
    for _ in range(count):
        chosen = [rng.integers(len(turns))]
        for _ in range(rng.integers(1, 6)):
            others = np.flatnonzero(who != who[chosen[-1]])  # nobody follows himself
            chosen.append(rng.choice(others))
        frames = np.repeat(who[chosen], [len(turns[k]) for k in chosen])
        found.append((np.concatenate([turns[k] for k in chosen]), who[chosen], frames))
    return found


def padded(rows: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return rows side by side, zeros at the ends, and their lengths."""
    lengths = np.array([len(row) for row in rows])
    out = np.zeros((len(rows), lengths.max(), *rows[0].shape[1:]), rows[0].dtype)
    for target, row in zip(out, rows, strict=True):
        target[: len(row)] = row
    return out, lengths


def collapse(frames: np.ndarray) -> list[int]:
    """Return labels without repetitions and blanks: the best path of CTC."""
    changes = np.flatnonzero(np.diff(frames, prepend=-1))
    return [int(label) for label in frames[changes] if label != BLANK]


def edits(a: list[int], b: list[int]) -> int:
    """Return how many labels must be put in, left out or changed to make b of a."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (left != right))
    return row[-1]


def neighbours(x: np.ndarray) -> np.ndarray:
    """Return each frame with those up to three before and after (T, 7 * 12)."""
    wide = np.pad(x, ((REACH, REACH), (0, 0)), mode="edge")
    return np.concatenate([wide[k : k + len(x)] for k in range(2 * REACH + 1)], axis=1)


def smooth(frames: np.ndarray) -> np.ndarray:
    """Return the most frequent label within three frames of each."""
    wide = np.pad(frames, REACH, mode="edge")
    return np.array([np.bincount(wide[k : k + 2 * REACH + 1]).argmax() for k in range(len(frames))])


def plot(path: str, cases: list[tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]]) -> None:
    """Write a picture: features, chances (T, C) and true turns of some conversations."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    figure = Figure(figsize=(12.5, 7), layout="constrained")
    grid = figure.subplots(3, len(cases), height_ratios=(1.1, 0.16, 1), squeeze=False)
    for column, (x, frames, chances, said) in enumerate(cases):
        top, truth, bottom = grid[:, column]
        top.imshow(x.T, aspect="auto", cmap="RdBu_r", vmin=-2.5, vmax=2.5, origin="lower")
        top.set_title("features of speech", loc="left", fontsize=10)
        for label in range(1, SPEAKERS + 1):
            truth.fill_between(np.arange(len(x)), 0, frames == label, step="mid", color=COLOURS[label], linewidth=0)
            bottom.plot(chances[:, label], color=COLOURS[label], linewidth=2)
        truth.set_title("true turns (never shown to it)", loc="left", fontsize=10)
        bottom.fill_between(np.arange(len(x)), chances[:, BLANK], color=COLOURS[BLANK], linewidth=0)
        bottom.set_title(
            f"CTC: said {' '.join(map(str, said))}, true {' '.join(map(str, collapse(frames)))}",
            loc="left",
            fontsize=10,
        )
        bottom.set(xlabel="frame", ylim=(0, 1.03), xlim=(0, len(x) - 1))
        truth.set_xlim(0, len(x) - 1)
        truth.axis("off")
        top.tick_params(labelbottom=False, labelleft=False, length=0)
        bottom.spines[["top", "right"]].set_visible(False)
    grid[2, 0].set_ylabel("chance")
    names = ["blank", *(f"speaker {label}" for label in range(1, SPEAKERS + 1))]
    figure.legend(
        handles=[Patch(color=colour, label=name) for colour, name in zip(COLOURS, names, strict=True)],
        loc="outside lower center", ncols=10, frameon=False, fontsize=8,
    )  # fmt: skip
    figure.savefig(path, dpi=100)


def main() -> None:
    """Join turns, train with CTC, compare, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--plot", metavar="PNG", default="transcribe_speech.png", help="picture to write")
    parser.add_argument("--quick", action="store_true", help="toy size: 40 conversations, one epoch")
    options = parser.parse_args()
    count, epochs, hidden = (40, 1, 8) if options.quick else (1200, options.epochs, 64)

    rng = np.random.default_rng(0)
    train_x, train_y = load("train")
    learnt, held_out = converse(rng, train_x, train_y, count), converse(rng, *load("test"), 300)
    print(f"{len(learnt)} conversations to learn from, 300 of other recordings to test on")
    fs.manual_seed(0)
    model = nn.Sequential(
        nn.Standardize.fit(train_x),
        nn.Dropout(0.2),
        nn.LSTM(12, hidden, bidirectional=True),
        nn.Dropout(0.4),
        nn.Linear(2 * hidden, 1 + SPEAKERS),
    )
    optimizer = optim.Adam(model.parameters(), lr=6e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    x, lengths = padded([x for x, _, _ in learnt])
    y, y_lengths = padded([y for _, y, _ in learnt])
    begin = time.perf_counter()
    for epoch in range(epochs):
        model.train()
        losses = []
        for rows in bucket(lengths, 32, rng):
            optimizer.zero_grad()
            logits = model(x[rows, : lengths[rows].max()], lengths=lengths[rows])
            chances = nn.functional.log_softmax(logits, -1)
            loss = nn.functional.ctc_loss(chances, y[rows], lengths[rows], y_lengths[rows], BLANK, batch_first=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
        if epoch % 5 == 4 or epoch == epochs - 1:
            print(f"epoch {epoch + 1:2}: loss {np.mean(losses):.4f}, {time.perf_counter() - begin:.1f} s")

    scores = fs.predict(model, [x for x, _, _ in held_out])
    said = [collapse(row.argmax(axis=1)) for row in scores]
    frames_x = np.concatenate([neighbours(x) for x, _, _ in learnt[:300]])
    frames_y = np.concatenate([frames for _, _, frames in learnt[:300]])
    rival = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(frames_x, frames_y)
    rival_said = [collapse(smooth(rival.predict(neighbours(x)))) for x, _, _ in held_out]
    true = [y.tolist() for _, y, _ in held_out]
    for name, found in (("logistic regression per frame, told the turns", rival_said), ("BiLSTM with CTC", said)):
        wrong = sum(edits(a, b) for a, b in zip(found, true, strict=True)) / sum(map(len, true))
        whole = np.mean([a == b for a, b in zip(found, true, strict=True)])
        print(f"{name:46} label error rate {wrong:.3f}, whole conversations right {whole:.3f}")

    mean, std = np.concatenate(train_x).mean(0), np.concatenate(train_x).std(0)
    longest = sorted(range(300), key=lambda k: -len(true[k]))[:2]
    cases = [
        (
            (held_out[k][0] - mean) / std,
            held_out[k][2],
            np.exp(nn.functional.log_softmax(scores[k], -1).numpy()),
            said[k],
        )
        for k in longest
    ]
    plot(options.plot, cases)
    print(f"wrote {options.plot}")


if __name__ == "__main__":
    main()
