"""Stack Exchange dumps: each question with its answers, the accepted one first, then by score.

``Posts.xml`` is in the order of posts, so that an answer can stand millions of rows behind its question. One pass over it puts every post
into the bucket of its question, and each bucket is then joined alone. In memory are at most ``HELD`` bytes of posts while they are put
away, then the posts of one bucket, 65,536 neighbouring question numbers: 80 MB of the 100 GB of the largest site, and never more than
``MOST_IN_BUCKET``. The rest waits in a temporary folder, packed to about a quarter of the size of ``Posts.xml``. A small site never
touches it.
"""

import json
import re

from scratchlm.sources import layout
from scratchlm.sources.beat import Beat
from scratchlm.sources.buckets import MOST_IN_BUCKET, Post, buckets
from scratchlm.sources.elements import Broken, Element, Elements
from scratchlm.sources.elements import read as elements_of
from scratchlm.sources.file import Input, Reading, Unreadable
from scratchlm.sources.found import Dropped, Found
from scratchlm.sources.sheet import Structure
from scratchlm.sources.streams import Refused
from scratchlm.sources.tree import tree_of

EXTRACTOR = "stackexchange@1;lxml"
KINDS = {"1": "question", "2": "answer", "3": "orphaned tag wiki", "4": "tag wiki excerpt", "5": "tag wiki", "6": "moderator nomination",
         "7": "wiki placeholder", "8": "privilege wiki"}  # fmt: skip
SITE = re.compile(
    r"(?:^|[/!])((?:[a-z0-9-]+\.)*(?:stackexchange|stackoverflow|superuser|serverfault|askubuntu|stackapps)\.com|(?:meta\.)?mathoverflow\.net)",
    re.IGNORECASE,
)
STATED = re.compile(r"CC BY-SA ([234]\.[05])")
SINCE = (("2018-05-02", "4.0"), ("2011-04-08", "3.0"), ("", "2.5"))
"""From which day on posts are under which version of CC BY-SA, as the network's help centre states it."""
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?")
NUMBER = re.compile(r"-?[0-9]{1,18}")


def read(file: Input, reading: Reading) -> Found:
    """One document for each question of a ``Posts.xml`` with all its answers; every other row is refused with its reason."""
    site = next(iter(SITE.findall(file.name)[::-1]), "").lower()
    fault: Unreadable | None = None
    with buckets() as held:
        try:
            with file.open() as stream:
                for found in elements_of(stream, Elements(("row",), reading.limits.record_bytes), Beat(file, reading)):
                    post = _post(file, found)
                    if isinstance(post, Dropped):
                        yield post
                    elif not held.put(post):
                        reason = f"the questions with numbers near its own have more than {MOST_IN_BUCKET:,} bytes of posts"
                        yield file.refuse(f"post={post.number}", "too large", reason, excerpt=post.body)
        except Unreadable as error:  # what was read before a break is joined all the same
            fault = error
        for posts in held.joined():
            yield from _threads(file, reading, site, posts)
    if fault:
        raise fault


def _post(file: Input, row: Element | Broken) -> Post | Dropped:
    if isinstance(row, Broken):
        return file.refuse(f"post={_number(row.element, 'Id')}" if row.element else "end", row.rule, row.reason)
    number, kind = _number(row, "Id"), row.attributes.get("PostTypeId", "")
    inside = f"post={number}"
    if number <= 0:
        return file.refuse(inside, "broken record", "the row has no number")
    if kind not in ("1", "2"):
        return file.refuse(inside, "other post", f"it is a {KINDS.get(kind, 'post of an unknown kind')}, no question or answer")
    question = number if kind == "1" else _number(row, "ParentId")
    if question <= 0:
        return file.refuse(inside, "no question", "the answer does not say which question it is for")
    body = row.attributes.get("Body", "")
    if row.attributes.get("DeletionDate"):
        return file.refuse(inside, "deleted", "the site deleted it", excerpt=body)
    if not body.strip():
        return file.refuse(inside, "nothing in it", "the post is empty")
    date, stated = row.attributes.get("CreationDate", ""), STATED.match(row.attributes.get("ContentLicense", ""))
    return Post(
        number,
        question,
        _number(row, "Score"),
        _number(row, "AcceptedAnswerId"),
        date if TIME.fullmatch(date) else "",
        stated.group(1) if stated else "",
        layout.flat(row.attributes.get("Title")),
        row.attributes.get("Tags", ""),
        body,
    )


def _number(row: Element, name: str) -> int:
    value = row.attributes.get(name, "")
    return int(value) if NUMBER.fullmatch(value) else 0


def _threads(file: Input, reading: Reading, site: str, posts: list[Post]) -> Found:
    """The document of one question, and each post that is not in it."""
    question = next((post for post in posts if post.is_question), None)
    answers: dict[int, Post] = {}
    for post in posts:
        inside = f"post={post.number}"
        if question is None:
            yield file.refuse(inside, "no question", f"its question {post.question} is not in this dump", excerpt=post.body)
        elif post is not question and (post.is_question or post.number in answers):
            yield file.refuse(inside, "repeated", "a post of this number came before", excerpt=post.body)
        elif post is not question:
            answers[post.number] = post
    if question is None:
        return
    if not reading.at(f"{file.name}#post={question.number}"):
        for post in (question, *answers.values()):
            yield file.refuse(f"post={post.number}", "quarantined", "a worker died on its thread twice")
        return
    order = sorted(answers.values(), key=lambda post: (post.number != question.accepted, -post.score, post.number))
    yield from _thread(file, reading, site, [question, *order])


def _thread(file: Input, reading: Reading, site: str, posts: list[Post]) -> Found:
    """The document of a question, which is the first of ``posts``, and its answers; and each post that has no text."""
    question, most = posts[0], reading.limits.document_characters
    thread = Thread()
    for post in posts:
        inside, is_answer = f"post={post.number}", post is not question
        if is_answer and not thread.posts:
            yield file.refuse(inside, "no question", "no text is left of its question", excerpt=post.body)
            continue
        try:
            if thread.length + len(post.title) + len(post.body) > most:
                raise Refused("too large", f"with it the thread has more than {most:,} characters")
            thread.add(post, f"## {'Accepted answer' if post.number == question.accepted else 'Answer'}" if is_answer else "")
        except Refused as fault:
            yield file.refuse(inside, fault.rule, str(fault), excerpt=post.body)
    if thread.posts:
        yield file.document(f"post={question.number}", thread.text(), _facts(file, site, thread))


class Thread:
    """The text of a question and its answers while it is written."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self.length = 0
        self.structure: Structure = []
        self.posts: list[tuple[Post, int, int]] = []
        """Each post in it, and where its text starts and ends."""

    def add(self, post: Post, heading: str) -> None:
        """Write a post under its heading, or its title; Refused when there is nothing to write, or it cannot be read."""
        text, structure = _body(post.body)
        if not text:
            raise Refused("nothing in it", "no text is left of it")
        if title := heading or (f"# {post.title}" if post.title else ""):
            self._write(title, [{"kind": "heading", "start": 0, "end": len(title)}])
        start = self._write(text, structure)
        self.posts.append((post, start, self.length))

    def _write(self, text: str, structure: Structure) -> int:
        gap = "\n\n" if self._parts else ""
        start = self.length + len(gap)
        self._parts += [gap, text]
        self.length = start + len(text)
        self.structure += [part | {"start": start + int(part["start"]), "end": start + int(part["end"])} for part in structure]
        return start

    def text(self) -> str:
        """All that was written."""
        return "".join(self._parts)


def _body(markup: str) -> tuple[str, Structure]:
    """The text of a post and its structure: bodies are short and hold nothing but the post, so that all of it is taken."""
    tree, _ = tree_of(markup)
    return layout.write(tree) if tree is not None else ("", [])


def _facts(file: Input, site: str, thread: Thread) -> dict[str, str | int | float | None]:
    question = thread.posts[0][0]
    versions = sorted({_version(post) for post, _, _ in thread.posts})
    are_stated = all(post.licence for post, _, _ in thread.posts)
    answers = [
        {"post": post.number, "score": post.score, "accepted": post.number == question.accepted, "start": start, "end": end}
        for post, start, end in thread.posts[1:]
    ]
    facts: dict[str, str | int | float | None] = {
        "title": question.title or None,
        "url": f"https://{site}/questions/{question.number}" if site else None,
        "host": f"{site or file.name}/{question.number}",
        "published_at": question.date or None,
        "score": float(question.score),
        "licence": " AND ".join(f"CC-BY-SA-{version}" for version in versions),
        "licence_evidence": "ContentLicense of its posts"
        if are_stated
        else "the days of its posts: 3.0 from 2011-04-08, 4.0 from 2018-05-02",
        "doc_type": "qa",
        "mime": "text/html",
        "charset": "utf-8",
        "extractor": EXTRACTOR,
        "raw_bytes": sum(len(post.body.encode("utf-8", "replace")) for post, _, _ in thread.posts),
        "structure": json.dumps(thread.structure),
        "extra": json.dumps({"tags": re.findall(r"[^<>|]+", question.tags), "answers": answers}, ensure_ascii=False),
    }
    return {name: value for name, value in facts.items() if value is not None}


def _version(post: Post) -> str:
    return post.licence or next(version for day, version in SINCE if post.date[:10] >= day)
