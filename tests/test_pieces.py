"""What some processes saved others read, however either share the model out: every number comes to its place, or is missed in words."""

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import parted
import pytest
import torch
from crowd import Crowd
from hypothesis import given, settings
from hypothesis import strategies as st
from parted import DIVISIONS, SHAPES, kept, numbers
from safetensors.torch import load_file
from test_resume import cut, flip
from torch import nn

from scratchlm.core.errors import ArtifactError
from scratchlm.parallel.parts import Part, Piece, assembled, named, whole, whole_piece
from scratchlm.parallel.world import World
from scratchlm.train import pieces


@pytest.fixture(scope="module")
def four() -> Iterator[Crowd]:
    """Four processes."""
    crowd = Crowd(4)
    yield crowd
    crowd.end()


@pytest.fixture(scope="module")
def checkpoints(four: Crowd, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What each division of the work left."""
    paths = {division: tmp_path_factory.mktemp("checkpoints") for division in DIVISIONS}
    for division, path in paths.items():
        assert four.run(parted.saved, division, path, [7]) == [None] * 4
    return {division: path / "step-00000007" for division, path in paths.items()}


@pytest.mark.parametrize("division", DIVISIONS)
def test_what_any_division_saved_every_division_reads(division: str, four: Crowd, checkpoints: dict[str, Path]):
    for other, path in checkpoints.items():
        found = [each for each in four.run(parted.read_again, division, path.parent) if each is not None]
        assert [(wrong, step) for wrong, _, step, _ in found] == [([], 7)] * prod(DIVISIONS[division].values()), other
        assert {rows for *_, rows in found} == {3 if other == division else 64}


@pytest.mark.parametrize("division", DIVISIONS)
def test_the_main_process_gets_every_parameter_whole(division: str, four: Crowd):
    main, *others = [each for each in four.run(parted.brought_together, division) if each is not None]
    assert sorted(main) == [(name, True) for name in sorted(SHAPES)]
    assert others == [[(name, None) for name, _ in main]] * len(others)


def test_every_number_is_written_once(checkpoints: dict[str, Path]):
    for path in checkpoints.values():
        files = [load_file(file) for file in path.glob("part-*")]
        for entry in ("", ":exp_avg"):
            names = [name for name in SHAPES if not entry or not name.startswith("layers.0")]
            written = sum(file[name + entry].numel() for file in files for name in names if name + entry in file)
            assert written == sum(prod(SHAPES[name]) for name in names)
    assert sorted(file.name[:10] for file in checkpoints["layers and copies"].glob("part-*")) == ["part-00000", "part-00002"]


def test_where_all_is_in_ones_own_file_no_other_is_opened(four: Crowd, checkpoints: dict[str, Path]):
    assert all(four.run(parted.own_file_enough, checkpoints["four by rows"]))


@pytest.mark.parametrize("damage", [flip, cut, Path.unlink])
def test_damage_to_one_process_s_file_is_named_to_all(damage: Callable[[Path], None], four: Crowd, tmp_path: Path):
    four.run(parted.saved, "rows and matrices", tmp_path, [3, 4])
    damage(tmp_path / "step-00000004" / "part-00002-of-00004.safetensors")
    for wrong, (damaged, resumed), step, _ in four.run(parted.read_again, "four by rows", tmp_path):
        assert (wrong, damaged["event"], resumed["event"], step) == ([], "damaged", "resumed", 3)
        assert damaged["fault"].startswith("part-00002-of-00004.safetensors is")


def test_where_one_cannot_write_all_end_and_nothing_looks_whole(four: Crowd, tmp_path: Path):
    pytest.importorskip("resource", reason="no limit on the size of files here")
    four.run(parted.saved, "four by rows", tmp_path, [3])
    (said,) = set(four.run(parted.saved, "four by rows", tmp_path, [4], {2: 1000}))
    assert "step-00000004.partial: process 2 cannot work here (" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000004.partial"]
    assert [step for _, _, step, _ in four.run(parted.read_again, "four by rows", tmp_path)] == [3] * 4
    assert four.run(parted.saved, "two by matrices", tmp_path, [4]) == [None] * 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000004"]
    assert sorted(file.name for file in (tmp_path / "step-00000004").glob("part-*")) == [
        f"part-0000{rank}-of-00002.safetensors" for rank in (0, 1)
    ]


def test_folders_that_are_not_shared_are_told_of(four: Crowd, tmp_path: Path):
    (said,) = set(four.run(parted.saved_apart, tmp_path))
    assert "part-00001-of-00004.safetensors: process 1 wrote it, and process 0 does not see it." in said
    assert not list(tmp_path.glob("*/step-00000007"))


def test_a_parameter_too_many_is_named_by_all(four: Crowd, checkpoints: dict[str, Path]):
    names = [name for name in SHAPES if name != "head.weight"]
    (said,) = set(four.run(parted.refused, checkpoints["one"].parent, "layers and copies", names))
    assert "state.json: 'head.weight' is of shape [10, 5] in this checkpoint and absent in this run's model." in said


def test_when_a_checkpoint_is_due_the_main_process_says(four: Crowd, tmp_path: Path):
    assert four.run(parted.due, tmp_path) == [[True, False, True]] * 4


def test_a_number_without_an_owner_or_with_two_is_no_whole_model():
    everything = whole("norm.weight", nn.Parameter(torch.ones(5)))
    half = Part(everything.name, everything.shape, everything.own, (Piece(((0, 3),), ((0, 3),)),))
    assert named([everything], World()) == {"norm.weight": [5]}
    for parts in ([half], [everything, half]):
        with pytest.raises(AssertionError, match="has no owner, or two"):
            named(parts, World())
    with pytest.raises(AssertionError, match="has no owner, or two"):
        list(assembled([half], World()))


def test_what_is_in_no_file_is_named(tmp_path: Path):
    name, (rows, columns) = "head.weight", SHAPES["head.weight"]
    own, held = kept(numbers(name), whole_piece((rows, columns)), 0, [(0, 4), (6, 10)])
    pieces.write(tmp_path / "part", [Part(name, torch.Size((rows, columns)), nn.Parameter(own), held)], [])
    with pytest.raises(ArtifactError, match=r"^'head\.weight': its numbers \[4:6, 0:5\] are in no file of the checkpoint\. .* --again\.$"):
        pieces.fill_([whole(name, nn.Parameter(torch.zeros(rows, columns)))], [tmp_path / "part"])


Cuts = list[tuple[int, int, list[int]]]
"""One after the other: the dim that is cut, among how many processes, and at which borders."""
CUTS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.lists(st.integers(0, 7), max_size=5)), max_size=3)


def divided_by(cuts: Cuts, shape: tuple[int, ...]) -> list[Part]:
    """All numbers of a tensor among some processes: each share is cut into stretches, which are dealt out."""
    shares = [(torch.arange(float(prod(shape))).view(shape), whole_piece(shape))]
    for dim, count, borders in cuts if shape else []:
        finer = []
        for own, held in shares:
            size = own.shape[dim % len(shape)]
            stretches = list(pairwise([0, *sorted(min(border, size) for border in borders), size]))
            finer += [kept(own, held, dim % len(shape), stretches[place::count] or [(0, 0)]) for place in range(count)]
        shares = finer
    return [Part("weight", torch.Size(shape), nn.Parameter(own.clone()), held) for own, held in shares]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(1, 7), max_size=3).map(tuple), CUTS, CUTS)
def test_whoever_held_the_numbers_whoever_asks_gets_them(shape: tuple[int, ...], by_some: Cuts, by_others: Cuts):
    before, after = divided_by(by_some, shape), divided_by(by_others, shape)
    with TemporaryDirectory() as folder:
        files = [Path(folder) / str(place) for place in range(len(before))]
        written = [file for file, part in zip(files, before, strict=True) if pieces.write(file, [part], remembered(part))]
        for part in after:
            should, part.own.data = part.own.detach(), torch.zeros_like(part.own)
            found = {entry: tensor for _, entry, tensor in pieces.fill_([part], written)}
            assert torch.equal(part.own, should)
            assert torch.equal(found["momentum"], should + 0.5)
            assert float(found["step"]) == 7


def remembered(part: Part) -> list[pieces.Remembered]:
    return [(part, "momentum", part.own.detach() + 0.5), (part, "step", torch.tensor(7.0))]
