"""Public corpora that can be fetched by name, each pinned to one version of its files.

The addresses, licences and columns were taken from the corpora's pages and published listings at these versions; they were not fetched when
this was written. A hash stands here where several independent users of the same file state it; for the others the hash found at the first
download is kept beside the file and holds from then on.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from scratchlm.core.config import nearest
from scratchlm.core.errors import UsageError
from scratchlm.web.download import PATIENT, Wanted, fetch_all
from scratchlm.web.transfer import Patience, Progress

HUB = "https://huggingface.co/datasets"


@dataclass(frozen=True, slots=True)
class Files:
    """Files whose addresses differ in a number, or one file."""

    url: str
    """With ``{}``, formatted with the number, where there are several."""
    name: str
    """Of the file on this machine, formatted like the address; its ending names the reader."""
    count: int = 1
    sha256: Mapping[int, str] = field(default_factory=dict)
    """Of those whose hash is known, by their number."""
    size_bytes: Mapping[int, int] = field(default_factory=dict)

    def wanted(self, folder: Path) -> list[Wanted]:
        """What is to be fetched into ``folder``."""
        numbers = range(self.count)
        return [Wanted(self.url.format(n), folder / self.name.format(n), self.sha256.get(n), self.size_bytes.get(n)) for n in numbers]


@dataclass(frozen=True, slots=True)
class Dataset:
    """A row of ``DATASETS``."""

    title: str
    licence: str
    """SPDX, or what its page says."""
    licence_evidence: str
    home: str
    files: tuple[Files, ...]
    columns: Mapping[str, str]
    """Our column by theirs; a dot leads into a nested one."""
    doc_type: str
    lang: str | None = None
    """Of all documents, where no column says it."""

    def facts(self) -> dict[str, str]:
        """What holds of each of its documents that does not say it of itself."""
        own = {"licence": self.licence, "licence_evidence": self.licence_evidence, "doc_type": self.doc_type}
        return own | ({"lang": self.lang} if self.lang else {})


DATASETS: dict[str, Dataset] = {
    # The parts are named in the listing of this version: four for training and one for validation, 1.0 GB.
    "tinystories": Dataset(
        title="TinyStories: short stories in the words of a small child, written by GPT-3.5 and GPT-4",
        licence="CDLA-Sharing-1.0",
        licence_evidence="dataset card",
        home=f"{HUB}/roneneldan/TinyStories",
        files=tuple(
            Files(f"{HUB}/roneneldan/TinyStories/resolve/f54c09fd23315a6f9c86f9dc80f725de7d8f9c64/data/{name}", name)
            for name in (
                "train-00000-of-00004-2d5a1467fff1081b.parquet",
                "train-00001-of-00004-5852b56a2bd28fd9.parquet",
                "train-00002-of-00004-a26307300439e943.parquet",
                "train-00003-of-00004-d243063613e5a057.parquet",
                "validation-00000-of-00001-869c898b519ad725.parquet",
            )
        ),
        columns={"text": "text"},
        doc_type="book",
        lang="en",
    ),
    # Fourteen files in the listing, 28.5 GB together; fetch the first few of them.
    "fineweb-edu": Dataset(
        title="FineWeb-Edu, sample of 10 billion tokens: web pages that a classifier found instructive",
        licence="ODC-By-1.0",
        licence_evidence="dataset card; use is also subject to Common Crawl's terms",
        home=f"{HUB}/HuggingFaceFW/fineweb-edu",
        files=(
            Files(
                f"{HUB}/HuggingFaceFW/fineweb-edu/resolve/87f09149ef4734204d70ed1d046ddc9ca3f2b8f9/sample/10BT/{{:03d}}_00000.parquet",
                "{:03d}_00000.parquet",
                14,
                {13: "b393f51fefab26cd6f4c8f65707c1924f6666c4961a0ebebe04bb57f7ec832de"},
                {13: 540_632_672},
            ),
        ),
        columns={"text": "text", "url": "url", "lang": "language", "lang_score": "language_score", "score": "score"},
        doc_type="web",
    ),
    # The count is in the names of the files; 11.6 GB.
    "wikipedia": Dataset(
        title="Wikipedia in English, 1 November 2023, as plain text",
        licence="CC-BY-SA-3.0",
        licence_evidence="dataset card, which names the GFDL too",
        home=f"{HUB}/wikimedia/wikipedia",
        files=(
            Files(
                f"{HUB}/wikimedia/wikipedia/resolve/b04c8d1ceb2f5cd4588862100d08de323dccfbaa/20231101.en/train-{{:05d}}-of-00041.parquet",
                "train-{:05d}-of-00041.parquet",
                41,
                {0: "382e7f6f09e488b24793a7f7cfc659879d5a22da2cf2efec6491665f0c019677"},
                {0: 420_296_449},
            ),
        ),
        columns={"text": "text", "url": "url", "title": "title"},
        doc_type="wiki",
        lang="en",
    ),
    "wikipedia-simple": Dataset(
        title="Wikipedia in Simple English, 1 November 2023, as plain text",
        licence="CC-BY-SA-3.0",
        licence_evidence="dataset card, which names the GFDL too",
        home=f"{HUB}/wikimedia/wikipedia",
        files=(
            Files(
                f"{HUB}/wikimedia/wikipedia/resolve/b04c8d1ceb2f5cd4588862100d08de323dccfbaa/20231101.simple/train-00000-of-00001.parquet",
                "train-00000-of-00001.parquet",
                1,
                {0: "31bded16768a47c286becd292079122f5d7d4397a17b87d4250a00ccd581e6f0"},
                {0: 156_885_218},
            ),
        ),
        columns={"text": "text", "url": "url", "title": "title"},
        doc_type="wiki",
        lang="en",
    ),
    # 95 files, 83 GB packed, by several users of this version; its own listing was not seen. Files of one language lie together.
    "stack-edu": Dataset(
        title="The Stack v2, instructive part, only from repositories under licences of the Blue Oak Council's list (Common Pile)",
        licence="unknown",
        licence_evidence="column metadata.license of each, detected by the makers of The Stack v2; their page warns of errors",
        home=f"{HUB}/common-pile/stackv2_edu_filtered",
        files=(
            Files(
                f"{HUB}/common-pile/stackv2_edu_filtered/resolve/c354dbe88469a1153e97c6a63ac50591849654de/stack-edu-{{:04d}}.json.gz",
                "stack-edu-{:04d}.jsonl.gz",
                95,
            ),
        ),
        columns={"text": "text", "licence": "metadata.license", "host": "metadata.repo_name", "title": "metadata.path"},
        doc_type="code",
    ),
    # Files 0000 to 0014 are named by users of this version; whether there are more was not seen.
    "gutenberg": Dataset(
        title="Project Gutenberg, English books (Common Pile)",
        licence="public domain in the USA",
        licence_evidence="column metadata.license, from Project Gutenberg's catalogue",
        home=f"{HUB}/common-pile/project_gutenberg_filtered",
        files=(
            Files(
                f"{HUB}/common-pile/project_gutenberg_filtered/resolve/3cdf6879c807f4e4e063f2ceb23bc268d8c29ab7/"
                "project_gutenberg-dolma-{:04d}.json.gz",
                "project_gutenberg-{:04d}.jsonl.gz",
                15,
            ),
        ),
        columns={
            "text": "text",
            "url": "metadata.url",
            "title": "metadata.title",
            "lang": "metadata.language",
            "licence": "metadata.license",
        },
        doc_type="book",
        lang="en",
    ),
}


def wanted(name: str, folder: Path, most_files: int | None = None) -> list[Wanted]:
    """The files of a dataset, each with its place below ``folder``; UsageError when there is no such dataset."""
    if name not in DATASETS:
        raise UsageError(f"'{name}': no such dataset.{nearest(name, DATASETS)}")
    return [one for files in DATASETS[name].files for one in files.wanted(folder / name)][:most_files]


def fetch(
    name: str,
    folder: Path,
    *,
    most_files: int | None = None,
    parallel: int = 2,
    patience: Patience = PATIENT,
    progress: Progress = lambda name, done, total: None,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Path]:
    """Paths of the files of a dataset below ``folder``, or of its first ``most_files``; those that are there already are only checked.

    UsageError when there is no such dataset; DataError when a file cannot be had; ArtifactError when one has changed since it was fetched.
    """
    return fetch_all(wanted(name, folder, most_files), parallel=parallel, patience=patience, progress=progress, sleep=sleep)
