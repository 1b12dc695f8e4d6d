"""One template three times: as segments, as ids, as Jinja text."""

from pathlib import Path

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scratchlm.core.errors import UsageError
from scratchlm.core.records import Conversation, Message
from scratchlm.tokenizer import foreign, foreign_json, store, template
from scratchlm.tokenizer.bytelevel import ALPHABET
from scratchlm.tokenizer.interface import CONTROL, TURN_END, TURN_START, begin_of_text, ends_of

LAW = settings(deadline=None, derandomize=True, database=None, max_examples=60)
TOKENIZER = store.train("bpe", ["user\nassistant\nWhat does `len` do? It returns the number of items."] * 3, size=320)
SPECIAL = {"normalized": False, "special": True}
BEGUN = foreign_json.checked(
    {
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
        "model": {"type": "BPE", "vocab": {letter: id for id, letter in enumerate(ALPHABET)}, "merges": []},
        "added_tokens": [{"id": 256 + n, "content": name, **SPECIAL} for n, name in enumerate(("<s>", TURN_START, TURN_END))],
    },
    "tokenizer.json",
)
WORDS = st.text(st.characters(codec="utf-8")) | st.sampled_from(
    [*CONTROL, "\n", " \n x", "{{ 1 }}", "{% raw %}", "assistant\n", "\r\n", "é"]
)
CONTENTS = st.lists(WORDS, max_size=4).map("".join)
MESSAGES = st.lists(st.builds(Message, st.sampled_from(template.ROLES), CONTENTS), min_size=1, max_size=5)
CHAT = Conversation.ask("What does `len` do?", "It returns the number of items.").messages


@pytest.mark.parametrize("options", [{}, {"trim_blocks": True, "lstrip_blocks": True}])
@LAW
@given(messages=MESSAGES, ask=st.booleans())
def test_the_jinja_text_is_the_joined_segments(options: dict, messages: list[Message], ask: bool):
    plain = [{"role": message.role, "content": message.content} for message in messages]
    rendered = jinja2.Environment(autoescape=False, **options).from_string(template.JINJA).render(messages=plain, add_generation_prompt=ask)
    assert rendered == "".join(segment.text for segment in template.segments(messages, ask=ask))


@LAW
@given(messages=MESSAGES, ask=st.booleans())
def test_only_the_template_emits_control_tokens(messages: list[Message], ask: bool):
    ids, _ = template.encode(TOKENIZER, messages, ask=ask)
    found = [TOKENIZER.piece(id).decode() for id in ids if id in TOKENIZER.control.values()]
    assert found == [TURN_START, TURN_END] * len(messages) + [TURN_START] * ask


@LAW
@given(messages=MESSAGES)
def test_answers_and_their_ends_are_trained_and_nothing_else(messages: list[Message]):
    ids, trained = template.encode(TOKENIZER, messages)
    said = b"".join(TOKENIZER.piece(id) for id, on in zip(ids, trained, strict=True) if on)
    assert said.decode() == "".join(message.content + TURN_END for message in messages if message.role == "assistant")


@LAW
@given(answer=CONTENTS)
def test_a_question_is_the_beginning_of_its_conversation(answer: str):
    asked, _ = template.encode(TOKENIZER, CHAT[:1], ask=True)
    whole, trained = template.encode(TOKENIZER, (CHAT[0], Message("assistant", answer)))
    assert whole[: len(asked)] == asked
    assert trained.index(True) == len(asked)


def test_a_conversation_reads_as_chatml():
    rendered = "".join(segment.text for segment in template.segments(CHAT, ask=False))
    assert rendered == (
        "<|im_start|>user\nWhat does `len` do?<|im_end|>\n<|im_start|>assistant\nIt returns the number of items.<|im_end|>\n"
    )


def test_an_unknown_role_is_named():
    message = Message("user", "hi")
    object.__setattr__(message, "role", "asistant")
    with pytest.raises(UsageError, match=r"'asistant'\. Did you mean 'assistant'\?"):
        template.segments([message], ask=True)


def test_an_empty_conversation_is_refused():
    with pytest.raises(UsageError, match="no message"):
        template.segments([], ask=True)


def test_transformers_renders_and_encodes_a_prompt_alike(tmp_path):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    TOKENIZER.save(tmp_path)
    other = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"), chat_template=template.JINJA)
    for content in ("What does `len` do?", "\n\n x", "", " hello\n"):
        plain = [{"role": "system", "content": "Be short."}, {"role": "user", "content": content}]
        ids = other.apply_chat_template(plain, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert ids == template.encode(TOKENIZER, [Message("system", "Be short."), Message("user", content)], ask=True)[0]


def test_what_a_model_reads_begins_as_its_makers_had_it():
    words = foreign.Foreign(BEGUN, control={"<s>": 256, TURN_START: 257, TURN_END: 258}, end_of_text=258, begin=256, ends=(258,))
    messages = [Message("user", "Hi")]
    ids, trained = template.encode(words, messages, ask=True)
    text = "".join(segment.text for segment in template.segments(messages, ask=True))
    rendered = (
        jinja2.Environment()
        .from_string(template.jinja(words))
        .render(messages=[{"role": "user", "content": "Hi"}], add_generation_prompt=True, bos_token="<s>")
    )
    assert (ids[0], trained[0], rendered) == (256, False, "<s>" + text)
    assert (template.jinja(TOKENIZER), begin_of_text(TOKENIZER), begin_of_text(words)) == (template.JINJA, TOKENIZER.end_of_text, 256)
    assert (ends_of(TOKENIZER), ends_of(words)) == ((TOKENIZER.control[TURN_END], TOKENIZER.end_of_text), (258,))


def test_where_it_begins_and_ends_is_kept_beside_it(tmp_path: Path):
    words = foreign.Foreign(BEGUN, control={"<s>": 256, TURN_START: 257, TURN_END: 258}, end_of_text=258, begin=256, ends=(258, 257))
    words.save(tmp_path)
    loaded = store.load(tmp_path)
    assert (begin_of_text(loaded), ends_of(loaded)) == (256, (258, 257))
    with pytest.raises(UsageError, match="65 begins or ends what it reads, but is none of its control tokens"):
        foreign.Foreign(BEGUN, control={"<s>": 256, TURN_START: 257, TURN_END: 258}, end_of_text=258, begin=65)
