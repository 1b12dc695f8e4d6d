"""Exported directories, read by stock transformers."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors import safe_open

from scratchlm.core.artifact import Artifact, Draft, Home
from scratchlm.core.config import Settings
from scratchlm.core.errors import ArtifactError, CheckFailed, UsageError
from scratchlm.core.journal import Journal
from scratchlm.core.records import Message
from scratchlm.export import agreement, huggingface, parity
from scratchlm.export.card import Facts, Source, card, sources_of
from scratchlm.export.huggingface import their_name
from scratchlm.model import gpt2, llama, minillm, moe, olmo2, qwen3, store
from scratchlm.model.architectures import AnyConfig, build
from scratchlm.stages import export
from scratchlm.tokenizer import store as tokenizers
from scratchlm.tokenizer import template
from scratchlm.train.crew import alone

needs_transformers = pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None, reason="transformers, the runtime to compare with, is not installed"
)
TEXT = "The quick brown fox counts 1 2 3 and jumps over the lazy dog. Naïve café, 你好! " * 5
TRICKY = ["", " two  spaces\n\n\tand a tab", "It's 2024: 3.14 + 15 = ?", "naïve 你好 🙂", "no <|im_end|> here", "x" * 50]


@pytest.fixture(autouse=True)
def short_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights say as much in 8 tokens as in 32; MLX is asked where a test is about it."""
    monkeypatch.setattr(parity, "mlx_installed", lambda: False)
    monkeypatch.setattr(export, "LONGEST", 8)


class Made(Settings):
    """Stands for the settings of a stage."""

    lr: float = 0.1


def home_with(path: Path, config: Any, *, kind: str = "bpe", name: str = "sft", size: int = 300) -> Home:
    """A run whose one model has random weights and norms that differ from one."""
    home = Home(path / "tiny")
    tokenizer = tokenizers.train(kind, [TEXT], size=size)
    model = build(config.model_copy(update={"vocab": tokenizer.size}), seed=3)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.2)

    def make(draft: Draft) -> None:
        alone(model).save(draft.path)
        tokenizer.save(draft.path / "tokenizer")

    home.build(name, Made(), [], make)
    return home


def tiny(*, tied: bool) -> qwen3.Config:
    return qwen3.Config(context=64, layers=3, width=48, heads=6, kv_heads=2, head_dim=10, hidden=56, tied=tied, rope_theta=5000.0)


def exported(home: Home, **config: Any) -> tuple[Artifact, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    return export.run(export.Config(**config), home, Journal(events.append)), events


@needs_transformers
@pytest.mark.parametrize("tied", [False, True])
def test_transformers_computes_what_we_compute(tmp_path: Path, tied: bool):
    made, events = exported(home_with(tmp_path, tiny(tied=tied)))
    (fact,) = [event for event in events if event["event"] == "parity"]
    assert fact["largest_difference"] <= 1e-5
    assert fact["equal_answers"] == fact["prompts"] >= 18  # of 20: the longest do not fit into so short a context
    with safe_open(made.path / "hf" / "model.safetensors", "pt") as file:  # pyright: ignore[reportPrivateImportUsage]
        assert file.metadata() == {"format": "pt"}
        assert ("lm_head.weight" in set(file.keys())) != tied


@needs_transformers
@pytest.mark.parametrize("kind", ["bpe", "char", "byte"])
def test_transformers_cuts_text_and_chats_as_we_do(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    from transformers import AutoTokenizer

    monkeypatch.setattr(parity, "installed", lambda: False)
    home = home_with(tmp_path, tiny(tied=True), kind=kind)
    made, _ = exported(home)
    ours, theirs = tokenizers.load(home.open("sft").path / "tokenizer"), AutoTokenizer.from_pretrained(made.path / "hf")
    for text in TRICKY:
        assert theirs(text, split_special_tokens=True)["input_ids"] == ours.encode(text), text
    chat = [Message("system", "Be kind."), Message("user", "What is 1 + 2?")]
    told = theirs.apply_chat_template([{"role": m.role, "content": m.content} for m in chat], add_generation_prompt=True, return_dict=True)
    assert told["input_ids"] == template.encode(ours, chat, ask=True)[0]
    assert theirs.eos_token_id == ours.control["<|im_end|>"]


@needs_transformers
def test_a_base_model_continues_alike(tmp_path: Path):
    _, events = exported(home_with(tmp_path, tiny(tied=True), name="base"))
    assert events[-1]["equal_answers"] == events[-1]["prompts"] >= 18


@needs_transformers
@pytest.mark.parametrize("broken", ["template", "merges", "ends"])
def test_an_export_that_answers_otherwise_is_not_finished(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = home_with(tmp_path, tiny(tied=True))
    if broken == "template":
        monkeypatch.setattr(template, "JINJA", template.JINJA.replace("'<|im_start|>assistant", "'<|im_start|>Assistant"))
    elif broken == "merges":
        spec = json.loads((home.open("sft").path / "tokenizer" / "tokenizer.json").read_text())
        spec["model"]["merges"] = spec["model"]["merges"][:-3]
        monkeypatch.setattr(huggingface, "tokenizer_of", lambda words: json.dumps(spec).encode())
    else:
        every = {"eos_token_id": list(range(300)), "pad_token_id": 0}
        monkeypatch.setattr(huggingface, "generation_of", lambda words: every)
        monkeypatch.setattr(agreement, "_without_end", lambda ids, ends: list(ids))
    with pytest.raises(CheckFailed, match="answers .* otherwise from token 1" if broken == "ends" else "reads the prompt .* as other ids"):
        exported(home)
    assert home.find("export") is None


def equal_answers(ours: list[int], theirs: list[int], logits_V: list[float], bound: float | None) -> int:
    """Whether the answers of a model of five tokens, of which 4 ends and 3 is a control token, count as equal."""
    side = agreement.Ours(
        shape={"vocab": 5, "context": 9},
        chats=False,
        begin=4,
        ends=frozenset({4}),
        control=frozenset({3, 4}),
        prompts={"p": [4]},
        most=4,
        logits=lambda row: torch.tensor([logits_V] * len(row)),
        answer=lambda ids, most: ours,
    )
    return agreement.check_answers(side, {"p": theirs}, "x.gguf", bound=bound)


def test_answers_may_part_in_a_near_tie_only():
    near, clear = [1.0, 1.001, 0.0, 0.0, 0.0], [1.0, 1.5, 0.0, 0.0, 0.0]
    assert equal_answers([1, 2, 4], [1, 2], near, 0.01) == 1
    assert equal_answers([1, 3, 2], [1], near, 0.01) == 1
    assert equal_answers([1, 1, 1], [1, 0, 2], near, 0.01) == 0
    assert equal_answers([1, 1, 1], [1, 0, 2], clear, None) == 0
    with pytest.raises(CheckFailed, match=r"x\.gguf answers 'p' otherwise from token 1 on: what it took lies 5.0e-01 below"):
        equal_answers([1, 1, 1], [1, 0, 2], clear, 0.01)
    with pytest.raises(CheckFailed, match="otherwise from token 1 on"):
        equal_answers([1, 1, 1], [1], clear, 0.01)


@pytest.mark.parametrize(("window", "length"), [(None, 96), (200, 232), (5000, 1024)])
def test_rows_reach_behind_the_window(window: int | None, length: int):
    shape = {"vocab": 5, "context": 4096, "window": window}
    side = agreement.Ours(shape, False, 0, frozenset(), frozenset(), {}, 4, lambda row: torch.zeros(1), lambda ids, most: [])
    assert [len(row) for row in side.rows()] == [length] * agreement.ROWS


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_logits_that_are_no_numbers_agree_with_none(side: str, place: int):
    ours, theirs = [torch.ones(4, 9), torch.ones(4, 9)], [torch.ones(4, 9), torch.ones(4, 9)]
    parity.must(parity.largest_difference(ours, theirs), "x")
    {"ours": ours, "theirs": theirs}[side][place][2, 3] = float("nan")
    with pytest.raises(CheckFailed, match="x differ from ours by nan"):
        parity.must(parity.largest_difference(ours, theirs), "x")


@pytest.mark.parametrize("logits_V", [[float("nan")] * 5, [float("nan"), 1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0, float("nan")]])
def test_answers_part_in_no_tie_of_what_is_no_number(logits_V: list[float]):
    with pytest.raises(CheckFailed, match="what it took lies nan below"):
        equal_answers([1, 1, 1], [1, 0, 2], logits_V, 0.01)


@pytest.mark.parametrize("weight", [float("nan"), float("-inf")])
def test_a_weight_that_is_not_finite_goes_nowhere(weight: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parity, "installed", lambda: False)
    home = home_with(tmp_path, tiny(tied=True))
    _, model = store.load(path := home.open("sft").path)
    torch.nn.init.constant_(model.get_parameter("norm.weight"), weight)
    alone(model).save(path)
    with pytest.raises(ArtifactError, match=r"norm\.weight: a weight is not a finite number") as caught:
        exported(home)
    assert "\n" not in str(caught.value)
    assert home.find("export") is None


@needs_transformers
def test_a_wrong_export_is_not_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    swapped = qwen3.HF_NAMES | {"layers.{}.feed.gate.weight": "model.layers.{}.mlp.up_proj.weight"}
    swapped |= {"layers.{}.feed.up.weight": "model.layers.{}.mlp.gate_proj.weight"}
    monkeypatch.setattr(qwen3, "HF_NAMES", swapped)
    home = home_with(tmp_path, tiny(tied=True))
    with pytest.raises(CheckFailed, match="differ from ours"):
        exported(home)
    assert home.find("export") is None


def test_without_transformers_the_export_says_that_nothing_was_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parity, "installed", lambda: False)
    made, events = exported(home_with(tmp_path, tiny(tied=True)))
    assert made.counts["parity"] == "not checked"
    assert "pip install transformers" in events[-1]["reason"]


def test_both_spellings_of_what_changed_between_versions_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parity, "installed", lambda: False)
    made, _ = exported(home_with(tmp_path, tiny(tied=False)))
    config = json.loads((made.path / "hf" / "config.json").read_text())
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 5000.0
    assert config["dtype"] == config["torch_dtype"] == "float32"
    words = json.loads((made.path / "hf" / "tokenizer_config.json").read_text())
    assert words["chat_template"] == (made.path / "hf" / "chat_template.jinja").read_text() == template.JINJA
    generation = json.loads((made.path / "hf" / "generation_config.json").read_text())
    assert generation["eos_token_id"] == [config["eos_token_id"], config["bos_token_id"]]


SMALL: dict[str, Any] = {"context": 64, "layers": 3, "width": 48, "heads": 6}
GROUPED = SMALL | {"kv_heads": 2, "head_dim": 10, "hidden": 56}
LLAMA3 = {"kind": "llama3", "factor": 4.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0, "original_context": 16}
YARN = {"kind": "yarn", "factor": 4.0, "original_context": 16}
FOR_MLX: dict[str, AnyConfig] = {
    "gpt2": gpt2.Config(**SMALL, hidden=192),  # MLX knows no other than four times the width
    "llama": llama.Config(**GROUPED),
    "llama-tied-llama3": llama.Config(**GROUPED, tied=True, rope_scaling=LLAMA3),
    "mistral": llama.Config(**GROUPED, window=20),
    "qwen2": llama.Config(**GROUPED | {"head_dim": 8}, attention_bias=True),
    "qwen3": qwen3.Config(**GROUPED, rope_theta=5000.0),
    "qwen3-tied-yarn": qwen3.Config(**GROUPED, tied=True, rope_scaling=YARN),
    "olmo2": olmo2.Config(**GROUPED, rope_theta=5000.0),
    "olmo2-tied-yarn": olmo2.Config(**GROUPED, tied=True, rope_scaling=YARN),
    "moe": moe.Config(**SMALL, kv_heads=2, head_dim=10, experts=5, experts_per_token=2, expert_hidden=24),
}  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("case", FOR_MLX)
def test_mlx_computes_what_we_compute(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("mlx_lm", reason="mlx-lm, the runtime to compare with, is not installed")
    monkeypatch.setattr(parity, "installed", lambda: False)
    monkeypatch.setattr(parity, "mlx_installed", lambda: True)
    _, events = exported(home_with(tmp_path, FOR_MLX[case]))
    assert events[-1]["reader"] == "mlx"
    assert events[-1]["largest_difference"] <= parity.RELATIVE
    print(events[-1]["note"])


def test_a_model_nobody_else_reads_is_refused_by_name(tmp_path: Path):
    home = home_with(tmp_path, minillm.Config(context=32, layers=1, width=16, heads=2))
    with pytest.raises(UsageError, match=r"no other runtime can read a 'minillm' model\. Train with .*'qwen3'"):
        exported(home)


def test_the_newest_model_is_taken_and_another_by_name(tmp_path: Path):
    with pytest.raises(ArtifactError, match="no trained model here yet"):
        exported(Home(tmp_path / "empty"))
    with pytest.raises(UsageError, match=r"no model 'stf'\. Did you mean 'sft'"):
        exported(Home(tmp_path / "empty"), model="stf")


def test_layers_keep_their_numbers():
    assert their_name("layers.11.feed.up.weight", qwen3.HF_NAMES) == "model.layers.11.mlp.up_proj.weight"
    with pytest.raises(ArtifactError, match=r"bigram\.weight: this weight has no name"):
        their_name("bigram.weight", qwen3.HF_NAMES)


def test_the_card_tells_results_sources_and_recipe():
    measured = {"value": 1.5, "low": 1.25, "high": 1.75, "n": 9}
    scores = {"models": {"sft": {"bits_per_byte": measured, "facts": {"same": measured}}}, "notes": []}
    shape = {"kind": "qwen3", "layers": 3, "width": 48, "vocab": 300, "context": 64}
    text = card(Facts("tiny-sft", "0.1", 12345, shape, {"lr": 0.1}, [Source("py|docs", "PSF-2.0", 10, 2000)], scores))
    assert "| sft | facts: same | 1.5 | 1.25 to 1.75 | 9 |" in text
    assert "| py\\|docs | PSF-2.0 | 10 | 2,000 |" in text
    assert "12,345 parameters" in text
    assert '"lr": 0.1' in text


def test_sources_are_counted_by_licence(tmp_path: Path):
    rows = {"source": ["b", "a", "b"], "licence": ["MIT", None, "MIT"], "n_chars": [3, 4, 5]}
    pq.write_table(pa.table(rows), tmp_path / "train.parquet")
    assert sources_of(tmp_path / "train.parquet") == [Source("a", "unknown", 1, 4), Source("b", "MIT", 2, 8)]
