"""Who would hold what, by formula: the weights of each process of a layout, from shapes alone, before any of them exists."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from scratchlm.model import cost
from scratchlm.model.anatomy import FLOAT_BYTES, HALF_BYTES, Manner
from scratchlm.model.architectures import ARCHITECTURES, AnyConfig, Model, shape_only
from scratchlm.model.stretch import AT_THE_END
from scratchlm.optim.groups import hidden_matrix
from scratchlm.parallel.layout import Layout
from scratchlm.parallel.pipeline import cut_evenly, places
from scratchlm.parallel.tensor import cut_of

PERIOD = 2
"""Blocks that may differ from each other before the first of them comes again: `swift` has value embeddings in every second."""
EVEN = ("columns", "columns of three", "expert columns")


@dataclass(frozen=True)
class Parameter:
    """A parameter as a table: ``rows`` of ``width`` numbers; a vector has a number in each row."""

    rows: int
    width: int
    cut: str | None
    """What the SHARDING table says of its module."""
    bank: bool
    """Whether it is an expert's."""
    hidden: bool
    """Whether Muon takes it."""

    def fits(self, tensor: int) -> bool:
        """Whether ``tensor`` processes can share it out."""
        if self.cut in EVEN:
            return self.rows % (3 * tensor if self.cut == "columns of three" else tensor) == 0
        return self.cut not in ("rows", "expert rows", "channels") or self.width == 1 or self.width % tensor == 0

    def on(self, tensor: int) -> tuple[int, int]:
        """Rows and width at the first of ``tensor`` processes that share matrices out: none of the others has more."""
        if self.cut in EVEN:
            return self.rows // tensor, self.width
        if self.cut in ("rows", "expert rows") and self.width > 1:
            return self.rows, self.width // tensor
        if self.cut == "channels":
            return self.rows, self.width // tensor
        return -(-self.rows // tensor) if self.cut == "vocabulary" else self.rows, self.width


class Numbers(NamedTuple):
    """Of the parameters of a unit that is gathered and forgotten as one, at one process."""

    whole: int = 0
    """Before they are cut among those that see other rows,"""
    own: int = 0
    """and what stays then: of each parameter as many rows as of any other process, though the last may lack some."""
    gathered: int = 0
    """Of ``whole``, what is cut and comes together again to be used."""
    sent: int = 0
    """The same as it comes, with rows that fill the last process's part up,"""
    received: int = 0
    """and of that what comes from others."""
    hidden: int = 0
    """Of ``own``, what Muon takes."""
    matrices: int = 0
    """Of ``whole``, what is multiplied."""


@dataclass(frozen=True)
class Stage:
    """What one process of a pipeline has, or the only one: blocks by their numbers, and whether the ends are among them."""

    spans: tuple[range, ...]
    first: bool
    last: bool

    @property
    def layers(self) -> int:
        return sum(map(len, self.spans))


@dataclass(frozen=True)
class Weights:
    """Numbers at one process."""

    block: Numbers
    """Of its largest block, its experts included,"""
    ends: Numbers
    """of what stands beside the blocks,"""
    blocks: Numbers
    """of all blocks,"""
    all_: Numbers
    """and all together."""


Among = tuple[int, int, int]
"""Processes that share matrices out, those that weights are cut among, and those of them that keep experts to themselves."""


class Outline:
    """A model's parameters as shapes, and what was reckoned from them before."""

    def __init__(self, config: AnyConfig) -> None:
        few = shape_only(config.model_copy(update={"layers": min(PERIOD, config.layers)}))
        self.config, self.anatomy, self.lookback = config, cost.anatomy(config), few.lookback
        self.parameters = parameters(few)
        self._numbers: dict[tuple[str, Among], Numbers] = {}
        self._stages: dict[tuple[int, int, str], Sequence[Stage]] = {}
        self._weights: dict[tuple[Stage, Among], Weights] = {}

    def even(self, tensor: int) -> bool:
        """Whether so many processes can share every matrix out."""
        return all(one.fits(tensor) for place in self.parameters.values() for one in place)

    def numbers(self, place: str, among: Among) -> Numbers:
        """Of a block of a period or an end."""
        if (place, among) not in self._numbers:
            self._numbers[place, among] = together(_numbers(one, count, *among) for one, count in self.parameters[place].items())
        return self._numbers[place, among]

    def stages(self, pipeline: int, each: int, schedule: str) -> Sequence[Stage]:
        """Those of a pipeline, as ``spans.spans_of`` cuts them; UsageError where there are too few layers."""
        key = pipeline, each, schedule
        if key not in self._stages:
            self._stages[key] = self._cut(*key) if pipeline > 1 else [Stage((range(self.config.layers),), first=True, last=True)]
        return self._stages[key]

    def weights(self, stage: Stage, among: Among) -> Weights:
        """What a process holds of them that has ``stage``."""
        if (stage, among) not in self._weights:
            period = [self.numbers(str(turn), among) for turn in range(min(PERIOD, self.config.layers))]
            turns = Counter(layer % PERIOD for span in stage.spans for layer in span)
            ends = [self.numbers(end, among) for end, here in (("begin", stage.first), ("end", stage.last)) if here]
            if stage.last and not stage.first and self.anatomy.tied:  # the head is the embedding, which a pipeline has at both ends
                table = Parameter(self.config.vocab, self.config.width, "vocabulary", bank=False, hidden=False)
                ends.append(_numbers(table, 1, *among))
            blocks = [times(period[turn], count) for turn, count in turns.items()]
            largest = max((period[turn] for turn in turns), key=lambda block: block.whole)
            self._weights[stage, among] = Weights(largest, together(ends), together(blocks), together([*blocks, *ends]))
        return self._weights[stage, among]

    def _cut(self, pipeline: int, each: int, schedule: str) -> Sequence[Stage]:
        layers, last = self.config.layers, pipeline * each - 1
        layer = (self.anatomy.matrices + self.anatomy.idle) / layers
        cuts = cut_evenly([layer] * layers, float(self.anatomy.head), last + 1)
        owned = [places(rank, pipeline, each, schedule) for rank in range(pipeline)]
        return [Stage(tuple(cuts[n] for n in here), first=0 in here, last=last in here) for here in owned]


def parameters(model: Model) -> Mapping[str, Counter[Parameter]]:
    """Those of each block, under its number, and of the ``begin`` and the ``end``; how often each is there.

    A head that is the embedding counts at the beginning.
    """
    sharding = ARCHITECTURES[model.config.kind].SHARDING
    found: dict[str, Counter[Parameter]] = defaultdict(Counter)
    for name, parameter in model.named_parameters():
        path, first = name.rpartition(".")[0], name.partition(".")[0]
        cut = cut_of(path, sharding)
        place = name.split(".")[1] if first == "layers" else "end" if first in AT_THE_END else "begin"
        rows, width = parameter.shape if parameter.ndim == 2 else (parameter.numel(), 1)
        found[place][Parameter(rows, width, cut, ".experts." in name, hidden_matrix(name, parameter))] += 1
    return found


def _numbers(one: Parameter, count: int, tensor: int, cut: int, expert: int) -> Numbers:
    """Of so many parameters of a shape, where ``expert`` of the processes that weights are cut among keep experts to themselves."""
    (rows, width), among = one.on(tensor), cut // expert if one.bank else cut
    whole, own = rows * width, -(-rows // among) * width
    travels = (whole, own * among, own * (among - 1)) if among > 1 else (0, 0, 0)
    each = Numbers(whole, own, *travels, own if one.hidden else 0, whole if one.width > 1 else 0)
    return times(each, count // expert if one.bank else count)


def times(numbers: Numbers, count: int) -> Numbers:
    """Of so many like it."""
    return Numbers(*(count * number for number in numbers))


def together(all_: Iterable[Numbers]) -> Numbers:
    """Of several units."""
    return Numbers(*map(sum, zip(Numbers(), *all_, strict=True)))


@dataclass(frozen=True)
class Division:
    """A model and a step of it, divided."""

    outline: Outline
    layout: Layout
    sizes: Mapping[str, int]
    """Processes along each axis."""
    rows: int
    """Of a micro-batch of one process."""
    micro_batches: int
    """Of a step of one process."""
    half: bool
    """Whether products are in bfloat16."""
    gpu: bool

    @property
    def config(self) -> AnyConfig:
        return self.outline.config

    @cached_property
    def cut(self) -> int:
        """Processes that weights are cut among."""
        return self.sizes["expert"] * self.sizes["shard"] * self.sizes["context"]

    @property
    def piped(self) -> bool:
        """Whether layers are shared out."""
        return self.sizes["pipeline"] > 1

    @cached_property
    def how(self) -> Manner:
        """How a micro-batch is computed."""
        layout, sizes = self.layout, self.sizes
        light = self.half and self.cut > 1 and layout.gathered == "bfloat16"
        by_heads = sizes["context"] > 1 and layout.context_by == "ulysses"
        return Manner(sizes["tensor"], sizes["expert"], sizes["context"], by_heads, layout.recompute, self.half, light, self.gpu)

    @cached_property
    def positions(self) -> int:
        """Of a micro-batch of one process, those of its neighbours along the tensor axis included."""
        return self.rows * self.config.context // self.sizes["context"]

    @cached_property
    def stream_bytes(self) -> float:
        """Of a micro-batch of one process, between two blocks."""
        return self.positions * self.outline.anatomy.carried * (HALF_BYTES if self.how.light else FLOAT_BYTES) / self.sizes["tensor"]

    @cached_property
    def stages(self) -> Sequence[Stage]:
        """What each process of the pipeline has."""
        return self.outline.stages(self.sizes["pipeline"], self.layout.spans_each, self.layout.schedule)

    def weights(self, rank: int) -> Weights:
        """What a process of a place in the pipeline holds of them."""
        return self.outline.weights(self.stages[rank], (self.sizes["tensor"], self.cut, self.sizes["expert"]))
