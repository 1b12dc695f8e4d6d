"""The n-gram model is a probability distribution and equals the formula written out with dictionaries."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchlm.core.errors import DataError
from scratchlm.evals import baselines

TRAIN = [b"the cat sat on the mat", b"the hat", b"a cat", b""]
TEST = [b"the cat that", b"zebra", b"at"]


def contexts(document: bytes, order: int) -> list[tuple[bytes, int]]:
    padded = b"\0" * order + document
    return [(padded[at : at + order], padded[at + order]) for at in range(len(document))]


def reference(train: list[bytes], test: list[bytes], order: int) -> list[float]:
    """Witten-Bell with plain dictionaries."""
    if order < 0:
        return [1 / 256] * sum(map(len, test))
    followers: dict[bytes, Counter[int]] = defaultdict(Counter)
    for document in train:
        for context, byte in contexts(document, order):
            followers[context][byte] += 1
    asked = [pair for document in test for pair in contexts(document, order)]
    shorter = reference(train, test, order - 1)
    seen = [followers.get(context, Counter()) for context, _ in asked]
    return [
        (counts[byte] + len(counts) * before) / (counts.total() + len(counts)) if counts else before
        for counts, (_, byte), before in zip(seen, asked, shorter, strict=True)
    ]


def test_the_sorted_model_equals_the_dictionaries():
    found = baselines.probabilities(TRAIN, TEST, orders=range(9))
    for order in range(9):
        assert found[order] == pytest.approx(reference(TRAIN, TEST, order), rel=1e-12)  # the same sums in another order


@given(st.binary(max_size=12), st.integers(0, 8))
def test_probabilities_sum_to_one_in_any_context(context: bytes, order: int):
    every_next = [context + bytes([byte]) for byte in range(256)]
    found = baselines.probabilities([*TRAIN, b"the\xffhe"], every_next, orders=[order])[order]
    assert found.reshape(256, -1)[:, -1].sum() == pytest.approx(1.0)


def test_no_context_reaches_over_a_documents_start():
    together, apart = (baselines.probabilities(TRAIN, test, orders=[3])[3] for test in ([b"thecat"], [b"the", b"cat"]))
    alone = baselines.probabilities(TRAIN, [b"cat"], orders=[3])[3]
    assert np.array_equal(apart[3:], alone)
    assert not np.array_equal(together[3:], alone)


def test_bits_per_byte_count_utf8_and_come_with_an_interval():
    scores = baselines.ngrams(["naïve text " * 20], ["naïve text", "other words"], orders=(3, 5))
    chances = baselines.probabilities([("naïve text " * 20).encode()], ["naïve text".encode(), b"other words"], orders=(3, 5))
    assert scores[5].value == pytest.approx(-np.log2(chances[5]).sum() / 22)
    assert scores[5].low <= scores[5].value <= scores[5].high
    assert baselines.best(scores)[1].value == min(score.value for score in scores.values())


@pytest.mark.parametrize("compress", [baselines.xz, baselines.zstd])
def test_a_primed_compressor_knows_the_training_text(compress):
    text = bytes(np.random.default_rng(1).integers(97, 123, 2000, dtype=np.uint8)).decode()
    assert compress([text], [text]) < 0.5 < 4 < compress(["nothing alike"], [text])


def test_an_empty_test_text_is_refused():
    with pytest.raises(DataError, match="nothing to predict"):
        baselines.ngrams(["some text"], [])
    with pytest.raises(DataError, match="nothing to compress"):
        baselines.xz(["some text"], [""])
