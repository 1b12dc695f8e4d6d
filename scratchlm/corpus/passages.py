"""Repeated passages as map and reduce: marks of all texts meet, the text around those that meet is compared, places to cut travel back.

Texts are read three times, run by run. On disk a byte of text costs .7 byte of marks, and six more where it stands twice. Documents of any
size take part. What `substrings` says of crowded marks is counted: ``crowded``, and ``apart``, the places that were not all compared.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scratchlm.core.records import Document
from scratchlm.corpus import cuts, substrings
from scratchlm.corpus.minhash import mix
from scratchlm.corpus.places import begins, bucket_of
from scratchlm.corpus.runs import documents_in, given
from scratchlm.corpus.selection import back
from scratchlm.corpus.steps import moved, spans_of, structure_of
from scratchlm.units.desk import Desk
from scratchlm.units.shuffle import read_bucket, write_buckets

Facts = Mapping[str, Any]
MARKS = pa.schema([("mark", pa.uint64()), ("place", pa.int64()), ("start", pa.int64()), ("run", pa.int32())])
"""Where in a document's bytes a mark begins."""
ASKED = pa.schema([*MARKS, pa.field("part", pa.int64())])
"""Marks that stand twice or more; ``part``: with which of the others of a crowded mark one is compared."""
PIECES = pa.schema([*ASKED, pa.field("text", pa.binary())])
"""The bytes around a mark, which begin at ``start``."""
RUNS = pa.schema([("place", pa.int64()), ("run", pa.int32()), ("start", pa.int64()), ("end", pa.int64())])
"""Bytes of a document that are repeated."""
SPANS = pa.schema([("row", pa.int64()), ("doc_id", pa.string()), ("op", pa.string()), ("start", pa.int64()), ("end", pa.int64())])
FILE_BYTES, AT_ONCE = 2**25, 2**12
"""What a map holds before it writes it; and marks of one text whose pieces are made at once."""
APART = 2**40
"""Between two documents in the numbers that say where a byte stands in the corpus; no document has so many bytes."""


@dataclass(frozen=True)
class Text:
    """A document that is left, as passages are sought in it: without its common lines."""

    file: int
    row: int
    place: int
    document: Document
    common: list[cuts.Span]
    text: str


def texts(desk: Desk, config: Facts) -> Iterator[list[Text]]:
    """The documents of a run that are left, in batches. Inputs: ``texts``, ``attributes``, ``left``."""
    files = given(desk, config)
    left, row = desk.array(files["left"][0])[:], 0
    for number, (url, table, groups) in enumerate(zip(files["texts"], files["attributes"], config["groups"], strict=True)):
        cut = desk.table(table, ["cuts"])["cuts"]
        first = row
        for batch in documents_in(desk, url, groups):
            found = []
            for document in batch:
                if left[row] >= 0:
                    common = spans_of(cut[row - first].as_py())
                    own = cuts.apply(document.text, common)
                    found.append(Text(number, int(config["first_row"]) + row, int(left[row]), document, common, own))
                row += 1
            yield found


def encoded(text: Text) -> bytes:
    """The bytes in which passages are sought."""
    return text.text.encode("utf-8", "surrogatepass")


class Sent:
    """Rows on their way to buckets, written to a file of their own whenever so many bytes are together."""

    def __init__(self, desk: Desk, name: str, buckets: int, most: int) -> None:
        self._desk, self._name, self._buckets, self._most = desk, name, buckets, most
        self._parts: list[tuple[np.ndarray, pa.Table]] = []
        self._bytes = self._files = self.rows = 0

    def add(self, keys: np.ndarray, table: pa.Table) -> None:
        """Rows and the keys of their buckets."""
        self._parts.append((keys, table))
        self._bytes += table.nbytes
        self.rows += len(table)
        if self._bytes >= self._most:
            self.flush()

    def flush(self) -> None:
        """Write what is there, be it nothing."""
        keys, table = np.concatenate([keys for keys, _ in self._parts]), pa.concat_tables([part for _, part in self._parts])
        path = self._desk.path(f"{self._name}-{self._files}.parquet")
        write_buckets(path, table, bucket_of(keys, self._buckets), self._buckets)
        self._parts, self._bytes, self._files = [(keys[:0], table.slice(0, 0))], 0, self._files + 1


def mark(desk: Desk, config: Facts) -> Facts:
    """Map: the marks of all texts of a run, in buckets by mark. Inputs: as of `texts`."""
    sent, count = Sent(desk, "marks", int(config["buckets"]), FILE_BYTES), 0
    sent.add(np.zeros(0, np.uint64), MARKS.empty_table())
    for batch in texts(desk, config):
        blobs = list(map(encoded, batch))
        ends = np.cumsum([len(blob) + 1 for blob in blobs], dtype=np.int64) - 1
        at, hashes = substrings.marks(substrings.SEPARATOR.join([*blobs, b""]), ends, int(config["least"]))
        number = np.searchsorted(ends, at)
        place = np.array([text.place for text in batch], dtype=np.int64)[number]
        start = at - np.append(0, ends + 1)[number]
        sent.add(hashes, pa.table([hashes, place, start, np.full(len(at), config["run"], np.int32)], schema=MARKS))
        count += len(batch)
    sent.flush()
    return {"documents": count, "marks": sent.rows}


def meet(desk: Desk, config: Facts) -> Facts:
    """Reduce: the marks of one bucket that stand twice or more, in buckets by run. Inputs: marks of all runs."""
    table = read_bucket(desk.inputs, config["bucket"])
    found, facts = asked(table, substrings.crowd(int(config["least"])))
    write_buckets(desk.path("asked.parquet"), found, found["run"].to_numpy().astype(np.int64), int(config["runs"]))
    return facts


def asked(table: pa.Table, crowd: int) -> tuple[pa.Table, dict[str, int]]:
    """The rows of ``MARKS`` whose mark stands twice, as ``ASKED``; and how many marks are crowded.

    A mark that stands more than ``crowd`` times is asked for in parts of so many rows, an eighth of so many first ones in each of them.
    """
    mark, place, start = (table[name].to_numpy() for name in MARKS.names[:3])
    sort = np.lexsort((start, place, mark))
    first = np.flatnonzero(begins(mark[sort]))
    size = np.diff(first, append=len(sort))
    rank, size = np.arange(len(sort)) - np.repeat(first, size), np.repeat(size, size)
    leaders = max(1, crowd // 8)
    is_crowded = size > crowd + leaders
    rows, parts = [sort[size > 1]], [(np.maximum(0, rank - leaders) // crowd)[size > 1]]
    for at in np.flatnonzero(is_crowded & (rank < leaders)).tolist():
        more = np.arange(1, -(-(int(size[at]) - leaders) // crowd))
        rows.append(np.full(len(more), sort[at]))
        parts.append(more)
    found = table.take(np.concatenate(rows)).append_column("part", pa.array(np.concatenate(parts)))
    facts = {"asked": len(found), "crowded": int(np.count_nonzero(is_crowded & (rank == 0))), "apart": int(np.count_nonzero(is_crowded))}
    return found, facts


def fetch(desk: Desk, config: Facts) -> Facts:
    """Map: the text around the marks of a run that are asked for, in buckets. Inputs: as of `texts`, then ``asked`` of all buckets."""
    table = read_bucket(given(desk, config)["asked"], config["run"]).sort_by([("place", "ascending"), ("start", "ascending")])
    place, starts = table["place"].to_numpy(), table["start"].to_numpy()
    sent = Sent(desk, "pieces", int(config["buckets"]), FILE_BYTES)
    sent.add(np.zeros(0, np.uint64), PIECES.empty_table())
    for batch in texts(desk, config):
        for text in batch:
            low, high = np.searchsorted(place, [text.place, text.place + 1]).tolist()
            for some in range(low, high, AT_ONCE):
                blob, own = encoded(text), table.slice(some, min(AT_ONCE, high - some))
                spans = [substrings.around(start, len(blob), int(config["least"])) for start in starts[some : some + len(own)].tolist()]
                text_of = pa.array([blob[start:end] for start, end in spans], pa.binary())
                own = own.set_column(2, "start", pa.array([start for start, _ in spans], pa.int64())).append_column("text", text_of)
                sent.add(mix(own["mark"].to_numpy() ^ mix(own["part"].to_numpy().astype(np.uint64))), own.cast(PIECES))
    sent.flush()
    return {"pieces": sent.rows}


def search(desk: Desk, config: Facts) -> Facts:
    """Reduce: what of the pieces of one bucket is repeated, in buckets by run. Inputs: pieces of all runs."""
    by = [(name, "ascending") for name in ("mark", "part", "place", "start")]
    table = read_bucket(desk.inputs, config["bucket"]).sort_by(by)
    found = [compared(part, int(config["least"])) for part in _groups(table)]
    spans = pa.concat_tables([RUNS.empty_table(), *found])
    write_buckets(desk.path("runs.parquet"), spans, spans["run"].to_numpy().astype(np.int64), int(config["runs"]))
    return {"runs": len(spans)}


def _groups(table: pa.Table) -> Iterator[pa.Table]:
    """The pieces in parts of at most ``SEARCHED`` bytes, or of one group of equal marks."""
    edges = np.append(np.flatnonzero(begins(table["mark"].to_numpy(), table["part"].to_numpy())), len(table))
    filled = np.append(0, np.cumsum(pc.call_function("binary_length", [table["text"]]).to_numpy() + 1))[edges]
    group = 0
    while group < len(edges) - 1:
        end = max(group + 1, int(np.searchsorted(filled, filled[group] + substrings.SEARCHED, side="right")) - 1)
        yield table.slice(edges[group], edges[end] - edges[group])
        group = end


def compared(pieces: pa.Table, least: int) -> pa.Table:
    """The repeated bytes of some pieces, sorted by place and start, as ``RUNS``, each stretch once."""
    places, number = np.unique(pieces["place"].to_numpy(), return_inverse=True)
    start, run = pieces["start"].to_numpy(), pieces["run"].to_numpy()
    at = number * APART + start
    # What is the same from end to end as an earlier piece that ends before it is repeated as a whole.
    texts = pieces["text"].combine_chunks().dictionary_encode()
    kind = texts.indices.to_numpy()
    first = np.full(len(texts.dictionary), np.iinfo(np.int64).max)
    np.minimum.at(first, kind, at)
    is_whole = at - first[kind] >= least
    size = np.fromiter((len(text) for text in texts.dictionary.to_pylist()), np.int64)[kind]
    again = np.flatnonzero(is_whole & (size >= least))
    rest = np.flatnonzero(~is_whole)
    blobs = pieces["text"].take(rest).to_pylist()
    ends = np.cumsum([len(blob) + 1 for blob in blobs], dtype=np.int64) - 1
    of, spans = substrings.repeated(substrings.SEPARATOR.join([*blobs, b""]), ends, at[rest], least)
    spans = spans + (start[rest] - np.append(0, ends + 1)[:-1])[of, None]
    piece = np.append(rest[of], again)
    spans = np.append(spans, np.stack([start[again], (start + size)[again]], axis=1), axis=0)
    own, which = np.unique(np.column_stack([number[piece], spans]), axis=0, return_index=True)
    return pa.table([places[own[:, 0]], run[piece[which]], own[:, 1], own[:, 2]], schema=RUNS)


def settle(desk: Desk, config: Facts) -> Facts:
    """What to cut of the texts of a run, a file for each file of documents. Inputs: as of `texts`, then ``runs`` of all buckets."""
    table = read_bucket(given(desk, config)["runs"], config["run"]).sort_by([("place", "ascending"), ("start", "ascending")])
    place, spans = table["place"].to_numpy(), np.stack([table["start"].to_numpy(), table["end"].to_numpy()], axis=1)
    rows: list[list[dict[str, Any]]] = [[] for _ in config["groups"]]
    stepped = 0
    for batch in texts(desk, config):
        for text in batch:
            low, high = np.searchsorted(place, [text.place, text.place + 1]).tolist()
            if low < high:
                found, hits = _of_text(text, [(start, end) for start, end in spans[low:high].tolist()])
                rows[text.file] += found
                stepped += hits
    for number, own in enumerate(rows):
        pq.write_table(pa.Table.from_pylist(own, schema=SPANS), desk.path(f"{number}.parquet"), compression="zstd")
    return {"spans": sum(map(len, rows)), "blocks_in_the_way": stepped}


def _of_text(text: Text, spans: Sequence[cuts.Span]) -> tuple[list[dict[str, Any]], int]:
    structure = json.loads(moved(structure_of(text.document), text.common))
    found, stepped = substrings.settled(text.text, np.array(cuts.merged(spans), dtype=np.int64), structure)
    about = {"row": text.row, "doc_id": text.document.id, "op": substrings.OP}
    return [about | {"start": back(start, text.common, False), "end": back(end, text.common, True)} for start, end in found], stepped
