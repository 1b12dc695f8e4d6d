"""The mixture: plans that add up, epochs that hold the smaller ones, and an order that only the seed decides."""

import random

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.config import from_plain, to_plain
from scratchlm.core.errors import UsageError
from scratchlm.corpus import mix, places

IDS = [f"{n:032x}" for n in range(500)]


def epochs(plan: mix.Plan, name: str) -> float:
    return plan.parts[name].taken / plan.parts[name].size


def test_by_default_everything_is_seen_once():
    plan = mix.plan({"web": 900, "wiki": 100}, mix.MixConfig())
    assert {name: (part.whole, part.rest) for name, part in plan.parts.items()} == {"web": (1, 0), "wiki": (1, 0)}
    assert plan.taken == plan.wanted == 1000


def test_weights_and_totals_by_hand():
    plan = mix.plan({"web": 800, "wiki": 200}, mix.MixConfig(sources={"wiki": mix.Share(weight=4)}, total=800))
    assert {name: part.taken for name, part in plan.parts.items()} == {"web": 400, "wiki": 400}
    assert (plan.parts["wiki"].whole, plan.parts["wiki"].rest) == (2, 0)


def test_temperature_lies_between_sizes_and_equal_shares():
    sizes = {"big": 10_000, "small": 100}
    equal = mix.plan(sizes, mix.MixConfig(temperature=1e9, total=300))
    assert {part.taken for part in equal.parts.values()} == {150}
    half = mix.plan(sizes, mix.MixConfig(temperature=2.0, total=1100))
    assert {name: part.taken for name, part in half.parts.items()} == {"big": 1000, "small": 100}


def test_naming_one_source_leaves_the_others_as_they_are():
    sizes = {"web": 1000, "wiki": 100, "junk": 500}
    config = mix.MixConfig(sources={"wiki": mix.Share(epochs=2.5), "junk": mix.Share(weight=0)})
    plan = mix.plan(sizes, config)
    assert {name: part.taken for name, part in plan.parts.items()} == {"web": 1000, "wiki": 250, "junk": 0}
    assert plan.wanted == plan.taken == 1250


def test_epochs_that_are_asked_for_are_not_cut_by_the_limit_of_all():
    plan = mix.plan({"web": 1000, "wiki": 100}, mix.MixConfig(sources={"wiki": mix.Share(epochs=10)}))
    assert (plan.parts["wiki"].whole, plan.parts["web"].taken) == (10, 1000)
    with pytest.raises(UsageError, match="not both"):
        from_plain(mix.Share, {"epochs": 10, "most_epochs": 4}, "mix.sources.wiki")


def test_what_a_limit_takes_goes_to_the_others_and_a_lack_is_told():
    config = mix.MixConfig(sources={"tiny": mix.Share(weight=100), "fixed": mix.Share(epochs=0.5)}, most_epochs=2.0, total=1500)
    plan = mix.plan({"tiny": 100, "web": 1000, "fixed": 1000}, config)
    assert {name: part.taken for name, part in plan.parts.items()} == {"fixed": 500, "tiny": 200, "web": 800}
    short = mix.plan({"tiny": 100}, mix.MixConfig(total=1000))
    assert (short.wanted, short.taken) == (1000, 400)


def test_a_source_that_is_not_there_is_answered_with_the_nearest():
    with pytest.raises(UsageError, match="Did you mean 'wiki'"):
        mix.plan({"wiki": 1}, mix.MixConfig(sources={"wikki": mix.Share()}))
    with pytest.raises(UsageError, match="temperature"):
        from_plain(mix.MixConfig, {"temperature": 0.5}, "--set mix")


shares = st.builds(mix.Share, weight=st.floats(0, 9), epochs=st.floats(0, 9)) | st.builds(
    mix.Share, weight=st.floats(0, 9), most_epochs=st.none() | st.floats(0.1, 9)
)


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10**12), min_size=1),
    st.dictionaries(st.sampled_from("abcdef"), shares),
    st.floats(1, 100),
    st.none() | st.integers(1, 10**12),
)
@settings(max_examples=200, deadline=None)
def test_a_plan_adds_up_and_keeps_every_limit(sizes: dict[str, int], named: dict[str, mix.Share], temperature: float, total: int | None):
    config = mix.MixConfig(sources={name: share for name, share in named.items() if name in sizes}, temperature=temperature, total=total)
    plan = mix.plan(sizes, config)
    assert plan.taken == sum(part.taken for part in plan.parts.values())
    for name, part in plan.parts.items():
        share = config.sources.get(name, mix.Share())
        assert part.taken == part.whole * part.size + part.rest
        assert 0 <= part.rest < max(1, part.size)
        most = share.epochs if share.epochs is not None else share.most_epochs or config.most_epochs
        assert part.taken <= part.size * most + 1
    fixed = sum(part.taken for name, part in plan.parts.items() if config.sources.get(name, mix.Share()).epochs is not None)
    assert plan.taken <= max(plan.wanted, fixed) + len(sizes)
    assert from_plain(mix.Plan, to_plain(plan), "plan") == plan


@given(st.lists(st.integers(1, 500), min_size=1, max_size=80), st.floats(0, 1), st.integers(0, 99))
@settings(max_examples=100, deadline=None)
def test_the_limit_of_a_part_is_exact(sizes: list[int], share: float, seed: int):
    keys, weights = mix.part_keys(seed, IDS[: len(sizes)]), np.array(sizes, dtype=np.int64)
    rest = int(share * sum(sizes))
    limit = mix.limit(lambda: [(keys[:7], weights[:7]), (keys[7:], weights[7:])], rest)
    taken = weights[[int(key) < limit for key in keys]].sum()
    assert taken <= rest
    following = [size for size, key in zip(sizes, keys.tolist(), strict=True) if key == limit]
    assert limit == mix.EVERYTHING or taken + following[0] > rest


def test_many_keys_in_one_range_are_still_cut_exactly():
    keys = np.arange(1000, dtype=np.uint64)[::-1].copy()
    assert mix.limit(lambda: [(keys, np.full(1000, 3, np.int64))], 300) == 100


def test_a_larger_part_holds_the_smaller_one():
    keys, sizes = mix.part_keys(1, IDS), np.full(500, 10, np.int64)
    small, large = (mix.limit(lambda: [(keys, sizes)], rest) for rest in (1000, 1010))
    assert [(keys < np.uint64(limit)).sum() for limit in (small, large)] == [100, 101]


def order(plan: mix.Plan, files: list[list[int]], seed: int, buckets: int) -> list[tuple[str, int]]:
    """The whole way, as the units go it."""
    limits = {"a": mix.limit(lambda: [(mix.part_keys(seed, IDS), np.full(500, 10, np.int64))], plan.parts["a"].rest)}
    ids = [[IDS[n] for n in file] for file in files]
    mapped = [mix.ordered(own, mix.times(own, ["a"] * len(own), plan, limits, seed), seed) for own in ids]
    found = []
    for bucket in range(buckets):
        parts = [table.filter(pa.array(places.bucket_of(table["key"].to_numpy(), buckets) == bucket)) for table in mapped]
        rows = mix.arranged(parts)
        found += list(zip(rows["doc_id"].to_pylist(), rows["copy"].to_pylist(), strict=True))
    return found


def test_neither_files_nor_buckets_show_in_the_order():
    plan = mix.plan({"a": 5000}, mix.MixConfig(sources={"a": mix.Share(epochs=2.4)}))
    mixed = random.Random(1).sample(range(500), 500)
    one = order(plan, [list(range(500))], seed=3, buckets=1)
    assert order(plan, [mixed[:123], mixed[123:]], seed=3, buckets=16) == one
    assert order(plan, [list(range(500))], seed=4, buckets=1) != one
    assert one == sorted(one, key=lambda row: mix.order_key(3, *row))


def test_every_document_is_seen_as_often_as_planned():
    plan = mix.plan({"a": 5000}, mix.MixConfig(sources={"a": mix.Share(epochs=2.4)}))
    found = order(plan, [list(range(500))], seed=3, buckets=4)
    assert len(found) == len(set(found)) == 1200
    assert {doc_id for doc_id, copy in found if copy < 2} == set(IDS)
    halves = sum(int(doc_id, 16) < 250 for doc_id, _ in found[:600])
    assert 230 < halves < 370  # a fair shuffle: 300, standard deviation 12


def test_the_order_of_today_is_that_of_tomorrow():
    assert mix.order_key(7, "0" * 32, 0) == 18043932210256963966
    assert mix.part_keys(7, ["0" * 32]).tolist() == [3123543081197563545]


def test_a_source_with_no_share_and_an_empty_one_give_no_rows():
    plan = mix.plan({"a": 5000, "b": 10, "c": 0}, mix.MixConfig(sources={"b": mix.Share(weight=0.0)}))
    assert mix.times(["1" * 32, "2" * 32], ["b", "c"], plan, {}, 1).tolist() == [0, 0]
