"""Repositories among the files below a folder: where each starts, what it is under, and which commit it is at.

A folder is a repository when it has a ``.git`` entry, or when most of its files are source code. Names are those of ``Input``, so that a
folder on this machine, an object store and an archive are looked at alike. Of ``.git`` only the commit and the origin's address are read.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import quote

from scratchlm.sources import licence
from scratchlm.sources.languages import is_foreign, language_of

FEWEST, SHARE = 3, 0.5
"""Source files that a folder without ``.git`` must have to be a repository, and their least share of all its files."""
COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
ORIGIN = re.compile(r"\[remote \"origin\"\][^\[]{0,2000}?\burl[ \t]{0,9}=[ \t]{0,9}(\S{1,500})")
ADDRESS = re.compile(r"(?:(?:https?|ssh|git)://(?:[^@/]{1,200}@)?|[\w.-]{1,50}@)([\w.-]{1,200})(?::\d{1,5})?[:/](\S{1,300}?)(?:\.git)?/?")
SHOWING = {"github.com": "blob", "gitlab.com": "-/blob", "codeberg.org": "src/commit"}
"""Hosts that show a file of a commit in a browser, and the word in its address."""

Read = Callable[[str], bytes | None]
"""The first bytes of a small file below the folder, by its name; None when there is none."""


@dataclass(frozen=True)
class Repository:
    """One checkout, or a folder that is like one."""

    root: str
    """The name of its folder; empty when it is the whole."""
    name: str
    """The group of its documents."""
    licences: Mapping[str, tuple[str, str]]
    """SPDX name and evidence by folder, for those that say something and lie in no repository within this one."""
    origin: str = ""
    """``https://github.com/owner/name``; without the secrets that addresses may hold."""
    commit: str = ""

    def path(self, name: str) -> str:
        """A file's name within the repository."""
        return name[len(self.root) + 1 :] if self.root else name

    def licence(self, name: str) -> tuple[str, str]:
        """What the nearest folder upwards of the file says, up to the root."""
        folder = name.rpartition("/")[0]
        while True:
            if found := self.licences.get(folder):
                where = self.path(folder + "/") if folder and folder != self.root else ""
                return found[0], where + found[1]
            if folder == self.root or not folder:
                return licence.UNKNOWN
            folder = folder.rpartition("/")[0]

    def facts(self, name: str) -> dict[str, str | int | float | None]:
        """What any file in it inherits: group, licence and evidence, and its address where its host shows one."""
        spdx, evidence = self.licence(name)
        facts: dict[str, str | int | float | None] = {"host": self.name, "licence": spdx, "licence_evidence": evidence}
        word = SHOWING.get(self.origin.removeprefix("https://").partition("/")[0])
        if word and self.commit:
            facts["url"] = f"{self.origin}/{word}/{self.commit}/{quote(self.path(name))}"
        return facts

    @cached_property
    def about(self) -> dict[str, str]:
        """What documents carry in ``extra``."""
        return {key: value for key, value in (("repository", self.origin or self.name), ("commit", self.commit)) if value}


def find(names: Iterable[str], read: Read, *, whole: str) -> list[Repository]:
    """The repositories among the files ``names``, ``.git/HEAD`` and ``.git`` files among them; ``whole`` is what the folder is called.

    No repository is found in what another one brought along (``node_modules``, ``vendor``). They are in the order of their roots.
    """
    listed = sorted(names)
    roots = {root for name in listed if (root := _marked(name)) is not None and not is_foreign(root)}
    plain = [name for name in listed if ".git" not in name.split("/")]
    roots |= _like_checkouts(plain, roots)
    inside: defaultdict[str, dict[str, tuple[str, str]]] = defaultdict(dict)
    for folder, said in _licences(plain, read).items():
        if (root := next((above for above in _upwards(folder) if above in roots), None)) is not None:
            inside[root][folder] = said
    found = []
    for root in sorted(roots):
        origin, commit = _head(root, read)
        found.append(Repository(root, root or whole, inside[root], origin, commit))
    return found


def holding(name: str, repositories: Sequence[Repository]) -> Repository | None:
    """The innermost of the repositories, in the order of their roots, that a file lies in."""
    for folder in _upwards(name.rpartition("/")[0]):
        place = bisect_left(repositories, folder, key=lambda repository: repository.root)
        if place < len(repositories) and repositories[place].root == folder:
            return repositories[place]
    return None


def around(names: Iterable[str], repositories: Sequence[Repository]) -> list[Repository]:
    """Those of the repositories, in the order of their roots, that any of the files lies in: all that a reader of these files asks for."""
    found = (holding(name, repositories) for name in names)
    return sorted({one.root: one for one in found if one}.values(), key=lambda one: one.root)


def _upwards(folder: str) -> Iterator[str]:
    """A folder and those it lies in, the innermost first, the whole last."""
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
    yield ""


def _marked(name: str) -> str | None:
    """The folder whose ``.git`` this is: a folder with a HEAD, or in a worktree a file."""
    for mark in (".git/HEAD", ".git"):
        if name == mark or name.endswith("/" + mark):
            return name[: -len(mark)].rstrip("/")
    return None


def _like_checkouts(names: list[str], roots: set[str]) -> set[str]:
    """Top folders, or else the whole, that hold mostly source code and no marked repository."""
    inside: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        top, slash, _ = name.partition("/")
        inside[top if slash else ""].append(name)

    def is_code(files: list[str]) -> bool:
        sources = sum(language_of(name) is not None for name in files)
        return sources >= FEWEST and sources > SHARE * len(files)

    marked = {root.partition("/")[0] for root in roots}
    if "" in roots or (is_code(names) and not roots and any(licence.is_file(name) or language_of(name) for name in inside[""])):
        return set() if "" in roots else {""}
    return {top for top, files in inside.items() if top and top not in marked and is_code(files)}


def _licences(names: list[str], read: Read) -> dict[str, tuple[str, str]]:
    """What each folder says of its licence, where it says anything."""
    speaking: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        folder, _, base = name.rpartition("/")
        if (licence.is_file(base) or base in licence.METADATA) and not is_foreign(folder):
            speaking[folder].append(base)
    found = {}
    for folder, bases in speaking.items():
        said = licence.of_listing(bases, lambda base, folder=folder: read(f"{folder}/{base}" if folder else base) or b"")
        if said != licence.UNKNOWN:
            found[folder] = said
    return found


def _head(root: str, read: Read) -> tuple[str, str]:
    """Address of the origin and commit; empty where ``.git`` does not tell."""
    git = f"{root}/.git/" if root else ".git/"

    def text(name: str) -> str:
        return (read(git + name) or b"").decode("utf-8", "replace")

    commit = text("HEAD").strip()
    if commit.startswith("ref:"):
        branch = commit[4:].strip()
        is_plain = bool(re.fullmatch(r"refs/[\w./-]{1,200}", branch)) and ".." not in branch
        packed = re.search(rf"^(\w{{40,64}}) {re.escape(branch)}$", text("packed-refs"), re.MULTILINE)
        commit = (text(branch).strip() if is_plain else "") or (packed.group(1) if packed else "")
    match = ORIGIN.search(text("config"))
    address = ADDRESS.fullmatch(match.group(1)) if match else None
    return f"https://{address.group(1)}/{address.group(2)}" if address else "", commit if COMMIT.fullmatch(commit) else ""
