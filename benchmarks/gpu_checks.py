"""Is what a device computes right? A small model of every architecture: against the CPU, against float32, twice the same, resumed.

Differences of gradients are the worst over all weights: the norm of the difference over the norm of the gradient, to which a thousandth of
the norm of all gradients is added, so that a weight that hardly learns does not count as one that is wrong.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import HashStore  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.device_mesh import init_device_mesh

from scratchlm.core import seeds
from scratchlm.core.journal import Journal
from scratchlm.core.tensors import Batch, ModelInputs, positions_of
from scratchlm.model import architectures, gpt2, llama, minillm, moe, olmo2, qwen3, swift
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, Model
from scratchlm.optim import muon
from scratchlm.parallel import shard
from scratchlm.parallel.layout import AXES
from scratchlm.parallel.precision import Dtype, Precision
from scratchlm.parallel.world import World, steady
from scratchlm.train.checkpoint import Keeper
from scratchlm.train.crew import local
from scratchlm.train.forming import formed
from scratchlm.train.forward import Compiled, plainly
from scratchlm.train.loop import Plan, backward, fit
from scratchlm.train.objectives import NextToken
from scratchlm.train.spans import Span
from scratchlm.train.state import TrainState

V, T, D, ROWS = 97, 64, 64, 3
SHAPES: dict[str, AnyConfig] = {
    "minillm": minillm.Config(vocab=V, context=T, layers=2, width=D, heads=2),
    "gpt2": gpt2.Config(vocab=V, context=T, layers=2, width=D, heads=2, hidden=128),
    "llama": llama.Config(vocab=V, context=T, layers=2, width=D, heads=4, kv_heads=2, head_dim=32, hidden=96, window=24),
    "qwen3": qwen3.Config(vocab=V, context=T, layers=2, width=D, heads=4, kv_heads=2, head_dim=32, hidden=96),
    "olmo2": olmo2.Config(vocab=V, context=T, layers=2, width=D, heads=4, kv_heads=2, head_dim=32, hidden=96),
    "moe": moe.Config(
        vocab=V, context=T, layers=2, width=D, heads=4, kv_heads=2, head_dim=32, experts=5, experts_per_token=2, expert_hidden=48
    ),
    "swift": swift.Config(vocab=V, context=T, layers=2, width=D, heads=2, head_dim=32, bigrams=89, trigrams=83),
}
SAME_MATHS = 1e-4
"""Of float32 on two devices, or compiled: other orders of sums only, which cost 1e-6 or so a product."""
HALF_LOSS, HALF_GRADIENT, HALF_EXPERTS = 1e-3, 0.05, 0.3
"""Of bfloat16 against float32, two and more times what a CPU gives (9e-5, 0.022 and 0.15 at most): a number keeps eight bits. Where experts
are chosen, a position whose two best are close may go to the other, so theirs differ most."""
STEPS = 4


@dataclass(frozen=True)
class Check:
    """Something that was compared."""

    what: str
    found: float
    """0 where all is equal."""
    limit: float

    @property
    def holds(self) -> bool:
        """Whether it is within the limit; never where it is no number."""
        return self.found <= self.limit

    def __str__(self) -> str:
        return f"{'right' if self.holds else 'WRONG'}  {self.what}: {self.found:.2g} of {self.limit:g}"


def checks(device: str, backend: str = "inductor") -> Iterator[Check]:
    """Every comparison, one after another."""
    steady(device=device)
    for name in ARCHITECTURES:
        cpu, there, half = gradients(name, "cpu", "float32"), gradients(name, device, "float32"), gradients(name, device, "bfloat16")
        yield Check(f"{name}, loss in float32 against the CPU", loss_apart(there, cpu), SAME_MATHS)
        yield Check(f"{name}, gradients in float32 against the CPU", apart(there, cpu), SAME_MATHS)
        yield Check(f"{name}, loss in bfloat16 against float32", loss_apart(half, there), HALF_LOSS)
        yield Check(f"{name}, gradients in bfloat16 against float32", apart(half, there), HALF_EXPERTS if name == "moe" else HALF_GRADIENT)
        yield Check(f"{name}, {STEPS} steps once more", differing(trained(name, device), trained(name, device)), 0)
        yield Check(f"{name}, {STEPS} steps with a stop between", differing(resumed(name, device), trained(name, device)), 0)
        # What swift embeds goes into every block, whose gradients FSDP's hooks let come in another order; all others are plain to the bit.
        yield Check(f"{name}, {STEPS} steps as shards of one process", cut_apart(name, device), SAME_MATHS if name == "swift" else 0)
        if name != "moe":  # its experts take as many rows as a batch sends them, a shape that no compiler knows before
            compiled = gradients(name, device, "float32", backend)
            yield Check(f"{name}, gradients compiled against eager", apart(compiled, there), SAME_MATHS)


def batch(step: int) -> Batch:
    """Random rows of two documents each."""
    chance = torch.Generator().manual_seed(seeds.derive(0, "rows", step=step))
    tokens_BS = torch.randint(V, (ROWS, T + 1), generator=chance)
    segments_BT = (torch.arange(T).expand(ROWS, T) >= T // 3).long()
    return Batch(ModelInputs(tokens_BS[:, :-1], positions_of(segments_BT), segments_BT), tokens_BS[:, 1:], torch.ones(ROWS, T))


def objective(model: Model) -> NextToken:
    return NextToken(model)


def gradients(name: str, device: str, dtype: Dtype, backend: str | None = None) -> dict[str, Tensor]:
    """Every weight's gradient of one batch, on the CPU, and the loss itself as ``loss``."""
    model = moved(architectures.build(SHAPES[name], seed=0)).to(device)
    forward = plainly if backend is None else Compiled.begin("default", rows=ROWS, length=T, backend=backend)
    state, item = TrainState(model, [], seed=0), batch(0).to(torch.device(device))
    loss, _ = backward(state, item, objective(model), Precision(dtype, device), scale=1 / item.weight, forward=forward)
    found = {name: parameter.grad.cpu() for name, parameter in model.named_parameters() if parameter.grad is not None}
    return found | {"loss": torch.tensor(loss / item.weight)}


def moved(model: Model) -> Model:
    """A model whose every weight was moved a little, so that no path is silent as those that begin at zero are."""
    chance = torch.Generator().manual_seed(seeds.derive(0, "moved"))
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(torch.randn(weight.shape, generator=chance), alpha=0.05)
    return model


def loss_apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    """The difference of two losses over the second."""
    return float((one["loss"] - other["loss"]).abs() / other["loss"])


def apart(ones: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    """How far gradients are from others, of the weight that is worst."""
    whole = sum(float(grad.norm()) ** 2 for name, grad in others.items() if name != "loss") ** 0.5
    names = [name for name in {**ones, **others} if name != "loss"]
    return max(float((ones[name] - others[name]).norm()) / (float(others[name].norm()) + 1e-3 * whole) for name in names)


def begun(name: str, device: str) -> TrainState:
    """A state whose dropout draws from the device's own stream."""
    model = architectures.build(SHAPES[name].model_copy(update={"dropout": 0.1}), seed=0).to(device)
    return TrainState.begin(model, muon.Config(), seed=0)


def train(state: TrainState, device: str, steps: int, keeper: Keeper) -> None:
    """Go on to a step, in bfloat16."""
    state.crew = formed(state.model, World.start(device=device))
    plan = Plan(steps, lambda step: 1 - step / (2 * STEPS), Precision("bfloat16", device), keeper)
    fit(state, lambda step: [batch(step)], objective(state.model), plan, (), Journal())


def trained(name: str, device: str) -> TrainState:
    """Some steps at a stretch."""
    state = begun(name, device)
    with tempfile.TemporaryDirectory() as scratch:
        train(state, device, STEPS, Keeper(Path(scratch)))
    return state


def resumed(name: str, device: str) -> TrainState:
    """The same with a checkpoint after half of them, from which another state goes on."""
    first, second = begun(name, device), begun(name, device)
    with tempfile.TemporaryDirectory() as scratch:
        keeper = Keeper(Path(scratch))
        train(first, device, STEPS // 2, keeper)
        keeper.save(first)
        keeper.restore(second, Journal())
        train(second, device, STEPS, keeper)
    return second


def cut_apart(name: str, device: str) -> float:
    """How far weights are, of the largest of each, from those that ``fully_shard`` gathers and scatters among one process."""
    made = [architectures.build(SHAPES[name], seed=0).to(device) for _ in range(2)]
    plain, cut = (Span(model, first=True, last=True, lane=None) for model in made)
    dist.init_process_group("nccl" if device == "cuda" else "gloo", store=HashStore(), rank=0, world_size=1)
    try:
        world = World(device=device, mesh=init_device_mesh(device, (1,) * len(AXES), mesh_dim_names=AXES))
        announce = shard.cut_(cut, cut.model.layers.children(), [], world)
        for span in (plain, cut):
            optimizer = torch.optim.AdamW(span.parameters(), lr=1e-3)
            for step in range(STEPS):
                announce(True)
                given = batch(step).to(torch.device(device))
                x_BTD, wished = span(given.inputs.tokens_BT, positions_BT=given.inputs.positions_BT, segments_BT=given.inputs.segments_BT)
                loss, _ = objective(span.model).loss(x_BTD, given)
                ((loss + given.weight * wished) / given.weight).backward()
                optimizer.step()
                optimizer.zero_grad()
        pairs = [(ours.detach(), local(theirs.detach())) for ours, theirs in zip(plain.parameters(), cut.parameters(), strict=True)]
        return max(float((ours - theirs).abs().max() / ours.abs().max()) for ours, theirs in pairs if theirs is not None)
    finally:
        dist.destroy_process_group()


def differing(one: TrainState, other: TrainState) -> int:
    """How many tensors of weights and optimizers differ in the least bit, or are only in one of both."""
    ones, others = tensors(one), tensors(other)
    return sum(name not in ones or name not in others or not torch.equal(ones[name], others[name]) for name in {**ones, **others})


def tensors(state: TrainState) -> dict[str, Tensor]:
    """All that training changes, by name."""
    return state.model.state_dict() | {f"optimizer.{part.name}.{name}": value for part, name, value in state.optimizer_tensors()}
