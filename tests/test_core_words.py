"""Settings, the journal and seeds: what every room says the same way."""

import json
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, ValidationError, model_validator

from scratchlm.core import journal as journals
from scratchlm.core import seeds
from scratchlm.core.config import Settings, from_plain, nearest, read_toml, to_plain, with_sets
from scratchlm.core.errors import ScratchError, Stopped, UsageError
from scratchlm.core.journal import Journal, by_step, written_to
from scratchlm.core.records import Conversation


class Adam(Settings):
    kind: Literal["adam"] = "adam"
    lr: float = 1e-3


class Muon(Settings):
    kind: Literal["muon"] = "muon"
    lr: float = 0.02
    momentum: float = 0.9


class Training(Settings):
    optimizer: Annotated[Adam | Muon, Field(discriminator="kind")] = Adam()
    steps: int = 10
    limit: int | None = None


class Share(Settings):
    weight: float = 1.0
    epochs: float | None = None


class Source(Settings):
    name: str
    shares: dict[str, Share] = Field(default_factory=dict)


class Plan(Settings):
    pretrain: Training = Training()


class Mixed(Settings):
    limits: dict[str, float] = Field(default_factory=dict)
    more: tuple[Source, ...] = ()
    shares: dict[str, Share] = Field(default_factory=dict)
    mix: Source | None = None


def refusal(assignment: str) -> str:
    """The sentence that answers a bad ``--set``."""
    with pytest.raises(UsageError) as refused:
        with_sets(Plan(), [assignment])
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_settings_are_frozen_and_know_their_fields():
    with pytest.raises(ValidationError):
        Plan().pretrain.__setattr__("steps", 3)
    with pytest.raises(ValidationError):
        Training.model_validate({"stops": 3})


def test_plain_settings_come_back_equal():
    plan = Plan(pretrain=Training(optimizer=Muon(momentum=0.8), limit=4))
    assert from_plain(Plan, json.loads(json.dumps(to_plain(plan))), "here") == plan


def test_a_value_is_json_or_else_text():
    plan = with_sets(Plan(), ["pretrain.steps=20", "pretrain.optimizer.lr=6e-4", "pretrain.limit=null"])
    assert (plan.pretrain.steps, plan.pretrain.optimizer.lr, plan.pretrain.limit) == (20, 6e-4, None)


def test_a_mapping_of_the_same_kind_changes_fields_and_of_another_kind_replaces():
    same = with_sets(Plan(), ['pretrain.optimizer={"lr": 0.5}'])
    other = with_sets(Plan(), ['pretrain.optimizer={"kind": "muon", "momentum": 0.7}'])
    assert same.pretrain.optimizer == Adam(lr=0.5)
    assert other.pretrain.optimizer == Muon(momentum=0.7)


def test_a_mapping_of_free_keys_is_replaced_and_one_of_its_keys_is_added():
    limits = with_sets(Mixed(), ["limits.few=3", "limits.web.long=4"])
    assert limits.limits == {"few": 3, "web.long": 4}
    assert with_sets(limits, ['limits={"many": 5}']).limits == {"many": 5}
    assert with_sets(limits, ["limits={}", "limits.few=6"]).limits == {"few": 6}
    assert with_sets(with_sets(Mixed(), ['shares={"a": {}}', "shares.a.weight=2"]), ["shares={}"]).shares == {}


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ('more=[{"data": 1}]', "more.0.name is not given"),
        ('more=[{"name": "a", "data": 1}]', "more.0.data: no field 'data'. Known: name, shares."),
        ('more=[{"name": "a", "shares": {"b": {"wieght": 2}}}]', "more.0.shares.b.wieght: no field 'wieght'. Did you mean 'weight'?"),
        ('shares={"a": {"zzz": 2}}', "shares.a.zzz: no field 'zzz'. Known: weight, epochs."),
        ("shares.a=1", "shares.a: 1 will not do: give a mapping of its fields, which are weight, epochs."),
        ("more=[3]", "more.0: 3 will not do: give a mapping of its fields, which are name, shares."),
        ("mix.name=a", "'mix' is null. Give it as a whole"),
    ],
)
def test_what_is_wrong_inside_lists_and_mappings_is_told_by_the_fields_there(assignment: str, words: str):
    with pytest.raises(UsageError) as refused:
        with_sets(Mixed(), [assignment])
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("pretrain.step=3", "no field 'step'. Did you mean 'steps'?"),
        ("train.steps=3", "no field 'train'. Did you mean 'pretrain'?"),
        ("pretrain.steps=many", "'many' will not do"),
        ("pretrain.steps.more=3", "'pretrain.steps' is a plain value and has no field 'more'"),
        ('pretrain.optimizer={"lrr": 3}', "no field 'lrr'. Did you mean 'lr'?"),
        ("pretrain.steps", "has no '='"),
        ("zzz=1", "Known: pretrain."),
    ],
)
def test_a_bad_assignment_is_answered_in_one_sentence(assignment: str, words: str):
    assert words in refusal(assignment)


def test_a_missing_field_is_named():
    class Named(Settings):
        name: str

    with pytest.raises(UsageError, match="here: name is not given"):
        from_plain(Named, {}, "here")


@pytest.mark.parametrize("text", ["a = ", "\x00", None])
def test_a_file_that_is_no_toml_is_named(tmp_path: Path, text: str | None):
    path = tmp_path / "mine.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=r"mine\.toml: cannot be read as TOML"):
        read_toml(path)


def test_the_nearest_name_or_all_names():
    assert nearest("latop", ["laptop", "smoke"]) == " Did you mean 'laptop'?"
    assert nearest("zzz", ["laptop", "smoke"]) == " Known: laptop, smoke."


def test_events_are_written_and_progress_is_only_shown(tmp_path: Path):
    shown: list[journals.Event] = []
    path = tmp_path / "logs" / "journal.jsonl"
    journal = Journal(shown.append, written_to(path)).also(stage="sft")
    journal.event("step", step=1, loss=2.5)
    journal.progress("sft", 1.0, 2.0, "steps")
    assert [event["event"] for event in shown] == ["step", "progress"]
    assert list(journals.read(path)) == [shown[0]]
    assert (shown[0]["stage"], shown[0]["loss"]) == ("sft", 2.5)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_torn_last_line_is_left_out_and_the_next_event_stands_on_its_own(tmp_path: Path, cut: int):
    path = tmp_path / "journal.jsonl"
    for step in (1, 2):
        Journal(written_to(path)).event("step", step=step)
    path.write_bytes(path.read_bytes()[:-cut])
    assert [event["step"] for event in journals.read(path)] == [1]
    Journal(written_to(path)).event("step", step=3)
    assert [event["step"] for event in journals.read(path)] == [1, 3]


def test_a_line_torn_inside_a_letter_is_left_out(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    Journal(written_to(path)).event("sample", step=1, text="one")
    whole = path.read_bytes()
    path.write_bytes(whole + '{"event": "sample", "text": "é'.encode()[:-1])
    Journal(written_to(path))
    assert path.read_bytes() == whole


def test_of_a_step_done_twice_the_later_record_counts(tmp_path: Path):
    path = tmp_path / "journal.jsonl"
    journal = Journal(written_to(path))
    for step, loss in ((1, 3.0), (2, 2.0), (2, 1.0)):
        journal.event("step", step=step, loss=loss)
    journal.event("validation", step=2, bits_per_byte=1.0)
    assert [(event["step"], event["loss"]) for event in by_step(path, "step")] == [(1, 3.0), (2, 1.0)]
    assert by_step(tmp_path / "absent.jsonl", "step") == []


@given(st.integers(0, 2**40), st.text(max_size=8), st.integers(0, 10**6))
def test_a_derived_seed_is_a_pure_function_that_fits_every_generator(seed: int, purpose: str, step: int):
    derived = seeds.derive(seed, purpose, step=step, rank=0)
    assert derived == seeds.derive(seed, purpose, rank=0, step=step)
    assert 0 <= derived < 2**63


def test_two_purposes_places_or_seeds_never_share_a_stream():
    found = [seeds.derive(s, p, step=t) for s in (0, 1) for p in ("order", "dropout") for t in range(50)]
    assert len(set(found)) == len(found)
    assert seeds.derive(0, "order", step=1) == 8519418696276783763  # the same on every machine


def test_errors_carry_their_exit_codes():
    assert (ScratchError("x").exit_code, UsageError("x").exit_code, Stopped("x").exit_code) == (2, 2, 130)


def test_a_question_and_its_answer_are_a_conversation():
    asked = Conversation.ask("What?", "That.", task="facts")
    assert [(message.role, message.content) for message in asked.messages] == [("user", "What?"), ("assistant", "That.")]
    assert asked.facts == {"task": "facts"}


class Pair(Settings):
    low: int = 1
    high: int | None = 9

    @model_validator(mode="after")
    def _ordered(self) -> "Pair":
        if self.high is not None and self.low > self.high:
            raise ValueError(f"low ({self.low}) is above high ({self.high})")
        return self


class Holder(Settings):
    pair: Pair = Pair()


def test_fields_that_do_not_go_together_are_said_without_the_whole_recipe():
    with pytest.raises(UsageError, match=r"^--set: pair: low \(10\) is above high \(9\)\.$"):
        with_sets(Holder(), ["pair.low=10"])
    with pytest.raises(UsageError, match=r"^--set: low \(10\) is above high \(9\)\.$"):
        with_sets(Pair(), ["low=10"])


@pytest.mark.parametrize("order", [1, -1])
def test_settings_are_checked_together_in_whatever_order_they_are_given(order: int):
    sets = ['pair={"low": 10}', "pair.high=null"][::order]
    assert with_sets(Holder(), sets) == Holder(pair=Pair(low=10, high=None))
