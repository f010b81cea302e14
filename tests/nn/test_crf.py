"""The linear-chain CRF: every sequence of tags by hand, float64 differences, padding, extremes, bad input, Tagger."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import fastseq as fs
from fastseq.autograd import Tensor
from fastseq.nn import CRF, LSTM, Linear, Sequential, Tagger
from tests.gradcheck import gradcheck

LENGTHS = np.array([5, 0, 2, 1])


def crf_of(rng, num_tags, scale=1.0, **options):
    """A CRF with random weights in float64."""
    crf = CRF(num_tags, dtype=np.float64, **options)
    for parameter in crf.parameters():
        parameter.data = rng.standard_normal(parameter.shape) * scale
    return crf


def scores_by_hand(crf, row):
    """Every sequence of tags for a row (T, K), and its score."""
    start, end, pairs = (p.numpy() for p in (crf.start_transitions, crf.end_transitions, crf.transitions))
    found = {}
    for tags in itertools.product(range(row.shape[1]), repeat=len(row)):
        score = start[tags[0]] + end[tags[-1]] + sum(row[t, tag] for t, tag in enumerate(tags))
        found[tags] = score + sum(pairs[a, b] for a, b in itertools.pairwise(tags))
    return found


def log_of_sum(values):
    """log(sum(exp))."""
    top = max(values)
    return top + math.log(sum(math.exp(v - top) for v in values))


@pytest.mark.parametrize("num_tags", [1, 2, 4])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_every_sequence_counted_one_by_one(num_tags, scale, rng):
    crf = crf_of(rng, num_tags, scale)
    if num_tags == 4:
        crf.transitions.data[0, 1] = -10000.0  # how transitions are forbidden
        crf.transitions.data[2] = -1e5
    emissions = rng.standard_normal((4, 5, num_tags)) * scale
    tags = rng.integers(0, num_tags, (4, 5))
    found = crf(emissions, tags, reduction="none", lengths=LENGTHS).numpy()
    best = crf.decode(emissions, lengths=LENGTHS)
    shares = crf.marginals(emissions, lengths=LENGTHS).numpy()
    assert found[1] == 0 and best[1] == [] and (shares[1] == 0).all()
    for b in (0, 2, 3):
        length = LENGTHS[b]
        scores = scores_by_hand(crf, emissions[b, :length])
        whole = log_of_sum(scores.values())
        assert found[b] == pytest.approx(scores[tuple(tags[b, :length])] - whole, rel=1e-12, abs=1e-11)
        assert best[b] == list(max(scores, key=lambda one: scores[one]))
        expected = np.zeros((5, num_tags))
        for one, score in scores.items():
            for t, tag in enumerate(one):
                expected[t, tag] += math.exp(score - whole)
        np.testing.assert_allclose(shares[b], expected, atol=1e-12)


def test_two_tags_on_paper():
    crf = CRF(2, dtype=np.float64)
    crf.start_transitions.data = np.log([0.6, 0.4])
    crf.transitions.data = np.log([[0.7, 0.3], [0.4, 0.6]])
    crf.end_transitions.data = np.zeros(2)
    emissions = np.log([[[0.5, 0.1], [0.4, 0.3]]])
    ways = {(0, 0): 0.3 * 0.7 * 0.4, (0, 1): 0.3 * 0.3 * 0.3, (1, 0): 0.04 * 0.4 * 0.4, (1, 1): 0.04 * 0.6 * 0.3}
    for tags, way in ways.items():
        expected = math.log(way / sum(ways.values()))
        assert crf(emissions, np.array([tags])).item() == pytest.approx(expected)
        assert crf.loss(emissions, np.array([tags])).item() == pytest.approx(-expected)
    assert crf.decode(emissions) == [[0, 0]]


@pytest.mark.parametrize("scale", [1.0, 200.0])
def test_gradients(scale, rng):
    crf = crf_of(rng, 3, scale)
    emissions = rng.standard_normal((4, 5, 3)) * scale
    tags = rng.integers(0, 3, (4, 5))
    # differences of values of size `scale` have an error of eps(scale) / step
    atol = 1e-7 if scale == 1 else 1e-5
    for reduction in ("none", "sum", "mean", "token_mean"):
        gradcheck(
            lambda e, r=reduction: crf(e, tags, None, r, LENGTHS), emissions, parameters=crf.parameters(), atol=atol
        )
    gradcheck(lambda e: crf.loss(e, tags, LENGTHS), emissions, parameters=crf.parameters(), atol=atol)
    gradcheck(lambda e: crf(e, tags), emissions, parameters=crf.parameters(), atol=atol)
    turned = CRF(3, batch_first=False, dtype=np.float64)
    turned.load_state_dict(crf.state_dict())
    gradcheck(lambda e: turned(e, tags.T, lengths=LENGTHS), emissions.swapaxes(0, 1), atol=atol)


def test_forbidden_transitions_keep_exact_gradients(rng):
    """Sums of exponentials underflow here: -10000 on every way but one, and scores that only later steps can bear."""
    crf = crf_of(rng, 3)
    crf.transitions.data = np.where(np.eye(3, k=1) + np.eye(3, k=-2) > 0, 0.5, -10000.0)
    emissions = rng.standard_normal((2, 6, 3))
    emissions[1, :3] += [900.0, 0, -900.0]
    tags = rng.integers(0, 3, (2, 6))
    gradcheck(lambda e: crf(e, tags, reduction="none"), emissions, parameters=crf.parameters(), atol=1e-4, rtol=1e-4)
    for row, best in zip(emissions, crf.decode(emissions), strict=True):
        scores = scores_by_hand(crf, row)
        assert best == list(max(scores, key=lambda one: scores[one]))


def test_reductions_masks_and_orders(rng):
    crf = crf_of(rng, 3)
    emissions, tags = rng.standard_normal((4, 5, 3)), rng.integers(0, 3, (4, 5))
    mask = np.arange(5) < LENGTHS[:, None]
    each = crf(emissions, tags, mask, "none").numpy()
    np.testing.assert_array_equal(each, crf(emissions, tags, lengths=LENGTHS, reduction="none").numpy())
    np.testing.assert_array_equal(each, crf(emissions, tags, mask.astype(np.uint8), "none").numpy())
    assert crf(emissions, tags, mask).item() == pytest.approx(each.sum())
    assert crf(emissions, tags, mask, "mean").item() == pytest.approx(each.mean())
    assert crf(emissions, tags, mask, "token_mean").item() == pytest.approx(each.sum() / 8)
    assert crf.loss(emissions, tags, LENGTHS).item() == pytest.approx(-each.mean())
    turned = CRF(3, batch_first=False, dtype=np.float64)
    turned.load_state_dict(crf.state_dict())
    other = emissions.swapaxes(0, 1)
    np.testing.assert_array_equal(turned(other, tags.T, mask.T, "none").numpy(), each)
    assert turned.decode(other, mask.T) == crf.decode(emissions, mask) == crf.decode(emissions, lengths=Tensor(LENGTHS))
    np.testing.assert_array_equal(
        turned.marginals(other, mask.T).numpy().swapaxes(0, 1), crf.marginals(emissions, mask).numpy()
    )
    with fs.no_grad():
        assert not crf(emissions, tags).requires_grad
        np.testing.assert_allclose(crf.marginals(emissions).numpy().sum(-1), 1)


def test_nothing_counts_or_nothing_is_there(rng):
    crf = crf_of(rng, 3)
    emissions, tags = rng.standard_normal((2, 4, 3)), np.zeros((2, 4), int)
    assert crf(emissions, tags, lengths=[0, 0]).item() == 0
    assert np.isnan(crf(emissions, tags, reduction="token_mean", lengths=[0, 0]).item())
    assert crf(emissions[:0], tags[:0]).item() == 0 and crf.decode(emissions[:0]) == []
    assert np.isnan(crf(emissions[:0], tags[:0], reduction="mean").item())
    assert crf(emissions[:, :0], tags[:, :0], reduction="none").tolist() == [0, 0]
    assert crf.decode(emissions[:, :0]) == [[], []]


@pytest.mark.parametrize("junk", [np.nan, np.inf, -1e30])
def test_padding_nan_and_neighbours(junk, rng):
    crf = crf_of(rng, 4).float()
    emissions = rng.standard_normal((4, 5, 4)).astype(np.float32)
    tags = rng.integers(0, 4, (4, 5))
    valid = np.arange(5) < LENGTHS[:, None]
    dirty = np.where(valid[..., None], emissions, np.float32(junk))
    results = []
    for data, chosen in ((emissions, tags), (dirty, np.where(valid, tags, -100))):
        leaf = Tensor(data.copy(), requires_grad=True)
        out = crf(leaf, chosen, lengths=LENGTHS, reduction="none")
        out.backward(np.array([1.0, np.inf, 2.0, 3.0], np.float32))
        assert (leaf.grad.numpy()[~valid] == 0).all()
        results.append((out.numpy().tobytes(), leaf.grad.numpy().tobytes(), crf.decode(data, lengths=LENGTHS)))
    assert results[0] == results[1]
    alone = crf(emissions[2:3, :2], tags[2:3, :2], reduction="none")
    assert alone.numpy().tobytes() == crf(dirty, tags, lengths=LENGTHS, reduction="none").numpy()[2:3].tobytes()
    emissions[0, 3, 1] = np.nan
    leaf = Tensor(emissions, requires_grad=True)
    out = crf(leaf, tags, lengths=LENGTHS, reduction="none")
    assert np.isnan(out.numpy()).tolist() == [True, False, False, False]
    out.backward(np.ones(4))
    assert np.isnan(leaf.grad.numpy()[0]).any() and np.isfinite(leaf.grad.numpy()[1:]).all()


@pytest.mark.usefixtures("threads")
def test_the_number_of_threads_changes_no_bit(rng):
    crf = crf_of(rng, 30).float()
    emissions, tags = rng.standard_normal((16, 60, 30)).astype(np.float32), rng.integers(0, 30, (16, 60))
    results = []
    for count in (1, fs.get_num_threads()):
        fs.set_num_threads(count)
        crf.zero_grad()
        leaf = Tensor(emissions, requires_grad=True)
        crf(leaf, tags).backward()
        gradients = [leaf.grad.numpy().tobytes(), *(p.grad.numpy().tobytes() for p in crf.parameters())]
        results.append((gradients, crf.decode(emissions)))
    assert results[0] == results[1]


def test_an_impossible_tag_is_no_trouble(rng):
    crf = crf_of(rng, 3)
    emissions = rng.standard_normal((1, 4, 3))
    emissions[0, 1, 2] = -np.inf
    tags = np.array([[0, 1, 2, 0]])
    without = math.log(sum(math.exp(v) for one, v in scores_by_hand(crf, emissions[0]).items()))
    expected = scores_by_hand(crf, emissions[0])[0, 1, 2, 0] - without
    leaf = Tensor(emissions, requires_grad=True)
    out = crf(leaf, tags)
    assert out.item() == pytest.approx(expected)
    out.backward()
    assert np.isfinite(leaf.grad.numpy()).all() and leaf.grad.numpy()[0, 1, 2] == 0


def test_long_rows_keep_their_digits(rng):
    crf = crf_of(rng, 5)
    emissions, tags = rng.standard_normal((1, 3000, 5)) * 4, rng.integers(0, 5, (1, 3000))
    exact = crf.marginals(emissions).numpy()
    np.testing.assert_allclose(exact.sum(-1), 1, rtol=1e-8)  # logarithms reach 20000, and that has an ulp of 4e-12
    value = crf(emissions, tags).item()
    crf.float()
    assert crf(emissions.astype(np.float32), tags).item() == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(crf.marginals(emissions.astype(np.float32)).numpy(), exact, atol=1e-5)


E, Y = np.zeros((2, 4, 3), np.float32), np.zeros((2, 4), int)
GAPS = np.array([[1, 0, 1, 0], [1, 1, 1, 1]], bool)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((E[0], Y), {}, ValueError, r"emissions: expected shape \(B, T, 3\)"),
        ((E[..., :2], Y), {}, ValueError, r"emissions: expected shape \(B, T, 3\)"),
        ((E.astype(float), Y), {}, TypeError, "emissions: expected dtype float32 like the transitions"),
        ((E, Y.astype(float)), {}, TypeError, "tags: expected integers"),
        ((E, Y[:, :3]), {}, ValueError, r"tags: expected shape \(2, 4\)"),
        ((E, Y + 3), {}, ValueError, "tags: expected integers in 0..2, got 3"),
        ((E, Y - 1), {"lengths": [0, 1]}, ValueError, "tags: expected integers in 0..2, got -1"),
        ((E, Y, GAPS), {}, ValueError, "mask: expected each row's valid steps first"),
        ((E, Y, GAPS[:, :3]), {}, ValueError, r"mask: expected shape \(2, 4\)"),
        ((E, Y, GAPS.astype(float)), {}, TypeError, "mask: expected bools"),
        ((E, Y, GAPS), {"lengths": [1, 1]}, ValueError, "lengths: expected None where a mask is given"),
        ((E, Y), {"lengths": [1, 5]}, ValueError, "lengths: expected 0 <= length <= 4"),
        ((E, Y), {"reduction": "average"}, ValueError, "reduction: expected one of"),
    ],
)
def test_bad_arguments_are_named(arguments, options, error, message):
    with pytest.raises(error, match=message):
        CRF(3)(*arguments, **options)


def test_construction():
    crf = CRF(4)
    names = {name: tuple(p.shape) for name, p in crf.named_parameters()}
    assert names == {"start_transitions": (4,), "end_transitions": (4,), "transitions": (4, 4)}
    assert all(np.abs(p.numpy()).max() <= 0.1 for p in crf.parameters())
    assert repr(crf) == "CRF(num_tags=4, batch_first=True, dtype='float32')"
    with pytest.raises(ValueError, match="num_tags: expected an integer >= 1"):
        CRF(0)


def test_a_tagger_learns_what_follows_what(tmp_path):
    """Inputs tell only where a run of tags begins; that runs go 0 1 2 0 1 2 is in the transitions."""
    rng = np.random.default_rng(1)
    fs.manual_seed(1)
    first = rng.integers(0, 3, 96)
    lengths = rng.integers(2, 8, 96)
    tags = (first[:, None] + np.arange(8)) % 3
    x = rng.standard_normal((96, 8, 3)).astype(np.float32)
    x[np.arange(96), 0] = 4 * np.eye(3, dtype=np.float32)[first]
    model = Tagger(Sequential(Linear(3, 6), LSTM(6, 5)), 5, 3, dropout=0.1)
    before = model.eval().loss(x, tags, lengths).item()
    history = fs.fit(
        model, x, tags, lengths=lengths, loss=model.crf.loss, metrics="accuracy", learning_rate=0.05, epochs=12,
        random_state=0, verbose=False,
    )  # fmt: skip
    assert history.history["loss"][-1] < 0.2 * before
    found = model.decode(x, lengths)
    right = [a == b[:n].tolist() for a, b, n in zip(found, tags, lengths, strict=True)]
    assert np.mean(right) > 0.95
    fs.save(model, tmp_path / "m")
    twin = fs.load(tmp_path / "m")
    assert repr(twin) == repr(model) and twin.decode(x, lengths) == found
    assert twin.loss(x, tags, lengths, "sum").item() == model.loss(x, tags, lengths, "sum").item()


def test_a_tagger_s_arguments():
    with pytest.raises(TypeError, match="encoder: expected a Module"):
        Tagger(3, 5, 3)
    with pytest.raises(TypeError, match="encoder: expected a Module whose forward takes lengths"):
        Tagger(Linear(3, 5), 5, 3)
    with pytest.raises(ValueError, match=r"input: expected shape \(..., 4\)"):
        Tagger(LSTM(3, 5), 4, 3)(np.zeros((1, 2, 3), np.float32))
