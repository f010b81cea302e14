"""Which library does a sentence come from? Real sentences: the docstrings of six packages that are installed here.

An embedding of words, a bidirectional LSTM and pooling by attention, against logistic regression on TF-IDF. Names of
the packages are struck out, and whole modules are held out. The picture shows sentences with the weight of each word.

    python examples/classify_sentences.py [--epochs 10] [--plot classify_sentences.png] [--quick]
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import importlib.util
import re
import time
from collections import Counter
from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import fastseq as fs
from fastseq import nn, optim
from fastseq.batch import bucket

PACKAGES = {
    "numpy": "np", "scipy": "sp", "pandas": "pd", "matplotlib": "plt|mpl", "sklearn": "scikit.?learn", "sktime": "aeon"
}  # fmt: skip
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|\d+|[^\sa-z\d]")
SHORTEST, LONGEST = 6, 40
STRUCK_OUT = re.compile("|".join(rf"\b(?:{name}|{short})\b" for name, short in PACKAGES.items()), re.I)
UNKNOWN = 0


def sentences(folder: Path, modules: int | None) -> list[tuple[str, bool]]:
    """Return the sentences of all docstrings under a folder, and whether their module is one to test on."""
    found: dict[str, bool] = {}
    for path in sorted(folder.rglob("*.py"))[:modules]:
        name = path.relative_to(folder).as_posix()
        held_out = hashlib.sha256(name.encode()).digest()[0] < 51  # one module in five, the same ones everywhere
        if "test" in name:
            continue
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.Module)):
                for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                    if ">>>" in paragraph or "---" in paragraph or "::" in paragraph:
                        continue
                    for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(paragraph.split())):
                        if re.match(r"[A-Z][^:|=]+[.!?]$", sentence):
                            found.setdefault(STRUCK_OUT.sub("_", sentence), held_out)
    return [(text, held_out) for text, held_out in found.items() if SHORTEST <= len(words(text)) <= LONGEST]


def words(text: str) -> list[str]:
    """Return a sentence's words and signs in small letters."""
    return WORD.findall(text.lower())


def load(limit: int, modules: int | None) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return sentences, packages as numbers, and which are to test on; at most ``limit`` per package.

    ``modules`` says how many files of each are read.
    """
    rng = np.random.default_rng(0)
    texts, labels, held_out = [], [], []
    places: Counter[str] = Counter()
    for number, package in enumerate(PACKAGES):
        spec = importlib.util.find_spec(package)
        assert spec is not None and spec.submodule_search_locations
        found = sentences(Path(spec.submodule_search_locations[0]), modules)
        for k in rng.permutation(len(found))[:limit]:
            places[found[k][0]] += 1
            texts.append(found[k][0])
            labels.append(number)
            held_out.append(found[k][1])
    once = np.array([places[text] == 1 for text in texts])  # what two packages say tells nothing
    kept = np.flatnonzero(once)
    return [texts[k] for k in kept], np.array(labels)[kept], np.array(held_out)[kept]


class Classifier(nn.Module):
    """Words (B, T) to scores of packages (B, C); ``weights`` tells how much each word counted."""

    def __init__(self, vocabulary: int, size: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, size)
        self.dropout = nn.Dropout(0.3)
        self.lstm = nn.LSTM(size, size, bidirectional=True)
        self.pool = nn.AttentionPool(2 * size, size)
        self.head = nn.Linear(2 * size, classes)

    def steps(self, tokens, lengths):
        return self.lstm(self.dropout(self.embedding(tokens, lengths=lengths)), lengths=lengths)[0]

    def forward(self, tokens, lengths):
        return self.head(self.dropout(self.pool(self.steps(tokens, lengths), lengths=lengths)))

    def weights(self, tokens):
        return nn.functional.softmax(self.scores(self.steps(tokens, None)), -1).numpy()

    def scores(self, steps):
        return self.pool.score(nn.functional.tanh(self.pool.hidden(steps)))[..., 0]


def batch(rows: list[list[int]], numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return some rows as padded tokens (B, T) and their lengths."""
    lengths = np.array([len(rows[k]) for k in numbers])
    tokens = np.zeros((len(numbers), lengths.max()), np.int64)
    for target, k in zip(tokens, numbers, strict=True):
        target[: len(rows[k])] = rows[k]
    return tokens, lengths


def plot(path: str, shown: list[tuple[list[str], np.ndarray, str, str]], confusion: np.ndarray) -> None:
    """Write a picture: sentences with the weights of their words, and who is taken for whom."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2.1, 1))
    left.axis("off")
    left.set(xlim=(0, 100), ylim=(3.1 * len(shown), 0))
    left.set_title("What it looked at (held-out modules)", loc="left")
    for number, (parts, weights, package, said) in enumerate(shown):
        top, x, line = 3.1 * number, 0.0, 0
        verdict = package if said == package else f"{package}, taken for {said}"
        left.text(
            0, top + 0.5, verdict, fontweight="bold", fontsize=9, color="#00798c" if said == package else "#d1495b"
        )
        for part, weight in zip(parts, weights, strict=True):
            wide = 1.02 * len(part) + 1.0
            if x + wide > 100:
                x, line = 0.0, line + 1
            shade = colormaps["YlGn"](min(1.0, 0.75 * weight / weights.max()))
            left.text(
                x, top + 1.25 + 0.75 * line, part, family="monospace", fontsize=8, va="center",
                bbox={"facecolor": shade, "edgecolor": "none", "pad": 1.2},
            )  # fmt: skip
            x += wide
    names = list(PACKAGES)
    right.imshow(confusion, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(confusion.shape):
        right.text(
            j,
            i,
            f"{confusion[i, j]:.2f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if confusion[i, j] > 0.6 else "#333333",
        )
    right.set_xticks(range(len(names)), names, rotation=35)
    right.set_yticks(range(len(names)), names)
    right.set(xlabel="said", ylabel="from")
    right.set_title("Share of each package's sentences", loc="left")
    figure.savefig(path, dpi=100)


def main() -> None:
    """Collect, train, compare, plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--plot", metavar="PNG", default="classify_sentences.png", help="picture to write")
    parser.add_argument("--quick", action="store_true", help="toy size: 200 sentences per package, one epoch")
    options = parser.parse_args()
    limit, epochs, size = (200, 1, 8) if options.quick else (6000, options.epochs, 64)

    texts, labels, held_out = load(limit, 80 if options.quick else None)
    learnt, tested = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    counts = Counter(word for k in learnt for word in words(texts[k]))
    vocabulary = {word: 1 + n for n, (word, count) in enumerate(counts.most_common()) if count > 1}
    rows = [[vocabulary.get(word, UNKNOWN) for word in words(text)] for text in texts]
    print(f"{len(learnt):,} sentences to learn from, {len(tested):,} to test on, {len(vocabulary):,} words")

    fs.manual_seed(0)
    model = Classifier(1 + len(vocabulary), size, len(PACKAGES))
    optimizer = optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.1)
    lengths, rng = np.array([len(row) for row in rows]), np.random.default_rng(0)
    schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    begin = time.perf_counter()
    for epoch in range(epochs):
        model.train()
        losses = []
        for chosen in bucket(lengths[learnt], 64, rng):
            numbers = learnt[chosen]
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(*batch(rows, numbers)), labels[numbers])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
        schedule.step()
        print(f"epoch {epoch + 1}: loss {np.mean(losses):.3f}, {time.perf_counter() - begin:.1f} s")

    model.eval()
    said = np.empty(len(texts), int)
    with fs.no_grad():
        for chosen in bucket(lengths[tested], 256):
            said[tested[chosen]] = model(*batch(rows, tested[chosen])).numpy().argmax(axis=1)
    accuracy = (said[tested] == labels[tested]).mean()
    rival = make_pipeline(
        TfidfVectorizer(token_pattern=r"[^\s]+", ngram_range=(1, 2), min_df=2), LogisticRegression(C=10, max_iter=300)
    )
    spaced = [" ".join(words(text)) for text in texts]
    rival.fit([spaced[k] for k in learnt], labels[learnt])
    rival_accuracy = rival.score([spaced[k] for k in tested], labels[tested])
    print(f"test accuracy: largest class {np.bincount(labels[tested]).max() / len(tested):.3f}")
    print(f"test accuracy: logistic regression on TF-IDF of words and pairs {rival_accuracy:.3f}")
    print(f"test accuracy: embedding, BiLSTM, attention pooling {accuracy:.3f}")

    confusion = np.zeros((len(PACKAGES),) * 2)
    np.add.at(confusion, (labels[tested], said[tested]), 1)
    names, shown = list(PACKAGES), []
    for number in range(len(PACKAGES)):
        mine = tested[(labels[tested] == number) & (lengths[tested] >= 14) & (lengths[tested] <= 26)]
        k = mine[0]
        with fs.no_grad():
            weights = model.weights(np.array([rows[k]]))[0]
        shown.append((words(texts[k]), weights, names[number], names[said[k]]))
    plot(options.plot, shown, confusion / confusion.sum(axis=1, keepdims=True))
    print(f"wrote {options.plot}")


if __name__ == "__main__":
    main()
