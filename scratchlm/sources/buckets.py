"""Posts parted by the question that they belong to, in memory that is bounded: what does not fit waits in a temporary folder."""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path

import zstandard

from scratchlm.units import storage

HELD = 64 * 2**20
"""Bytes of posts in memory before they are put into their buckets' files."""
WIDTH, MOST_BUCKETS = 2**16, 4096
"""Question numbers in a bucket; with more buckets than that, numbers far apart share one."""
MOST_IN_BUCKET = 512 * 2**20
"""Bytes of posts that are joined in memory; those that come after are refused."""
PER_POST = 500
"""Bytes of a post beside its texts: itself, its numbers, and the heads of its strings."""


@dataclass(frozen=True, slots=True)
class Post:
    """A question or an answer."""

    number: int
    question: int
    """Its own number when it is a question."""
    score: int
    accepted: int
    """Of a question: the number of the answer that its author took; 0 when none."""
    date: str
    licence: str
    """As the row states it; empty when it does not."""
    title: str
    tags: str
    body: str

    @property
    def is_question(self) -> bool:
        """Whether it asks."""
        return self.number == self.question

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about."""
        return PER_POST + sum(map(sys.getsizeof, (self.title, self.tags, self.body)))


class Buckets:
    """Posts parted by their question: in memory while they are few, else in a file for each bucket."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[int, list[Post]] = {}
        self._size = 0
        """Bytes of those in memory."""
        self._sizes: Counter[int] = Counter()
        """Bytes of all posts of a bucket."""
        self._stored: set[int] = set()

    def put(self, post: Post) -> bool:
        """Add a post; False when its bucket is full."""
        bucket, size = post.question // WIDTH % MOST_BUCKETS, post.size
        if self._sizes[bucket] + size > MOST_IN_BUCKET:
            return False
        self._held.setdefault(bucket, []).append(post)
        self._sizes[bucket] += size
        self._size += size
        if self._size > HELD:
            self._store()
        return True

    def joined(self) -> Iterator[list[Post]]:
        """The posts of each question, questions in the order of their numbers within a bucket; each post is given once."""
        if self._stored:
            self._store()
        for bucket in sorted(self._stored | set(self._held)):
            posts = self._held.pop(bucket, None) or list(self._load(bucket))
            posts.sort(key=attrgetter("question"))  # stable: posts of one question stay in the order of the file
            start = 0
            for at in range(1, len(posts) + 1):
                if at == len(posts) or posts[at].question != posts[start].question:
                    yield posts[start:at]
                    start = at

    def _store(self) -> None:
        pack = zstandard.ZstdCompressor(level=1)
        for bucket, posts in self._held.items():
            with (self._folder / str(bucket)).open("ab") as file, pack.stream_writer(file) as rows:
                for post in posts:
                    row = json.dumps([getattr(post, name) for name in Post.__slots__], ensure_ascii=False)
                    rows.write(row.encode("utf-8", "surrogatepass") + b"\n")
        self._stored |= set(self._held)
        self._held, self._size = {}, 0

    def _load(self, bucket: int) -> Iterator[Post]:
        path = self._folder / str(bucket)
        with path.open("rb") as packed, zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True) as rows:
            held = b""
            while data := rows.read(2**20):
                *lines, held = (held + data).split(b"\n")
                yield from (Post(*json.loads(line.decode("utf-8", "surrogatepass"))) for line in lines)
        path.unlink()


@contextmanager
def buckets() -> Iterator[Buckets]:
    """Empty ones, and a folder for them as long as they are used."""
    with tempfile.TemporaryDirectory(prefix=storage.temporary()) as folder:
        yield Buckets(Path(folder))
