"""Learn to write English letter by letter from the manual that every Python carries (or any text file), then write.

A character model reads the help topics of Python's own `pydoc`; its perplexity on the last tenth is compared with
n-grams of letters; then it writes, one letter at a time through `fs.Stream`, at three temperatures.

    python examples/generate_text.py [--text FILE] [--epochs 8] [--letters 400] [--plot generate_text.png] [--quick]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics
from textwrap import wrap

import numpy as np

import fastseq as fs
from fastseq import nn, optim

SEQUENCE, BATCH = 96, 16


def read(path: str | None) -> str:
    """Return the text: a file's, or that of all help topics."""
    return Path(path).read_text("utf-8") if path else "\n\n".join(topics[name] for name in sorted(topics))


def ngram_bits(order: int, past: np.ndarray, future: np.ndarray, letters: int) -> float:
    """Return the bits per letter of n-grams, each order smoothed by the next lower one (Witten-Bell)."""
    chance = np.full(len(future), 1 / letters)
    for n in range(1, order + 1):
        seen, before, kinds = Counter(), Counter(), Counter()
        text = past.tolist()
        for k in range(n - 1, len(text)):
            gram = tuple(text[k - n + 1 : k + 1])
            kinds[gram[:-1]] += gram not in seen
            seen[gram] += 1
            before[gram[:-1]] += 1
        whole = past[len(past) - n + 1 :].tolist() + future.tolist()
        for k in range(len(future)):
            gram = tuple(whole[k : k + n])
            context = gram[:-1]
            if context in before:
                chance[k] = (seen[gram] + kinds[context] * chance[k]) / (before[context] + kinds[context])
    return float(-np.log2(chance).mean())


def scores(model: nn.Module, tokens: np.ndarray) -> np.ndarray:
    """Return log probabilities (N - 1, V) of each letter after those before it."""
    model.eval()
    with fs.no_grad():
        return nn.functional.log_softmax(model(tokens[None, :-1]), -1).numpy()[0]


def bits_of(model: nn.Module, tokens: np.ndarray) -> np.ndarray:
    """Return what each letter but the first cost in bits."""
    found = scores(model, tokens)
    return -found[np.arange(len(found)), tokens[1:]] / np.log(2)


def write(
    model: nn.Module, letters: list[str], start: str, count: int, temperature: float, rng: np.random.Generator
) -> str:
    """Return a text that goes on from ``start``; every letter is one step of a stream."""
    stream = fs.Stream(model.eval())
    text = start
    for letter in start:
        logits = stream.step([letters.index(letter)])
    for _ in range(count):
        weights = np.exp((logits - logits.max()) / temperature, dtype=np.float64)
        text += letters[rng.choice(len(letters), p=weights / weights.sum())]
        logits = stream.step([letters.index(text[-1])])
    return text


def plot(path: str, shown: str, bits: np.ndarray, bars: dict[str, float], texts: dict[float, str]) -> None:
    """Write a picture: the cost of each letter of a held-out passage, and what the model writes."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    width, rows, palette = 100, 9, colormaps["YlOrRd"]
    figure = Figure(figsize=(12, 7.2), layout="constrained")
    grid = figure.add_gridspec(3, 3, height_ratios=(1.15, 0.5, 0.95))
    top = figure.add_subplot(grid[0, :])
    place = 0
    for number, (letter, cost) in enumerate(zip(shown, bits, strict=True)):
        if letter.isspace() and (place % width == 0 or shown[number - 1].isspace()):
            continue  # runs of blanks are drawn as one
        row, column = divmod(place, width)
        if row == rows:
            break
        top.add_patch(Rectangle((column, row), 1, 1, color=palette(0.85 * min(cost, 8) / 8), linewidth=0))
        top.text(column + 0.5, row + 0.55, letter, family="monospace", ha="center", va="center", fontsize=8.5)
        place += 1
    top.set(xlim=(0, width), ylim=(rows, 0))
    top.axis("off")
    top.set_title(
        "A passage that it has not seen: the redder a letter, the more it surprised (red: 8 bits)", loc="left"
    )
    axes = figure.add_subplot(grid[1, :])
    names = list(bars)
    axes.barh(names, bars.values(), color=["#b5b5b5"] * (len(names) - 1) + ["#d1495b"])
    for name, value in bars.items():
        axes.text(value, name, f" {value:.2f}", va="center", fontsize=9)
    axes.set_xlabel("bits per letter on the last tenth of the text", fontsize=9)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    for number, (temperature, text) in enumerate(texts.items()):
        panel = figure.add_subplot(grid[2, number])
        panel.axis("off")
        panel.set_title(f"It writes, temperature {temperature:g}", loc="left", fontsize=10)
        lines = [part for line in text.splitlines() for part in wrap(line, 50, replace_whitespace=False) or [""]]
        panel.text(0, 1, "\n".join(lines[:15]), family="monospace", va="top", fontsize=8, parse_math=False)
    figure.savefig(path, dpi=100)


def main() -> None:
    """Train, compare with n-grams, write, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", metavar="FILE", help="learn from this text instead of Python's help topics")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--letters", type=int, default=500, help="how many to write at each temperature")
    parser.add_argument("--plot", metavar="PNG", default="generate_text.png", help="picture to write")
    parser.add_argument("--quick", action="store_true", help="toy size: 30,000 letters, a small model, one epoch")
    options = parser.parse_args()
    epochs, hidden, count = (1, 16, 60) if options.quick else (options.epochs, 256, options.letters)

    text = read(options.text)[: 30_000 if options.quick else None]
    letters = sorted(set(text))
    tokens = np.array([letters.index(letter) for letter in text])
    split = len(tokens) * 9 // 10
    past, future = tokens[:split], tokens[split:]
    fs.manual_seed(0)
    model = nn.Sequential(
        nn.Embedding(len(letters), 32), nn.LSTM(32, hidden), nn.Dropout(0.2), nn.Linear(hidden, len(letters))
    )
    print(f"{len(text):,} letters of {len(letters)} kinds, {model.num_parameters():,} weights")

    rng = np.random.default_rng(0)
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    steps = epochs * (len(past) // (SEQUENCE * BATCH))
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    begin = time.perf_counter()
    for epoch in range(epochs):
        model.train()
        losses = []
        starts = rng.permutation(np.arange(rng.integers(SEQUENCE), len(past) - SEQUENCE, SEQUENCE))
        for chosen in np.array_split(starts, len(past) // (SEQUENCE * BATCH)):
            windows = past[chosen[:, None] + np.arange(SEQUENCE + 1)]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(windows[:, :-1]), windows[:, 1:], axis=-1)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        print(
            f"epoch {epoch + 1}: {np.mean(losses) / np.log(2):.3f} bits per letter, {time.perf_counter() - begin:.1f} s"
        )

    names = {1: "letters alone", 2: "pairs", 3: "triples", 5: "5-grams", 7: "7-grams"}
    bars = {name: ngram_bits(order, past, future, len(letters)) for order, name in names.items()}
    costs = bits_of(model, future)
    bars["LSTM"] = float(costs.mean())
    for name, bits in bars.items():
        print(f"{name:14} {bits:.3f} bits per letter, perplexity {2**bits:.2f}")

    rng = np.random.default_rng(1)
    fs.Stream(model).step([0])  # compiles what is not compiled yet
    begin = time.perf_counter()
    texts = {heat: write(model, letters, "The ", count, heat, rng) for heat in (0.3, 0.7, 1.0)}
    per_letter = (time.perf_counter() - begin) / (3 * count)
    for temperature, written in texts.items():
        print(f"--- temperature {temperature:g}\n{written}")
    print(f"--- {per_letter * 1e6:.0f} us per letter, drawing it included")
    passage = "".join(letters[t] for t in future[1:])
    first = passage.find("\n\n") + 2
    plot(options.plot, passage[first : first + 2000], costs[first : first + 2000], bars, texts)
    print(f"wrote {options.plot}")


if __name__ == "__main__":
    main()
