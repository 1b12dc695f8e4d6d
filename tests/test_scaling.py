"""The law of the ladder: what it says follows from the committed runs, and does what a law of this form must."""

import math
import statistics
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import ladder
from scratchlm.core.errors import UsageError
from scratchlm.train import scaling
from scratchlm.train.scaling import Law

LAW = Law(
    floor=0.3, a=12.0, alpha=0.35, b=90.0, beta=0.33, spread=0.05, points=9, least=(1e5, 1e6), most=(1e7, 1e9, 1e16)
)  # fmt: skip
SIZES = [(weights, seen) for weights in (1e5, 5e5, 2e6) for seen in (1e6, 4e6, 2e7)]


def made(law: Law, texts: dict[str, float]) -> list[dict]:
    """Runs that obey a law to the last digit."""
    return [
        {"text": text, "weights": weights, "bytes": seen, "unique": 1e12, "hardness": hard}
        | {"bits_per_byte": scaling.loss(law, weights=weights, seen=seen, hardness=hard)}
        for text, hard in texts.items()
        for weights, seen in SIZES
    ]


def test_a_fit_finds_the_law_that_the_runs_obey():
    found = ladder.law_of(made(LAW, {"one": 1.9, "two": 2.2, "three": 2.6}))
    assert found.spread < 1e-3
    for weights, seen in [*SIZES, (1e7, 1e8)]:
        told = {"weights": weights, "seen": seen, "hardness": 2.4}
        assert scaling.loss(found, **told) == pytest.approx(scaling.loss(LAW, **told), rel=5e-3)


def test_the_spread_is_what_a_further_text_would_be_off():
    runs = made(LAW, {"one": 2.0, "two": 2.0, "three": 2.0})
    for run in runs:
        run["bits_per_byte"] *= {"one": 0.97, "two": 1.0, "three": 1.03}[run["text"]]
    found = ladder.law_of(runs)
    assert found.spread == pytest.approx(
        ladder.STUDENT[3] * statistics.stdev(map(math.log, (0.97, 1.0, 1.03))) * math.sqrt(4 / 3), rel=1e-3
    )
    for weights, seen in SIZES:
        told = {"weights": weights, "seen": seen, "hardness": 2.0}
        assert scaling.loss(found, **told) == pytest.approx(scaling.loss(LAW, **told), rel=5e-3)


def test_the_committed_law_is_the_fit_of_the_committed_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ladder, "LAWS", tmp_path / "laws.json")
    ladder.fit(ladder.argparse.Namespace())
    made_now = {kind: Law.model_validate(law) for kind, law in ladder.json.loads((tmp_path / "laws.json").read_text()).items()}
    assert made_now.keys() == scaling.laws().keys()
    for kind, law in scaling.laws().items():
        for point in (point for point in ladder.read() if point["kind"] == kind):
            told = {"weights": float(point["weights"]), "seen": float(point["bytes"]), "hardness": point["hardness"]}
            assert scaling.loss(made_now[kind], **told) == pytest.approx(scaling.loss(law, **told), rel=2e-3)
        assert made_now[kind].spread == pytest.approx(law.spread, rel=0.02)


def test_the_committed_law_tells_the_committed_runs_within_its_interval():
    plain = ladder.told_from(ladder.read())
    assert len(plain) == sum(law.points for law in scaling.laws().values())
    for point in plain:
        seen = scaling.worth(float(point["bytes"]), float(point["unique"]))
        told = scaling.predicted(scaling.law_of(point["kind"]), weights=float(point["weights"]), seen=seen, hardness=point["hardness"])
        assert told.low <= point["bits_per_byte"] <= told.high, point
        assert told.beyond == 1


@given(st.floats(1e3, 1e12), st.floats(1e3, 1e12))
def test_reading_again_is_worth_less_than_new_text_and_never_less_than_none(seen: float, unique: float):
    worth = scaling.worth(seen, unique)
    assert worth <= seen * (1 + 1e-12)
    assert worth <= unique * (1 + scaling.WORTH_OF_REPEATS) or worth == seen
    assert scaling.worth(seen * 1.1, unique) >= worth
    assert worth == seen if seen <= unique else worth >= unique


def test_more_weights_and_more_text_never_hurt_and_what_was_not_tried_is_less_certain():
    near = scaling.predicted(LAW, weights=1e6, seen=1e7, hardness=2.0)
    far = scaling.predicted(LAW, weights=1e6, seen=8e9, hardness=2.0)
    assert near.beyond == 1
    assert far.beyond == 8
    assert near.value > far.value > scaling.predicted(LAW, weights=2e6, seen=8e9, hardness=2.0).value
    assert math.log(near.high / near.value) == pytest.approx(math.log(near.value / near.low)) == pytest.approx(0.05)
    assert math.log(far.high / far.value) == pytest.approx(0.05 * (1 + 3 / 4))


def test_an_architecture_without_a_ladder_is_refused():
    with pytest.raises(UsageError, match="no ladder was run for 'moe'"):
        scaling.law_of("moe")
