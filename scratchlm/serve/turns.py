"""Who speaks when: one thread owns the model, a few requests wait for it, the rest are told to come back."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from scratchlm.serve.refusal import Refusal
from scratchlm.serve.speech import Part

END = object()


class Turn:
    """One generation: its parts as they come, and the right to end it at any time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[object] = asyncio.Queue()
        self.gone = threading.Event()
        """Set when nobody listens any more."""
        self.work: Future[None] | None = None

    def run(self, make: Callable[[], Iterator[Part]]) -> None:
        """In the model's thread: hand each part over until the last one, an error, or nobody listens any more."""
        try:
            for part in make():
                if self.gone.is_set():
                    return
                self._put(part)
            self._put(END)
        except Exception as error:  # noqa: BLE001 - handed to the request that asked, which answers with it
            self._put(error)

    def stop(self) -> None:
        """Nobody listens any more: the model is free after the token at hand, or at once if its turn has not come."""
        self.gone.set()
        if self.work is not None:
            self.work.cancel()

    async def parts(self) -> AsyncIterator[Part]:
        """The parts in order; an error of the model's thread is raised here."""
        while (item := await self._queue.get()) is not END:
            if isinstance(item, Exception):
                raise item
            assert isinstance(item, Part)
            yield item

    def _put(self, item: object) -> None:
        try:
            self._loop.call_soon_threadsafe(self._queue.put_nowait, item)
        except RuntimeError:  # the server is gone, and with it the reader
            self.gone.set()


class Turns:
    """At most one generation at work and ``waiting`` more in line."""

    def __init__(self, *, waiting: int, retry_after_s: int) -> None:
        self._room = 1 + waiting
        self._retry_after_s = retry_after_s
        self._inside: set[Turn] = set()
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    @property
    def inside(self) -> frozenset[Turn]:
        """Generations at work or in line."""
        return frozenset(self._inside)

    def take(self, make: Callable[[], Iterator[Part]]) -> Turn:
        """Get in line; Refusal (429) when the line is full. The place is freed when the work ends, however it ends."""
        turn = Turn()
        with self._lock:
            if len(self._inside) >= self._room:
                wait = {"Retry-After": str(self._retry_after_s)}
                raise Refusal("Too many questions at once. Try again in a moment.", status=429, code="busy", headers=wait)
            self._inside.add(turn)
        turn.work = self._thread.submit(turn.run, make)
        turn.work.add_done_callback(lambda _: self._leave(turn))
        return turn

    def close(self) -> None:
        """Stop everything and let the thread end."""
        for turn in list(self._inside):
            turn.stop()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _leave(self, turn: Turn) -> None:
        with self._lock:
            self._inside.discard(turn)
