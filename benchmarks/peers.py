"""A training step of ours and of others' models, of one size on the same tokens: as shipped, and at their best.

As shipped they compute float32, one operation after another. At their best: bfloat16 products, torch.compile, AdamW in one kernel. Dropout
is off everywhere. Of transformers there is its model in a plain loop, and the same in its own, the Trainer. Ours trains as a stage does,
with what it chose by measuring.
"""

import contextlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional as F  # noqa: N812

from benchmarks import baseline, beside_nanogpt, trainer
from benchmarks.turns import Step
from scratchlm.core.artifact import Draft
from scratchlm.core.journal import Journal
from scratchlm.core.tensors import Batch, ModelInputs
from scratchlm.model import cost, gpt2, llama, qwen3
from scratchlm.model.architectures import Drawn
from scratchlm.model.attention import packed
from scratchlm.optim import adamw
from scratchlm.parallel.precision import Dtype
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.forward import Compiled
from scratchlm.train.loop import Plan, update
from scratchlm.train.objectives import NextToken
from scratchlm.train.session import Session
from scratchlm.train.settings import Training
from scratchlm.train.state import TrainState

Decoder = gpt2.Config | llama.Config | qwen3.Config
"""Shapes that others have too."""
PRODUCT = {"cpu": 2048, "cuda": 8192}
"""Rows, columns and what is summed, of the product that measures the peak."""


@dataclass(frozen=True)
class Load:
    """What is trained, where."""

    config: Decoder
    rows: int
    device: Literal["cpu", "cuda"] = "cpu"
    dtype: Literal["auto"] | Dtype = "auto"
    """Of ours: auto measures. Others take bfloat16 at their best."""
    backend: str = "inductor"
    """Of torch.compile."""
    horizon: int | None = None
    """Tokens of the run that ours plans for: what takes long to try is tried where it pays over so many; None: it is not tried."""

    @property
    def tokens(self) -> int:
        """Of a step."""
        return self.rows * self.config.context

    @property
    def flops(self) -> int:
        """Of a token, forth and back: 6 N + 12 L H C T, with N the weights that are multiplied; the same for all who train it."""
        return cost.training_flops(self.config)

    @property
    def shape(self) -> baseline.Shape:
        """As GPT-2 has it: its feed-forward is four times as wide as the stream."""
        c = self.config
        return baseline.Shape(c.vocab, c.context, c.layers, c.heads, c.width)

    def data(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens and targets: what they say makes no difference to the time."""
        tokens_BS = torch.randint(self.config.vocab, (self.rows, self.config.context + 1), generator=torch.Generator().manual_seed(0))
        return tokens_BS[:, :-1].contiguous().to(self.device), tokens_BS[:, 1:].contiguous().to(self.device)


@dataclass(frozen=True)
class Given:
    """What a peer may need beside the load."""

    scratch: Path
    """An empty folder that is removed at the end."""
    nanogpt: Path | None = None
    """A checkout."""


def ours(load: Load, given: Given, *, compiled: bool = False) -> Step:
    """A step of the one loop, set up as by a stage, on rows of one document as the others compute; ``compiled`` says by torch.compile."""
    training = Training(device=load.device, dtype=load.dtype)
    session = Session.open(Draft(given.scratch), training, Journal(), Drawn(load.config, 0), tokens=load.horizon, rows=load.rows)
    precision, attend, forward = session.precision, session.attend, session.forward
    if compiled:
        precision, attend = replace(precision, kernels=False), packed
        forward = Compiled.begin("default", rows=session.rows_at_once, length=load.config.context, backend=load.backend)
    state = TrainState.begin(session.model, adamw.Config(), seed=0, crew=session.crew)
    state.rows_at_once = session.rows_at_once
    plan = Plan(1, lambda _: 1.0, precision, Keeper(given.scratch), attend=attend, forward=forward)
    inputs_BT, targets_BT = load.data()
    positions_BT = torch.arange(load.config.context, device=load.device).expand_as(inputs_BT)
    batch = Batch(ModelInputs(inputs_BT, positions_BT, torch.zeros_like(inputs_BT)), targets_BT, torch.ones(inputs_BT.shape))
    objective = NextToken(session.model)

    def step() -> None:
        update(state, [batch.to(torch.device(load.device))], objective, plan)

    return step


def trained(model: torch.nn.Module, loss_of: Callable[[Callable[..., torch.Tensor]], torch.Tensor], load: Load, *, best: bool) -> Step:
    """A plain step of somebody's model."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), fused=best)
    run = torch.compile(model, backend=load.backend) if best else model
    if best:
        torch.set_float32_matmul_precision("high")  # what stays in float32 may use TF32, as nanoGPT allows on a GPU

    def step() -> None:
        with torch.autocast(load.device, torch.bfloat16) if best else contextlib.nullcontext():
            loss = loss_of(run)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def plain(load: Load, _given: Given, *, best: bool) -> Step:
    """The baseline of ``benchmarks/baseline.py``, which anybody has."""
    inputs, targets = load.data()
    return trained(baseline.GPT(load.shape).to(load.device), lambda run: run(inputs, targets), load, best=best)


def nanogpt(load: Load, given: Given, *, best: bool) -> Step:
    """Its model and its step."""
    assert given.nanogpt is not None, "asked for only where a checkout is given"
    inputs, targets = load.data()
    model = beside_nanogpt.build(given.nanogpt, load.shape).to(load.device)
    return trained(model, lambda run: run(inputs, targets)[1], load, best=best)


def llama_of_transformers(load: Load) -> torch.nn.Module:
    """Of the same shape as ours."""
    from transformers import LlamaConfig, LlamaForCausalLM

    c = load.config
    assert not isinstance(c, gpt2.Config), "its GPT-2 is another model"
    config = LlamaConfig(
        vocab_size=c.vocab, hidden_size=c.width, intermediate_size=c.hidden, num_hidden_layers=c.layers, num_attention_heads=c.heads,
        num_key_value_heads=c.kv_heads, head_dim=c.head_dim, max_position_embeddings=c.context, tie_word_embeddings=c.tied, use_cache=False,
    )  # fmt: skip
    return LlamaForCausalLM(config).to(load.device)  # pyright: ignore[reportArgumentType]


def transformers(load: Load, _given: Given, *, best: bool) -> Step:
    """Its Llama in a plain loop."""
    inputs, targets = load.data()

    def loss_of(run: Callable[..., torch.Tensor]) -> torch.Tensor:
        logits = run(input_ids=inputs).logits  # pyright: ignore[reportAttributeAccessIssue]
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    return trained(llama_of_transformers(load), loss_of, load, best=best)


def transformers_trainer(load: Load, given: Given) -> Step:
    """Its Llama in its Trainer, which takes rows from a text, logs and schedules as it does by itself."""
    ids = torch.randint(load.config.vocab, (TEXT,), generator=torch.Generator().manual_seed(0))
    data = trainer.Rows(ids, load.config.context)
    return trainer.stepwise(llama_of_transformers(load), data, load.rows, given.scratch, device=load.device)


def litgpt(load: Load, _given: Given, *, best: bool) -> Step:
    """Its GPT with Llama's parts, of the same shape as ours."""
    from litgpt.config import Config  # pyright: ignore[reportMissingImports]
    from litgpt.model import GPT  # pyright: ignore[reportMissingImports]

    c = load.config
    assert not isinstance(c, gpt2.Config), "its GPT-2 is another model"
    config = Config(
        block_size=c.context, vocab_size=c.vocab, padded_vocab_size=c.vocab, n_layer=c.layers, n_head=c.heads, n_embd=c.width,
        n_query_groups=c.kv_heads, head_size=c.head_dim, rotary_percentage=1.0, parallel_residual=False, bias=False,
        norm_class_name="RMSNorm", mlp_class_name="LLaMAMLP", intermediate_size=c.hidden,
    )  # fmt: skip
    model = GPT(config).to(load.device)
    if c.tied:
        model.lm_head.weight = model.transformer.wte.weight
    inputs, targets = load.data()
    return trained(model, lambda run: F.cross_entropy(run(inputs).float().flatten(0, 1), targets.flatten()), load, best=best)


def product(load: Load, dtype: torch.dtype) -> Step:
    """A square product, nothing else: what the machine can do at most."""
    a = torch.randn(PRODUCT[load.device], PRODUCT[load.device], device=load.device).to(dtype)
    return lambda: (torch.mm(a, a), None)[1]


OURS, COMPILED, CHOSEN, FLOAT8 = "ours", "ours compiled", "ours as chosen for a long run", "ours compiled in float8"
PRODUCTS = ("product in float32", "product in bfloat16")
TEXT = 1_000_000
"""Tokens that a loop with rows of its own draws from."""
LONG = 10**12
"""Tokens over which every trial pays."""
BUILDERS: dict[str, Callable[[Load, Given], Step]] = {
    OURS: ours,
    COMPILED: lambda load, given: ours(load, given, compiled=True),
    CHOSEN: lambda load, given: ours(replace(load, horizon=LONG), given),
    FLOAT8: lambda load, given: ours(replace(load, dtype="float8"), given, compiled=True),
    "plain PyTorch as written": lambda load, given: plain(load, given, best=False),
    "plain PyTorch at its best": lambda load, given: plain(load, given, best=True),
    "nanoGPT as shipped": lambda load, given: nanogpt(load, given, best=False),
    "nanoGPT at its best": lambda load, given: nanogpt(load, given, best=True),
    "transformers as shipped": lambda load, given: transformers(load, given, best=False),
    "transformers at its best": lambda load, given: transformers(load, given, best=True),
    "transformers Trainer as shipped": transformers_trainer,
    "litgpt as shipped": lambda load, given: litgpt(load, given, best=False),
    "litgpt at its best": lambda load, given: litgpt(load, given, best=True),
    PRODUCTS[0]: lambda load, _given: product(load, torch.float32),
    PRODUCTS[1]: lambda load, _given: product(load, torch.bfloat16),
}

NEEDED = {"transformers Trainer": ("transformers", "accelerate"), "transformers": ("transformers",), "litgpt": ("litgpt",)}
"""Packages, by how names begin; the first that fits."""


def missing(name: str, nanogpt: Path | None) -> str | None:
    """Why a peer cannot join; None where it can."""
    if name.startswith("nanoGPT") and nanogpt is None:
        return "no checkout is given (--nanogpt FOLDER)"
    needed = next((packages for start, packages in NEEDED.items() if name.startswith(start)), ())
    absent = [package for package in needed if importlib.util.find_spec(package) is None]
    return f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} not installed" if absent else None


def product_speed(load: Load, seconds: float) -> float:
    """GFLOP/s of ``product`` that took so many seconds."""
    return 2e-9 * PRODUCT[load.device] ** 3 / seconds
