"""Translate dates as people write them into one form: "Tuesday, March 3rd, 1998" becomes "1998-03-03".

A bidirectional LSTM reads the letters, another LSTM writes the answer with Luong attention. Dates of the test set
appear in no form among those to learn from. The picture shows which letters were looked at for each letter written.

    python examples/translate_dates.py [--epochs 40] [--plot translate_dates.png] [--quick]
"""

from __future__ import annotations

import argparse
import time
from datetime import date, timedelta

import numpy as np
from dateutil import parser as dateutil_parser

import fastseq as fs
from fastseq import nn, optim
from fastseq.batch import bucket

FIRST, DAYS = date(1900, 1, 1), 73_414  # to the end of 2100
BOS, EOS = 0, 1
BELOW_TWENTY = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth",
                "eleventh", "twelfth", "thirteenth", "fourteenth", "fifteenth", "sixteenth", "seventeenth",
                "eighteenth", "nineteenth"]  # fmt: skip
TENS = [f"twenty-{unit}" for unit in BELOW_TWENTY[:9]]
ORDINALS = [*BELOW_TWENTY, "twentieth", *TENS, "thirtieth", "thirty-first"]


def ordinal(day: int) -> str:
    """Return 1st, 2nd, 3rd, 4th, ..."""
    return f"{day}{'th' if 10 < day < 14 else {1: 'st', 2: 'nd', 3: 'rd'}.get(day % 10, 'th')}"


WAYS = {
    "March 3rd, 1998": lambda d: f"{d:%B} {ordinal(d.day)}, {d.year}",
    "Tuesday, 3 March 1998": lambda d: f"{d:%A}, {d.day} {d:%B} {d.year}",
    "Tue Mar 3 1998": lambda d: f"{d:%a %b} {d.day} {d.year}",
    "3.3.1998": lambda d: f"{d.day}.{d.month}.{d.year}",
    "3 MAR 98": lambda d: f"{d.day} {d:%b} {d:%y}".upper(),  # of 1950 to 2049
    "the third of March 1998": lambda d: f"the {ORDINALS[d.day - 1]} of {d:%B} {d.year}",
    "1998, day 62": lambda d: f"{d.year}, day {d:%j}".replace("day 0", "day ").replace("day 0", "day "),
}


def sample(rng: np.random.Generator, days: np.ndarray) -> list[tuple[str, str, str]]:
    """Return (as written, wanted, way) for each day, counted from the first."""
    found = []
    for number, way in zip(days, rng.choice(list(WAYS), len(days)), strict=True):
        day = FIRST + timedelta(int(number))
        if way == "3 MAR 98":
            day = day.replace(year=1950 + day.year % 100, day=min(day.day, 28))
        found.append((WAYS[way](day), day.isoformat(), way))
    return found


class Letters:
    """Numbers for letters; 0 begins and 1 ends a text."""

    def __init__(self, texts: list[str]) -> None:
        self.letters = sorted(set("".join(texts)))
        self.numbers = {letter: 2 + n for n, letter in enumerate(self.letters)}

    def __len__(self) -> int:
        return 2 + len(self.letters)

    def encode(self, texts: list[str], end: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return padded tokens (B, T) and lengths (B,)."""
        rows = [[self.numbers[letter] for letter in text] + [EOS] * end for text in texts]
        lengths = np.array([len(row) for row in rows])
        tokens = np.zeros((len(rows), lengths.max()), np.int64)
        for target, row in zip(tokens, rows, strict=True):
            target[: len(row)] = row
        return tokens, lengths

    def decode(self, tokens: list[int]) -> str:
        """Return the text of some tokens."""
        return "".join(self.letters[t - 2] for t in tokens if t > EOS)


def rules(text: str) -> str:
    """Return what the parser of python-dateutil makes of a text."""
    try:
        return dateutil_parser.parse(text, dayfirst=True).date().isoformat()
    except (ValueError, OverflowError):
        return "?"


def plot(path: str, cases: list[tuple[str, str, str, np.ndarray]]) -> None:
    """Write a picture of attention: letters read on the x axis, letters written on the y axis."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.4), layout="constrained")
    for axes, (source, wanted, written, looks) in zip(figure.subplots(2, 2).ravel(), cases, strict=True):
        axes.imshow(looks[: len(written)], cmap="BuPu", aspect="auto", vmin=0, vmax=1)
        axes.set_xticks(range(len(source)), list(source), family="monospace")
        axes.set_yticks(range(len(written)), list(written), family="monospace")
        axes.tick_params(length=0)
        verdict = "" if written == wanted else f"; it was {wanted}"
        axes.set_title(f"{source}  →  {written}{verdict}", loc="left", fontsize=11)
        axes.spines[:].set_visible(False)
    figure.suptitle("Where the decoder looks (across) while it writes (down)")
    figure.savefig(path, dpi=100)


def main() -> None:
    """Generate, train, translate, compare with rules, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--plot", metavar="PNG", default="translate_dates.png", help="picture to write")
    parser.add_argument("--quick", action="store_true", help="toy size: 300 dates, one epoch")
    options = parser.parse_args()
    count, tested, epochs, hidden = (300, 20, 1, 16) if options.quick else (12_000, 1000, options.epochs, 64)

    rng = np.random.default_rng(0)
    days = rng.permutation(DAYS)
    learnt, held_out = sample(rng, days[:count]), sample(rng, days[-tested:])
    new = {wanted for _, wanted, _ in learnt}
    held_out = [one for one in held_out if one[1] not in new]  # two-digit years fold days onto each other
    sources, targets = Letters([s for s, _, _ in learnt + held_out]), Letters(["0123456789-"])
    x, x_lengths = sources.encode([s for s, _, _ in learnt], end=False)
    y, y_lengths = targets.encode([t for _, t, _ in learnt], end=True)

    fs.manual_seed(0)
    model = nn.Seq2Seq(
        encoder=nn.LSTM(32, hidden, bidirectional=True),
        decoder=nn.LSTM(32, 2 * hidden),
        embedding=nn.Embedding(len(targets), 32),
        attention=nn.LuongAttention(2 * hidden),
        source_embedding=nn.Embedding(len(sources), 32),
        bos=BOS,
        eos=EOS,
        dropout=0.1,
    )
    optimizer = optim.Adam(model.parameters(), lr=5e-3)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    print(f"{len(learnt):,} dates to learn from, {len(held_out)} to test on, {model.num_parameters():,} weights")
    begin = time.perf_counter()
    for epoch in range(epochs):
        losses = []
        for rows in bucket(x_lengths, 64, rng):
            optimizer.zero_grad()
            loss = model.loss(x[rows, : x_lengths[rows].max()], y[rows], x_lengths[rows], y_lengths[rows])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
        if epoch % 5 == 4 or epoch == epochs - 1:
            print(f"epoch {epoch + 1:2}: loss {np.mean(losses):.4f}, {time.perf_counter() - begin:.1f} s")

    z, z_lengths = sources.encode([s for s, _, _ in held_out], end=False)
    answers = model.greedy(z, z_lengths, max_steps=12)
    written = [targets.decode(answer.tokens) for answer in answers]
    right = np.array([text == wanted for text, (_, wanted, _) in zip(written, held_out, strict=True)])
    by_rules = np.array([rules(source) == wanted for source, wanted, _ in held_out])
    ways = np.array([way for _, _, way in held_out])
    print(f"{'exact matches by way of writing':40} {'Seq2Seq':>8} {'dateutil':>9}")
    for way in WAYS:
        if (ways == way).any():
            print(f"{way:40} {right[ways == way].mean():8.3f} {by_rules[ways == way].mean():9.3f}")
    print(f"{'all':40} {right.mean():8.3f} {by_rules.mean():9.3f}")

    shown = [np.flatnonzero(ways == way)[0] for way in WAYS if (ways == way).any()]
    chosen = [shown[k] for k in (0, 1, -2, -1)]
    plot(options.plot, [(*held_out[k][:2], written[k], np.asarray(answers[k].attention)) for k in chosen])
    print(f"wrote {options.plot}")


if __name__ == "__main__":
    main()
