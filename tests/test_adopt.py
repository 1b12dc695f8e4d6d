"""A model that somebody else trained comes in, computes what it computed, speaks, learns, and goes out again."""

import importlib.util
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import foreign_models
import pytest
import torch
from safetensors.torch import load_file, save_file

from scratchlm import cli
from scratchlm.core.artifact import Artifact, Home
from scratchlm.core.errors import ArtifactError, DataError, UsageError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Message
from scratchlm.export import llama_cpp
from scratchlm.generate.sample import Sampling
from scratchlm.generate.speaker import Speaker
from scratchlm.model import store
from scratchlm.recipes import adopted as adopted_recipe
from scratchlm.recipes import store as recipes
from scratchlm.stages import adopt, export, sft
from scratchlm.tokenizer import template
from scratchlm.views import chat

pytestmark = pytest.mark.skipif(importlib.util.find_spec("transformers") is None, reason="transformers, which writes the models, is absent")


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights say as much in 4 tokens as in 32; MLX has its own test."""
    monkeypatch.setattr(export.parity, "mlx_installed", lambda: False)
    monkeypatch.setattr(export, "LONGEST", 4)
    monkeypatch.setattr(export, "PROMPTS", 2)


def adopted(directory: Path, home: Home, **config: Any) -> tuple[Artifact, list[str]]:
    notes: list[str] = []
    made = adopt.run(adopt.Config(directory=str(directory), **config), home, Journal(lambda event: notes.append(event.get("note", ""))))
    return made, notes


def their_logits(directory: Path, row: list[int]) -> torch.Tensor:
    import transformers

    options: dict[str, Any] = {"dtype": torch.float32, "attn_implementation": "eager"}
    with torch.inference_mode():
        return transformers.AutoModelForCausalLM.from_pretrained(directory, **options).eval()(torch.tensor([row])).logits[0]


def random_row(vocab: int, length: int = 60) -> list[int]:
    return torch.randint(vocab, (length,), generator=torch.Generator().manual_seed(1)).tolist()


@pytest.mark.parametrize("case", foreign_models.FAMILIES)
def test_every_family_computes_here_what_it_computed_there_and_leaves_as_it_came(case: str, tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", case)
    home = Home(tmp_path / "home")
    made, _ = adopted(there, home)
    size = made.counts["parameters"] and Speaker.load(made.path).tokenizer.size
    row = random_row(size - 2)
    ours, theirs = export.logits_of(store.load(made.path)[1], row)[:, : size - 2], their_logits(there, row)[:, : size - 2]
    assert float((ours - theirs).abs().max()) <= 1e-5 * max(1.0, float(theirs.abs().max()))
    events: list[dict[str, Any]] = []
    out = export.run(export.Config(), home, Journal(events.append))
    (fact,) = [event for event in events if event["event"] == "parity"]
    assert fact["largest_difference"] <= 1e-5
    assert fact["equal_answers"] == fact["prompts"] == 2
    before, after = (json.loads((path / "config.json").read_text()) for path in (there, out.path / "hf"))
    same = ("model_type", "architectures", "sliding_window", "tie_word_embeddings", "max_position_embeddings", "norm_topk_prob")
    assert {name: after.get(name) for name in same} == {name: before.get(name) for name in same}


def test_an_adopted_base_speaks_and_says_what_is_not_as_it_was(tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "qwen3")
    home = Home(tmp_path / "home")
    made, notes = adopted(there, home)
    speaker = Speaker.load(made.path)
    assert (made.name, speaker.context) == ("base", 64)
    row = random_row(300, 12)
    said = [piece.id for piece in speaker.stream(row, Sampling(max_tokens=1))]
    assert said == [int(their_logits(there, row)[-1, : speaker.tokenizer.size - 2].argmax())]
    told = "\n".join(notes)
    assert "licence: apache-2.0" in told
    assert "5 rows of the embedding belong to no piece" in told
    assert "<|im_start|> and no <|im_end|>" in told
    assert json.loads((made.path / "origin.json").read_text())["licence"] == "apache-2.0"


def test_new_tokens_get_the_mean_of_all_rows_and_padding_goes(tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "llama")
    made, _ = adopted(there, Home(tmp_path / "home"))
    _, model = store.load(made.path)
    for theirs, ours in (("model.embed_tokens.weight", "embedding.weight"), ("lm_head.weight", "head.weight")):
        rows = foreign_models.model_of("llama", model.config.vocab - 2 + foreign_models.PADDING).state_dict()[theirs]
        found = model.state_dict()[ours]
        assert torch.equal(found[:-2], rows[: -foreign_models.PADDING])
        assert torch.allclose(found[-2:], rows[: -foreign_models.PADDING].mean(dim=0).expand(2, -1), atol=1e-7)


def test_a_tokenizer_with_turns_makes_it_a_model_that_was_taught(tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "qwen2", turns=True)
    made, notes = adopted(there, Home(tmp_path / "home"))
    assert made.name == "sft"
    assert not [note for note in notes if "added behind" in note]
    one, other = (tmp_path / "home" / name / "model.safetensors" for name in ("base", "sft"))
    assert os.path.samefile(one, other)
    made, _ = adopted(there, Home(tmp_path / "other"), stage="base", context=32, dtype="kept")
    assert (made.name, Speaker.load(made.path).context) == ("base", 32)


def test_a_shorter_context_keeps_the_first_positions(tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "gpt2")
    made, notes = adopted(there, Home(tmp_path / "home"), context=24)
    _, model = store.load(made.path)
    row = random_row(model.config.vocab - 2, 24)
    ours, theirs = export.logits_of(model, row)[:, :-2], their_logits(there, row)[:, : model.config.vocab - 2]
    assert float((ours - theirs).abs().max()) <= 1e-5 * float(theirs.abs().max())
    assert any("it reads 24 tokens at once, not 64" in note for note in notes)
    with pytest.raises(UsageError, match="context: 65 asked for, but the model was made for 64"):
        adopted(there, Home(tmp_path / "other"), context=65)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_widened_or_kept(dtype: torch.dtype, tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "qwen3", dtype=dtype)
    wide, _ = adopted(there, Home(tmp_path / "wide"))
    kept, _ = adopted(there, Home(tmp_path / "kept"), dtype="kept")
    assert {tensor.dtype for tensor in store.load(wide.path)[1].state_dict().values()} == {torch.float32}
    assert {tensor.dtype for tensor in store.load(kept.path)[1].state_dict().values()} == {dtype}
    size = sum((kept.path / name).stat().st_size for name in ("model.safetensors",))
    assert size < 0.6 * (wide.path / "model.safetensors").stat().st_size


def test_shards_are_read_as_one_model(tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "qwen3", shard="20KB")
    assert (there / "model.safetensors.index.json").exists()
    one, _ = adopted(foreign_models.write(tmp_path / "one", "qwen3"), Home(tmp_path / "a"))
    many, _ = adopted(there, Home(tmp_path / "b"))
    assert (one.path / "model.safetensors").read_bytes() == (many.path / "model.safetensors").read_bytes()


def test_adopting_again_returns_what_is_there_and_a_changed_file_does_not(tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "qwen3")
    home = Home(tmp_path / "home")
    first, _ = adopted(there, home)
    again, notes = adopted(there, home)
    assert again.fingerprint == first.fingerprint
    assert notes == []
    config = json.loads((there / "config.json").read_text())
    (there / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-5}))
    changed, _ = adopted(there, home)
    assert changed.fingerprint != first.fingerprint


def in_parts(there: Path, first: str, second: str) -> None:
    """Its tokenizer as pieces and merges, in files of those names."""
    spec = json.loads((there / "tokenizer.json").read_text())
    (there / "tokenizer.json").unlink()
    (there / first).write_text(json.dumps(spec["model"]["vocab"]))
    (there / second).write_text("".join(f"{left} {right}\n" for left, right in spec["model"]["merges"]))
    rows = {str(token["id"]): token for token in spec["added_tokens"]}
    told = {"tokenizer_class": "Qwen2Tokenizer", "eos_token": "<|endoftext|>", "added_tokens_decoder": rows}
    (there / "tokenizer_config.json").write_text(json.dumps(told))


CHANGES: dict[str, dict[str, Any] | str | None] = {
    "tokenizer_config.json": {"eos_token": "<|im_end|>"},
    "special_tokens_map.json": {"eos_token": "<|im_end|>"},
    "generation_config.json": {"eos_token_id": [298]},  # <|im_start|>
    "chat_template.jinja": "{{ messages }}",
    "chat_template.json": {"chat_template": "{{ messages }}"},
    "README.md": "---\nlicense: mit\n---\n",
    "model.safetensors.index.json": None,
    "vocab.json": None,
    "merges.txt": None,
    "vocab.bpe": None,
}
"""What a file is changed to; None: one line less of it, or the same in other words."""


@pytest.mark.parametrize("name", CHANGES)
def test_whichever_file_is_changed_the_model_is_adopted_again(name: str, tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "qwen3", turns=True, shard="20KB" if "index" in name else "1GB")
    parts = {"vocab.json": ("vocab.json", "merges.txt"), "vocab.bpe": ("encoder.json", "vocab.bpe")}
    if found := next((pair for pair in parts.values() if name in pair), None):
        in_parts(there, *found)
    (there / "notes.txt").write_text("nobody reads this")
    home, config, change = Home(tmp_path / "home"), {"stage": "base"}, CHANGES[name]
    first, _ = adopted(there, home, **config)
    (there / "notes.txt").unlink()
    assert adopted(there, home, **config)[0] == first
    before = (there / name).read_text() if (there / name).exists() else ""
    lines = before.splitlines(keepends=True)
    changed = (
        change if isinstance(change, str) else json.dumps(change or json.loads(before), indent=2) if "json" in name else "".join(lines[:-9])
    )
    (there / name).write_text(changed)
    again, notes = adopted(there, home, **config)
    assert again.fingerprint == adopted(there, Home(tmp_path / "fresh"), **config)[0].fingerprint != first.fingerprint
    assert notes
    (there / name).unlink() if not before else (there / name).write_text(before)
    assert adopted(there, home, **config)[0].fingerprint == first.fingerprint


def test_what_a_card_no_longer_says_is_no_longer_told(tmp_path: Path):
    there, home = foreign_models.write(tmp_path / "there", "qwen3"), Home(tmp_path / "home")
    adopted(there, home)
    (there / "README.md").unlink()
    made, notes = adopted(there, home)
    assert "licence: not told" in notes[0]
    assert json.loads((made.path / "origin.json").read_text())["licence"] is None


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "qwen3")
    spec = json.loads((there / "tokenizer.json").read_text())
    last = max(token["id"] for token in spec["added_tokens"])
    flags = spec["added_tokens"][0]
    spec["added_tokens"] += [flags | {"id": last + 1 + place, "content": f"<extra_{place}>"} for place in range(9)]
    (there / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(UsageError, match="but the embedding has 303 rows"):
        adopted(there, Home(tmp_path / "home"))


def test_the_home_of_an_adopted_model_learns_to_chat_and_goes_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    there, path = foreign_models.write(tmp_path / "there", "qwen3"), tmp_path / "home"
    assert adopted_recipe.make_home(there, path) == 0
    assert f"scratchlm chat {path} --complete" in capsys.readouterr().out
    stored = recipes.stored_in(path)
    assert stored is not None
    recipe: Any = recipes.followed(path, stored.asked)
    assert (recipe.name, recipe.vocab, recipe.pretrain) == ("adopted", None, None)
    home = Home(path)
    chats = tmp_path / "chats.jsonl"
    turns = [{"role": "user", "content": "Hi 1"}, {"role": "assistant", "content": "lazy dog"}]
    chats.write_text((json.dumps({"messages": turns}) + "\n") * 3)
    quick = recipe.sft.model_copy(update={"chats": str(chats), "epochs": 1, "rows": 2, "device": "cpu", "dtype": "float32"})
    taught = sft.run(quick, home, Journal())
    assert taught.counts["chats"] == 3
    chat.show(home, prompt="Hi 1")
    assert capsys.readouterr().out.endswith("\n")
    assert export.run(recipe.export, home, Journal()).counts["model"] == "sft"


def test_a_home_of_another_run_is_left_alone(tmp_path: Path):
    there, path = foreign_models.write(tmp_path / "there", "qwen3", turns=True), tmp_path / "home"
    path.mkdir()
    (path / "recipe.json").write_text(json.dumps({"asked": {"recipe": "laptop"}, "recipe": {}}))
    with pytest.raises(UsageError, match="a run of 'laptop' is here"):
        adopted_recipe.make_home(there, path)
    assert [each.name for each in path.iterdir()] == ["recipe.json"]
    assert adopted_recipe.make_home(there, tmp_path / "other", sets=["context=32"]) == 0
    stored = recipes.stored_in(tmp_path / "other")
    assert stored is not None
    assert stored.recipe["sft"]["chats"] is None
    assert adopted_recipe.make_home(there, tmp_path / "other", sets=["context=32"]) == 0
    with pytest.raises(UsageError, match="the same with other settings"):
        adopted_recipe.make_home(there, tmp_path / "other", sets=["context=24"])
    assert adopted_recipe.make_home(there, tmp_path / "other", sets=["context=24"], again=True) == 0
    assert Speaker.load(tmp_path / "other" / "sft").context == 24


def test_a_refused_directory_leaves_no_home(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"config\.json: cannot be read"):
        adopted_recipe.make_home(tmp_path / "empty", tmp_path / "home")
    assert not (tmp_path / "home").exists()


def spoiled(directory: Path, name: str, *, row: int, value: float) -> None:
    """One number of a tensor is no longer finite."""
    tensors = load_file(directory / "model.safetensors")
    tensors[name][row, 0] = value
    save_file(tensors, directory / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("name", "row", "value"), [("model.layers.1.mlp.up_proj.weight", 3, math.nan), ("model.embed_tokens.weight", 0, -math.inf)]
)
def test_weights_that_are_no_numbers_are_refused_by_name(name: str, row: int, value: float, tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "qwen3", turns=True)
    assert adopted_recipe.make_home(there, tmp_path / "old") == 0
    before = {name: Home(tmp_path / "old").open(name) for name in ("tokenizer", "base", "sft")}
    spoiled(there, name, row=row, value=value)
    with pytest.raises(UsageError, match=rf"model\.safetensors: {re.escape(name)}: a weight is not a finite number") as caught:
        adopted_recipe.make_home(there, tmp_path / "new")
    assert ("\n" in str(caught.value), (tmp_path / "new").exists(), caught.value.exit_code) == (False, False, 2)
    with pytest.raises(UsageError, match="not a finite number"):
        adopted_recipe.make_home(there, tmp_path / "old", again=True)
    assert {name: Home(tmp_path / "old").open(name) for name in before} == before


def test_rows_that_are_left_out_may_hold_anything(tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "qwen3")
    spoiled(there, "model.embed_tokens.weight", row=-1, value=math.nan)
    made, _ = adopted(there, Home(tmp_path / "home"))
    assert all(bool(tensor.isfinite().all()) for tensor in store.load(made.path)[1].state_dict().values())


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ([{"type": "Lowercase"}, {"type": "NFD"}, {"type": "StripAccents"}], "(Lowercase, NFD, StripAccents)"),
        ([{"type": "NFKC"}], "(NFKC)"),
        ([{"type": "Replace", "pattern": {"String": " "}, "content": "_"}], "(Replace)"),
        ([{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}], None),
        ([], None),
    ],
)
def test_a_tokenizer_that_rewrites_text_is_told(parts: list[dict[str, Any]], told: str | None, tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "llama")
    spec = json.loads((there / "tokenizer.json").read_text())
    (there / "tokenizer.json").write_text(json.dumps(spec | {"normalizer": {"type": "Sequence", "normalizers": parts}}))
    _, notes = adopted(there, Home(tmp_path / "home"))
    rewrites = [note for note in notes if "rewrites text" in note]
    before = "its tokenizer rewrites text before it cuts it"
    assert rewrites == ([f"{before} {told}: what is decoded is not always what was typed"] if told else [])


def test_the_card_of_what_was_made_names_where_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(export.parity, "installed", lambda: False)
    there = foreign_models.write(tmp_path / "their-model", "qwen3")
    home = Home(tmp_path / "home")
    adopted(there, home)
    card = (export.run(export.Config(), home, Journal()).path / "hf" / "README.md").read_text()
    assert "It began as their-model, licence: apache-2.0. New tokens: `<|im_start|>`, `<|im_end|>`." in card


CHATS = [{"role": "user", "content": "Hi 1"}, {"role": "assistant", "content": "lazy dog"}]
QUICK = ["sft.epochs=1", "sft.rows=2", "sft.device=cpu", "sft.dtype=float32"]


def verb(name: str, home: Path, *more: str) -> int:
    """As it is typed."""
    return cli.answer([name, str(home), *more])


@pytest.mark.parametrize("turns", [False, True])
def test_the_verbs_that_are_told_work_in_a_fresh_home(turns: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    there, path = foreign_models.write(tmp_path / "there", "qwen3", turns=turns), tmp_path / "home"
    chats = tmp_path / "chats.jsonl"
    chats.write_text((json.dumps({"messages": CHATS}) + "\n") * 3)
    assert verb("adopt", there, "--home", str(path)) == 0
    end = capsys.readouterr().out
    assert f"scratchlm sft {path} --chats FILE" in end
    assert ("--complete" in end) != turns
    assert verb("export", path, "--set", "export.formats=hf") == 0
    assert Home(path).open("export").counts["model"] == ("sft" if turns else "base")
    assert f"next    scratchlm chat {path}" in capsys.readouterr().out
    assert verb("sft", path, "--chats", str(chats), *(each for text in QUICK for each in ("--set", text))) == 0
    assert f"next    scratchlm chat {path}\n" in capsys.readouterr().out
    assert Home(path).open("sft").counts["chats"] == 3
    with pytest.raises(UsageError, match=r"made with sft\.epochs = 1"):
        verb("sft", path, "--set", "sft.epochs=2")
    chats.write_text(json.dumps({"messages": [CHATS[0] | {"content": "x" * 999}, CHATS[1]]}) + "\n")
    before = Home(path).open("sft").fingerprint
    with pytest.raises(DataError, match="none of 1 has an answer"):
        verb("sft", path, "--chats", str(chats), "--again")
    assert Home(path).open("sft").fingerprint == before
    with pytest.raises(ArtifactError, match=r"no text to measure on\. Make one with `scratchlm corpus"):
        verb("evaluate", path)


def test_a_model_that_converses_stays_as_it_is_without_chats_of_its_own(tmp_path: Path):
    there, path = foreign_models.write(tmp_path / "there", "qwen3", turns=True), tmp_path / "home"
    assert adopted_recipe.make_home(there, path) == 0
    before = Home(path).open("sft").fingerprint
    assert verb("sft", path) == 0
    assert Home(path).open("sft").fingerprint == before


OTHER = "{% for message in messages %}[{{ message.role }}] {{ message.content }}\n{% endfor %}"
DEFAULT = "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Tiny.<|im_end|>\n{% endif %}" + template.JINJA
HOSTILE = "{% for a in range(99999) %}{% for b in range(99999) %}{{ a }}{% endfor %}{% endfor %}"
SNEAKY = "{{ ''.__class__.__mro__[1].__subclasses__() }}" + template.JINJA


@pytest.mark.parametrize(
    ("written", "name", "told"),
    [
        (template.JINJA, "sft", None),
        (DEFAULT, "sft", "before each conversation: 'You are Tiny.'"),
        (OTHER, "base", "its own chat template is another than ours"),
        (HOSTILE, "base", "its own chat template is another than ours"),
        (SNEAKY, "base", "its own chat template is another than ours"),
        ("{{ 'x' * 10 ** 10 }}", "base", "its own chat template is another than ours"),
    ],
)
def test_a_chat_template_decides_whether_it_converses_as_ours(written: str, name: str, told: str | None, tmp_path: Path):
    there = foreign_models.write(tmp_path / "there", "qwen3", turns=True)
    (there / "chat_template.jinja").write_text(written)
    made, notes = adopted(there, Home(tmp_path / "home"))
    assert made.name == name
    assert [note for note in notes if "before each" in note or "template is" in note] == [note for note in notes if told and told in note]
    assert told is None or any(told in note for note in notes)


def with_begin(path: Path, *, turns: bool) -> Path:
    """A model whose tokenizer puts <|begin|> before every text, and which ends at <|eot|> besides."""
    there = foreign_models.write(path, "llama", turns=turns)
    spec = json.loads((there / "tokenizer.json").read_text())
    flags = spec["added_tokens"][0]
    last = max(token["id"] for token in spec["added_tokens"])
    spec["added_tokens"] += [flags | {"id": last + 1 + place, "content": name} for place, name in enumerate(("<|begin|>", "<|eot|>"))]
    first = {"SpecialToken": {"id": "<|begin|>", "type_id": 0}}
    spec["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [first, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [first, {"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<|begin|>": {"id": "<|begin|>", "ids": [last + 1], "tokens": ["<|begin|>"]}},
    }
    (there / "tokenizer.json").write_text(json.dumps(spec))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>", "bos_token": "<|begin|>"}
    (there / "tokenizer_config.json").write_text(json.dumps(config))
    (there / "generation_config.json").write_text(json.dumps({"eos_token_id": [last + 2]}))
    return there


def test_a_model_that_begins_with_a_token_of_its_own_answers_as_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import transformers

    monkeypatch.setattr(export, "PROMPTS", 4)
    there = with_begin(tmp_path / "there", turns=False)
    home = Home(tmp_path / "home")
    made, notes = adopted(there, home)
    assert "all that it reads begins with <|begin|>, as its tokenizer has it" in notes
    speaker = Speaker.load(made.path)
    begin, eot = (speaker.tokenizer.control[name] for name in ("<|begin|>", "<|eot|>"))
    assert eot in speaker.engine.stop
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(there).eval()
    theirs = transformers.AutoTokenizer.from_pretrained(there)
    for text in ("The quick brown", "fox 1 2"):
        given = theirs(text, return_tensors="pt")
        assert given["input_ids"][0].tolist() == speaker.text_ids(text)
        expected = model.generate(**given, max_new_tokens=8, do_sample=False, eos_token_id=sorted(speaker.engine.stop), pad_token_id=0)
        assert (
            speaker.engine.generate([speaker.text_ids(text)], Sampling(max_tokens=8))[0].ids
            == expected[0, given["input_ids"].shape[1] :].tolist()
        )
    out = export.run(export.Config(formats=("hf", "gguf") if llama_cpp.installed() else ("hf",)), home, Journal()).path / "hf"
    config, words = (json.loads((out / name).read_text()) for name in ("generation_config.json", "tokenizer_config.json"))
    assert (config["bos_token_id"], words["bos_token"], words["add_bos_token"]) == (begin, "<|begin|>", True)
    assert eot in config["eos_token_id"]
    again, _ = adopted(out, Home(tmp_path / "again"), stage="base")
    assert Speaker.load(again.path).text_ids("fox") == speaker.text_ids("fox")


@pytest.mark.skipif(not llama_cpp.installed(), reason="xllamacpp, the runtime to compare with, is not installed")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_gpt2_as_its_makers_begin_with_it_is_equal_to_four_decimals_in_llama_cpp(seed: int, tmp_path: Path):
    """Louder weights are not: llama.cpp looks GELU up in half precision, see ``llama_cpp.by_table``."""
    import transformers

    there = foreign_models.write(tmp_path / "there", "gpt2")
    config = transformers.AutoConfig.from_pretrained(there)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        transformers.AutoModelForCausalLM.from_config(config).save_pretrained(there)
    home = Home(tmp_path / "home")
    adopted(there, home)
    counts = export.run(export.Config(formats=("gguf",)), home, Journal()).counts
    assert float(counts["largest_logprob_difference"]) < llama_cpp.EXACT
    assert counts["equal_answers_gguf"] == 2


def test_conversations_begin_with_that_token_too_and_so_does_what_is_exported(tmp_path: Path):
    there = with_begin(tmp_path / "there", turns=True)
    home = Home(tmp_path / "home")
    made, _ = adopted(there, home)
    speaker = Speaker.load(made.path)
    ids, trained = template.encode(speaker.tokenizer, [Message("user", "Hi"), Message("assistant", "fox")])
    assert (made.name, ids[:2], trained[:2]) == (
        "sft",
        [speaker.tokenizer.control[name] for name in ("<|begin|>", "<|im_start|>")],
        [False] * 2,
    )
    counts = export.run(export.Config(formats=("hf", "gguf") if llama_cpp.installed() else ("hf",)), home, Journal()).counts
    assert counts["equal_answers"] == counts["prompts"] == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_kept_in_half_precision_speak_learn_and_go_out(dtype: torch.dtype, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    there = foreign_models.write(tmp_path / "there", "qwen3", dtype=dtype, turns=True)
    home = Home(tmp_path / "home")
    assert adopted_recipe.make_home(there, home.path, sets=["dtype=kept"]) == 0
    chat.show(home, prompt="Hi 1")
    out = export.run(export.Config(), home, Journal())
    assert float(out.counts["largest_logit_difference"]) <= 1e-5
    assert json.loads((out.path / "hf" / "config.json").read_text())["dtype"] == str(dtype).removeprefix("torch.")
    (tmp_path / "chats.jsonl").write_text(json.dumps({"messages": CHATS}) + "\n")
    more = ("--chats", str(tmp_path / "chats.jsonl"), *(each for text in QUICK for each in ("--set", text)))
    assert verb("sft", home.path, *more) == 0
    assert {tensor.dtype for tensor in store.load(home.path / "sft")[1].state_dict().values()} == {torch.float32}


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_late_refusal_leaves_no_home(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    there = foreign_models.write(tmp_path / "there", "qwen3")
    if name == "config.json":
        (there / name).unlink()
        (there / name).symlink_to("/dev/zero")
    else:
        monkeypatch.setattr(adopt.safetensors_writer, "write", lambda *_, **__: (_ for _ in ()).throw(UsageError("the file was cut")))
    with pytest.raises(UsageError, match="no plain file" if name == "config.json" else "the file was cut"):
        adopted_recipe.make_home(there, tmp_path / "home")
    assert not (tmp_path / "home").exists()
