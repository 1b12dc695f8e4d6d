"""Tokens a second of a ten-million-weight model, beside others' models as shipped and at their best, step by step in turn.

    python -m benchmarks.throughput [--nanogpt FOLDER] [--rounds 7]

Six layers, 384 wide, rows of 256 characters, 4,096 tokens a step, on all cores. Ours trains as `scratchlm pretrain` does, with what it
chose by measuring. The others are nanoGPT (https://github.com/karpathy/nanoGPT, a checkout) and transformers' Llama: as shipped they
compute float32 on a CPU, one operation after another; at their best bfloat16 products, torch.compile and a fused AdamW. Each is a process
of its own that takes three steps when it is its turn, so that a busy machine slows all alike; medians over the rounds, ratios of pairs in
a round.
"""

import argparse
import contextlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

LAYERS, HEADS, WIDTH, T, ROWS, V = 6, 6, 384, 256, 16, 65
STEPS = 3
"""Of a turn."""
Step = Callable[[], None]


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and targets: what they say makes no difference to the time."""
    tokens_BS = torch.randint(V, (ROWS, T + 1), generator=torch.Generator().manual_seed(0))
    return tokens_BS[:, :-1].contiguous(), tokens_BS[:, 1:].contiguous()


def ours(_folder: str) -> Step:
    """A step of the one loop, as a stage sets it up."""
    from scratchlm.core.artifact import Draft
    from scratchlm.core.journal import Journal
    from scratchlm.core.tensors import Batch, ModelInputs
    from scratchlm.model import architectures, qwen3
    from scratchlm.optim import adamw
    from scratchlm.train.checkpoint import Keeper
    from scratchlm.train.loop import Plan, update
    from scratchlm.train.objectives import NextToken, head_parameters
    from scratchlm.train.session import Session, Training
    from scratchlm.train.state import TrainState

    shape = qwen3.Config(vocab=V, context=T, layers=LAYERS, width=WIDTH, heads=HEADS, kv_heads=HEADS, head_dim=WIDTH // HEADS, hidden=1024)
    model = architectures.build(shape, seed=0)
    scratch = Path(tempfile.mkdtemp())
    session = Session.open(Draft(scratch), Training(), Journal(), model)
    state = TrainState.begin(model, adamw.Config(), seed=0)
    plan = Plan(1, lambda _: 1.0, session.precision, Keeper(scratch), attend=session.attend)
    inputs, targets = data()
    segments = torch.zeros_like(inputs)
    batch = Batch(ModelInputs(inputs, torch.arange(T).expand(ROWS, T), segments), targets, torch.ones(ROWS, T))
    objective = NextToken(model.logits, head_parameters(model))

    def step() -> None:
        update(state, [batch], objective, plan, session.world)

    return step


def trained(model: torch.nn.Module, loss_of: Callable[[torch.nn.Module], torch.Tensor], *, best: bool) -> Step:
    """A plain step of somebody's model."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, betas=(0.9, 0.95), fused=best)
    run = torch.compile(model) if best else model

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16) if best else contextlib.nullcontext():
            loss = loss_of(run)  # pyright: ignore[reportArgumentType]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def nanogpt(folder: str, *, best: bool) -> Step:
    """Its model and its step, without dropout."""
    sys.path.insert(0, folder)
    from model import GPT, GPTConfig  # pyright: ignore[reportMissingImports]

    config = GPTConfig(block_size=T, vocab_size=V, n_layer=LAYERS, n_head=HEADS, n_embd=WIDTH, dropout=0.0, bias=False)
    inputs, targets = data()
    return trained(GPT(config), lambda model: model(inputs, targets)[1], best=best)


def llama(_folder: str, *, best: bool) -> Step:
    """transformers' Llama of the same shape as ours."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=V, hidden_size=WIDTH, intermediate_size=1024, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        num_key_value_heads=HEADS, max_position_embeddings=T, tie_word_embeddings=False, use_cache=False,
    )  # fmt: skip
    inputs, targets = data()

    def loss_of(model: torch.nn.Module) -> torch.Tensor:
        logits = model(input_ids=inputs).logits
        return torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), targets.flatten())

    return trained(LlamaForCausalLM(config), loss_of, best=best)


PEERS: dict[str, Callable[[str], Step]] = {
    "ours": ours,
    "nanoGPT as shipped": lambda folder: nanogpt(folder, best=False),
    "nanoGPT at its best": lambda folder: nanogpt(folder, best=True),
    "transformers as shipped": lambda folder: llama(folder, best=False),
    "transformers at its best": lambda folder: llama(folder, best=True),
}


def work(name: str, folder: str) -> None:
    """Take some steps for each line that comes in, and answer with the seconds that they took."""
    started = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr):  # some say how large they are
        step = PEERS[name](folder)
        step()
        step()
    print(time.perf_counter() - started, flush=True)
    for _ in sys.stdin:
        begun = time.perf_counter()
        for _ in range(STEPS):
            step()
        print(time.perf_counter() - begun, flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", default="")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        work(asked.work, asked.nanogpt)
        return
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
    print(f"{platform.platform()}, Python {platform.python_version()}, torch {torch.__version__}, commit {commit}")
    again = [sys.executable, "-m", "benchmarks.throughput", "--nanogpt", asked.nanogpt, "--work"]
    workers = {
        name: subprocess.Popen([*again, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        for name in PEERS
        if asked.nanogpt or "nanoGPT" not in name
    }
    first: dict[str, float] = {}
    turns: dict[str, list[float]] = {name: [] for name in workers}
    for name, worker in workers.items():  # all start at once; set-up is told, not compared
        first[name] = float(worker.stdout.readline())  # pyright: ignore[reportOptionalMemberAccess]
    for _ in range(asked.rounds):
        for name, worker in workers.items():
            worker.stdin.write("go\n")  # pyright: ignore[reportOptionalMemberAccess]
            turns[name].append(float(worker.stdout.readline()) / STEPS)  # pyright: ignore[reportOptionalMemberAccess]
    for worker in workers.values():
        worker.communicate()
    print(f"{'':26} {'tokens/s':>9} {'ours to it':>11} {'set-up, s':>10}")
    for name, found in turns.items():
        ratios = [theirs / own for own, theirs in zip(turns["ours"], found, strict=True)]
        speed, ratio = ROWS * T / statistics.median(found), statistics.median(ratios)
        print(f"{name:26} {speed:9,.0f} {ratio:8.2f} ({min(ratios):.2f}-{max(ratios):.2f}) {first[name]:7.1f}")


if __name__ == "__main__":
    main()
