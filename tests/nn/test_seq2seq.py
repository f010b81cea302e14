"""Seq2Seq: float64 differences, PyTorch's values, teacher forcing, greedy and beam search against all sequences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import fastseq as fs
from fastseq import nn
from fastseq.nn.beam import Step, beam_search
from tests.gradcheck import gradcheck

SOURCE = np.array([[3, 1, 4, 1], [2, 0, 5, 5], [1, 1, 1, 1]])
TARGET = np.array([[2, 3, 1], [4, 1, 0], [1, 0, 0]])
LENGTHS, TARGET_LENGTHS = np.array([4, 2, 0]), np.array([3, 2, 1])


def model_of(score="general", feeding=False, directions=1, layers=1, source=6, dtype=np.float64, tokens=5):
    """A small model; ``source`` 0 for sources of numbers."""
    fs.manual_seed(3)
    size = 3 * directions
    encoder = nn.LSTM(2, 3, layers, bidirectional=directions == 2, dtype=dtype)
    decoder = nn.LSTM(2 + size * feeding, size, layers, dtype=dtype)
    attention = None if score is None else nn.LuongAttention(size, score=score, dtype=dtype)
    embedding = nn.Embedding(tokens, 2, dtype=dtype)
    before = nn.Embedding(source, 2, dtype=dtype) if source else None
    return nn.Seq2Seq(encoder, decoder, embedding, attention, before, bos=0, eos=1, input_feeding=feeding)


@pytest.mark.parametrize(
    "options",
    [
        {"score": None},
        {"score": "dot"},
        {"score": "general", "directions": 2},
        {"score": "concat", "layers": 2},
        {"score": "general", "feeding": True, "directions": 2},
    ],
    ids=str,
)
def test_gradients(options):
    model = model_of(**options)
    with_lengths = lambda: model.loss(SOURCE, TARGET, LENGTHS, TARGET_LENGTHS)  # noqa: E731
    gradcheck(with_lengths, parameters=model.parameters())
    numbers = model_of(**options, source=0)
    x = np.random.default_rng(0).standard_normal((3, 4, 2))
    gradcheck(lambda x: numbers(x, TARGET, LENGTHS)[0][:, :2], x, parameters=numbers.parameters())


def test_step_by_step_is_the_single_pass():
    """A ratio this near to one draws the target's token every time, but runs step by step."""
    for options in ({"score": None}, {"score": "concat", "directions": 2, "layers": 2}):
        model = model_of(**options)
        once = model(SOURCE, TARGET, LENGTHS, TARGET_LENGTHS)
        steps = model(SOURCE, TARGET, LENGTHS, TARGET_LENGTHS, teacher_forcing=1 - 1e-12)
        valid = np.arange(3) < TARGET_LENGTHS[:, None]
        np.testing.assert_array_equal(once[0].numpy()[valid], steps[0].numpy()[valid])
        if once[1] is not None:
            np.testing.assert_array_equal(once[1].numpy()[valid], steps[1].numpy()[valid])
        gradients = []
        for ratio in (1.0, 1 - 1e-12):
            model.zero_grad()
            model.loss(SOURCE, TARGET, LENGTHS, TARGET_LENGTHS, ratio).backward()
            gradients.append([p.grad.numpy() for p in model.parameters()])
        for one, other in zip(*gradients, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-14)


def test_against_pytorch():
    torch = pytest.importorskip("torch")
    model = model_of("general", directions=2, layers=2)

    def twin(layer, inputs, size, bidirectional):
        found = torch.nn.LSTM(inputs, size, 2, batch_first=True, bidirectional=bidirectional).double()
        found.load_state_dict({k: torch.tensor(v.numpy().copy()) for k, v in layer.state_dict().items()})
        return found

    weights = {k: torch.tensor(p.numpy().copy(), requires_grad=True) for k, p in model.named_parameters()}
    encoder, decoder = twin(model.encoder, 2, 3, True), twin(model.decoder, 2, 6, False)
    losses = []
    for row in range(2):
        source, target = torch.tensor(SOURCE[row : row + 1, : LENGTHS[row]]), torch.tensor(TARGET[row])
        out, (h, c) = encoder(weights["source_embedding.weight"][source])
        state = tuple(s.reshape(2, 2, 1, 3).permute(0, 2, 1, 3).reshape(2, 1, 6) for s in (h, c))
        inputs = torch.cat([torch.zeros(1, dtype=torch.int64), target[:-1]])
        said, _ = decoder(weights["embedding.weight"][inputs][None], state)
        shares = (said @ (out @ weights["attention.key.weight"].T).transpose(1, 2)).softmax(-1)
        hidden = torch.tanh(torch.cat([shares @ out, said], -1) @ weights["combine.weight"].T)
        logits = hidden @ weights["output.weight"].T + weights["output.bias"]
        losses.append(
            torch.nn.functional.cross_entropy(
                logits[0, : TARGET_LENGTHS[row]], target[: TARGET_LENGTHS[row]], reduction="sum"
            )
        )
    expected = sum(losses) / 5
    expected.backward()
    found = model.loss(SOURCE[:2], TARGET[:2], LENGTHS[:2], TARGET_LENGTHS[:2])
    found.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-10)
    gradients = {k: p.grad for k, p in weights.items()}
    gradients |= {f"encoder.{k}": p.grad for k, p in encoder.named_parameters()}
    gradients |= {f"decoder.{k}": p.grad for k, p in decoder.named_parameters()}
    for name, parameter in model.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), gradients[name].numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("feeding", [False, True])
def test_padding_and_neighbours_change_no_bit(feeding):
    model = model_of(feeding=feeding, directions=2, dtype=np.float32)
    valid = np.arange(3) < TARGET_LENGTHS[:, None]
    logits, weights = model(SOURCE, TARGET, LENGTHS, TARGET_LENGTHS)
    strange = np.where(np.arange(4) < LENGTHS[:, None], SOURCE, -9), np.where(valid, TARGET, 99)
    others = model(*strange, LENGTHS, TARGET_LENGTHS)
    assert logits.numpy()[valid].tobytes() == others[0].numpy()[valid].tobytes()
    assert (
        model.loss(*strange, LENGTHS, TARGET_LENGTHS).item()
        == model.loss(SOURCE, TARGET, LENGTHS, TARGET_LENGTHS).item()
    )
    for row in (0, 1):
        n, m = LENGTHS[row], TARGET_LENGTHS[row]
        alone = model(SOURCE[row : row + 1, :n], TARGET[row : row + 1, :m])
        assert alone[0].numpy()[0].tobytes() == np.ascontiguousarray(logits.numpy()[row, :m]).tobytes()
        assert alone[1].numpy()[0].tobytes() == np.ascontiguousarray(weights.numpy()[row, :m, :n]).tobytes()
        assert (weights.numpy()[row, :, n:] == 0).all()
        one = model.beam_search(SOURCE[row : row + 1, :n], max_steps=4, beam_width=3, n_best=3)[0]
        several = model.beam_search(SOURCE, LENGTHS, max_steps=4, beam_width=3, n_best=3)[row]
        for a, b in zip(one, several, strict=True):
            assert a[:4] == b[:4] and a.attention.tobytes() == np.ascontiguousarray(b.attention).tobytes()


def every_sequence(model, source, length, max_steps, strength):
    """All sequences of tokens that end within max_steps, or are cut there, with their scores; best first."""
    tokens = model.output.out_features
    found = []
    for steps in range(1, max_steps + 1):
        for sequence in itertools.product(range(tokens), repeat=steps):
            if 1 in sequence[:-1] or (sequence[-1] != 1 and steps < max_steps):
                continue
            logits, weights = model(source[None, :length], np.array([sequence]))
            logs = logits.log_softmax(dim=-1).numpy()[0]
            total = sum(logs[u, token] for u, token in enumerate(sequence))
            ends = sequence[-1] == 1
            kept = list(sequence[:-1] if ends else sequence)
            looks = weights.numpy()[0, : len(kept)]
            found.append((kept, total / ((5 + steps) / 6) ** strength, total, ends, looks))
    return sorted(found, key=lambda one: -one[1])


@pytest.mark.parametrize("strength", [0.0, 1.5, -1.0])
@pytest.mark.parametrize("feeding", [False, True])
def test_a_beam_that_holds_everything_finds_the_best(strength, feeding):
    model = model_of(feeding=feeding, tokens=4)
    model.output.weight.data = 4 * model.output.weight.numpy()
    found = model.beam_search(SOURCE, LENGTHS, 3, 100, strength, 10)
    for row in range(3):
        expected = every_sequence(model, SOURCE[row], LENGTHS[row], 3, strength)
        assert len(expected) == 1 + 3 + 9 + 27
        for one, (tokens, score, total, ends, looks) in zip(found[row], expected, strict=False):
            assert (one.tokens, one.finished) == (tokens, ends)
            assert one.score == pytest.approx(score, rel=1e-10)
            assert one.log_probability == pytest.approx(total, rel=1e-10)
            assert one.attention.shape == (len(tokens), LENGTHS[row])
            np.testing.assert_allclose(one.attention, looks, rtol=1e-10)


def test_greedy_is_the_best_token_at_every_step():
    for options in ({"score": None}, {"score": "dot", "directions": 2, "layers": 2}, {"feeding": True}):
        model = model_of(**options)
        found = model.greedy(SOURCE, LENGTHS, max_steps=6)
        for row, one in enumerate(found):
            tokens = [0]
            total = 0.0
            while len(tokens) < 7 and (len(tokens) == 1 or tokens[-1] != 1):
                goal = np.array([[*tokens[1:], 0]])
                logs = model(SOURCE[row : row + 1, : LENGTHS[row]], goal)[0].log_softmax(dim=-1).numpy()[0, -1]
                tokens.append(int(logs.argmax()))
                total += logs.max()
            ends = tokens[-1] == 1
            assert one.tokens == tokens[1 : len(tokens) - ends] and one.finished == ends
            assert one.log_probability == one.score == pytest.approx(total, rel=1e-10)
            assert one.attention is None or one.attention.shape == (len(one.tokens), LENGTHS[row])
        # without teacher forcing, the decoder reads what it says itself
        steps = max(1, len(found[0].tokens))
        said = model(SOURCE[:1], np.zeros((1, steps), int), teacher_forcing=0.0)[0].numpy().argmax(-1)[0]
        assert said[: len(found[0].tokens)].tolist() == found[0].tokens


def test_teacher_forcing_is_drawn_for_each_row_and_step():
    model = model_of()
    rows = np.repeat(SOURCE[:1], 200, axis=0)
    target = np.full((200, 3), 2)
    fs.manual_seed(0)
    half = model(rows, target, teacher_forcing=0.5)[0].numpy()
    fs.manual_seed(0)
    np.testing.assert_array_equal(half, model(rows, target, teacher_forcing=0.5)[0].numpy())
    kinds = {row.tobytes() for row in np.round(half[:, 1:], 6)}
    assert 3 <= len(kinds) <= 4  # own or given token at two steps; own ones may be the given


def test_the_end_ends_the_search():
    model = model_of()
    model.output.bias.data = np.array([0.0, 50.0, 0.0, 0.0, 0.0])
    for one in model.greedy(SOURCE, LENGTHS):
        assert one.tokens == [] and one.finished and one.attention.shape[0] == 0
    calls = []

    def step(last, state):
        calls.append(len(last))
        return Step(np.log(np.tile([0.2, 0.7, 0.1], (len(last), 1))), None, state)

    found = beam_search(
        step, lambda state, kept: state, None, 2, bos=0, eos=1, max_steps=50, width=2, length_penalty=0.0, n_best=1
    )
    assert calls == [2] and [row[0].tokens for row in found] == [[], []]
    assert found[0][0].log_probability == pytest.approx(np.log(0.7)) and found[0][0].attention is None


def test_a_narrow_beam_prunes_and_a_wider_one_does_better():
    table = {0: [0.0, 0.0, 0.6, 0.4], 2: [0.0, 0.3, 0.35, 0.35], 3: [0.0, 0.9, 0.05, 0.05]}

    def step(last, state):
        with np.errstate(divide="ignore"):
            return Step(np.log(np.array([table[token] for token in last.tolist()])), None, state)

    def best(width, **options):
        found = beam_search(
            step, lambda state, kept: state, None, 1, bos=0, eos=1, max_steps=4, width=width, n_best=1,
            **{"length_penalty": 0.0, **options},
        )  # fmt: skip
        return found[0][0]

    assert best(1).tokens[0] == 2
    assert best(2).tokens == [3] and best(2).log_probability == pytest.approx(np.log(0.4 * 0.9))
    assert len(best(2, length_penalty=8.0).tokens) > 1


def test_a_model_that_says_nan_gives_no_tokens():
    model = model_of()
    model.output.bias.data = np.full(5, np.nan)
    for one in model.greedy(SOURCE, LENGTHS):
        assert one.tokens == [] and np.isnan(one.score) and not one.finished


def test_searching_leaves_the_mode_and_records_nothing():
    model = model_of()
    model.drop.p = 0.9
    model.train()
    model.encoder.eval()
    first = model.greedy(SOURCE, LENGTHS)
    assert model.training and model.drop.training and not model.encoder.training
    assert [one[:3] for one in first] == [one[:3] for one in model.greedy(SOURCE, LENGTHS)]


def test_nothing_at_all():
    model = model_of()
    assert model.greedy(SOURCE[:0], LENGTHS[:0]) == [] and model.beam_search(SOURCE[:0]) == []
    for feeding in (False, True):
        logits, weights = model_of(feeding=feeding)(SOURCE, TARGET[:, :0])
        assert logits.shape == (3, 0, 5) and weights.shape == (3, 0, 4)
    assert np.isnan(model.loss(SOURCE, TARGET, LENGTHS, [0, 0, 0]).item())
    assert model(SOURCE[:, :0], TARGET)[0].shape == (3, 3, 5)


def parts(**changed):
    """Parts that fit, but for the changes."""
    found = {
        "encoder": nn.LSTM(2, 3), "decoder": nn.LSTM(2, 3), "embedding": nn.Embedding(5, 2),
        "attention": nn.LuongAttention(3), "source_embedding": nn.Embedding(6, 2), "bos": 0, "eos": 1,
    }  # fmt: skip
    return {**found, **changed}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"encoder": nn.Linear(2, 3)}, TypeError, "encoder: expected a Recurrent"),
        ({"embedding": None}, TypeError, "embedding: expected an Embedding"),
        ({"attention": nn.Linear(2, 3)}, TypeError, "attention: expected a LuongAttention or None"),
        ({"encoder": nn.LSTM(2, 3, dtype="float64")}, TypeError, "encoder: expected dtype float32 like the decoder"),
        ({"encoder": nn.LSTM(2, 3, bidirectional=True)}, ValueError, "decoder.hidden_size: expected 6, got 3"),
        ({"encoder": nn.LSTM(2, 3, 2)}, ValueError, "decoder.num_layers: expected 2, got 1"),
        ({"encoder": nn.LSTM(2, 3, batch_first=False)}, ValueError, "encoder.batch_first: expected True"),
        ({"decoder": nn.LSTM(4, 3)}, ValueError, "decoder.input_size: expected 2, got 4"),
        ({"input_feeding": True}, ValueError, "decoder.input_size: expected 5, got 2"),
        ({"input_feeding": True, "attention": None}, ValueError, "attention: expected a LuongAttention where"),
        ({"attention": nn.LuongAttention(4)}, ValueError, "attention.query_size: expected 3, got 4"),
        ({"attention": nn.LuongAttention(3, 5)}, ValueError, "attention.key_size: expected 3, got 5"),
        ({"source_embedding": nn.Embedding(6, 4)}, ValueError, "source_embedding.embedding_dim: expected 2, got 4"),
        ({"eos": 5}, ValueError, "eos: expected an integer >= 0 and <= 4"),
        ({"dropout": 2.0}, ValueError, "p: expected a finite number"),
    ],
)
def test_parts_must_fit(changed, error, message):
    with pytest.raises(error, match=message):
        nn.Seq2Seq(**parts(**changed))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m(SOURCE, TARGET.astype(float)), TypeError, "target: expected integer tokens"),
        (lambda m: m(SOURCE, TARGET[0]), ValueError, r"target: expected shape \(B, U\)"),
        (lambda m: m(SOURCE, TARGET[:2]), ValueError, "target: expected 3 rows, as many as source"),
        (
            lambda m: m(SOURCE, TARGET, target_lengths=[4, 1, 1]),
            ValueError,
            "target_lengths: expected 0 <= length <= 3",
        ),
        (lambda m: m(SOURCE, TARGET, [5, 1, 1]), ValueError, "lengths: expected 0 <= length <= 4"),
        (lambda m: m(SOURCE, TARGET, teacher_forcing=1.5), ValueError, "teacher_forcing: expected a finite number"),
        (lambda m: m.beam_search(SOURCE, n_best=6), ValueError, "n_best: expected an integer >= 1 and <= 5"),
        (lambda m: m.greedy(SOURCE, max_steps=0), ValueError, "max_steps: expected an integer >= 1"),
    ],
)
def test_bad_arguments_are_named(call, error, message):
    with pytest.raises(error, match=message):
        call(model_of())


def test_reversal_is_learnt(tmp_path):
    rng = np.random.default_rng(0)
    fs.manual_seed(0)
    model = nn.Seq2Seq(
        nn.LSTM(16, 32, bidirectional=True), nn.LSTM(16, 64), nn.Embedding(8, 16), nn.LuongAttention(64),
        nn.Embedding(8, 16), bos=0, eos=1,
    )  # fmt: skip
    optimizer = fs.optim.Adam(model.parameters(), lr=0.01)

    def batch(rows):
        lengths = rng.integers(1, 7, rows)
        source = rng.integers(2, 8, (rows, 6))
        target = np.ones((rows, 7), int)
        for row, n in enumerate(lengths):
            target[row, :n] = source[row, :n][::-1]
        return source, target, lengths, lengths + 1

    for _ in range(250):
        optimizer.zero_grad()
        loss = model.loss(*batch(64))
        loss.backward()
        optimizer.step()
    source, target, lengths, _ = batch(100)
    found = model.greedy(source, lengths, 10)
    right = [one.tokens == row[:n].tolist() for one, row, n in zip(found, target, lengths, strict=True)]
    assert np.mean(right) > 0.95
    wide = model.beam_search(source, lengths, 10, 4, n_best=2)
    assert all(row[0].log_probability >= one.log_probability - 1e-9 for row, one in zip(wide, found, strict=True))
    fs.save(model, tmp_path / "m")
    again = fs.load(tmp_path / "m").beam_search(source, lengths, 10, 4, n_best=2)
    assert [[one[:4] for one in row] for row in again] == [[one[:4] for one in row] for row in wide]
