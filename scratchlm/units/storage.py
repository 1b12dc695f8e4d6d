"""Files by address: a path on this machine, or a URL of an object store that fsspec knows (``s3://bucket/name``).

A file is there as a whole or not at all: locally it is written aside, synced and renamed; an object store makes an object
visible when its upload is complete. fsspec is imported when the first URL is met and never for a path.
"""

import hashlib
import io
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import filelock

from scratchlm.core.artifact import sha256_of, sync_directory
from scratchlm.core.errors import DataError, UsageError
from scratchlm.units import known

CHUNK = 2**20


def is_remote(url: str) -> bool:
    """Whether ``url`` needs fsspec."""
    return "://" in url and not url.startswith("file://")


def absolute(url: str) -> str:
    """The same address, good in every working directory."""
    return url.rstrip("/") if is_remote(url) else str(Path(url.removeprefix("file://")).absolute())


def join(folder: str, *parts: str) -> str:
    """An address below ``folder``."""
    return "/".join([folder.rstrip("/"), *parts]) if is_remote(folder) else str(Path(folder, *parts))


def name_of(url: str) -> str:
    """The last part of an address."""
    return url.rstrip("/").rsplit("/", 1)[-1] if is_remote(url) else Path(url).name


def beside(url: str, name: str) -> str:
    """The address of ``name`` in the folder where ``url`` lies."""
    return join(url.rstrip("/").rsplit("/", 1)[0], name) if is_remote(url) else str(Path(url).with_name(name))


@contextmanager
def here(url: str) -> Iterator[Path]:
    """A file of this machine with the bytes: the file itself, or of an object a copy for as long as the block lasts."""
    if not is_remote(url):
        yield Path(url)
        return
    with tempfile.TemporaryDirectory(prefix=temporary()) as folder:
        copy = Path(folder, name_of(url))
        with open_stream(url) as source, copy.open("wb") as target:
            shutil.copyfileobj(source, target, CHUNK)
        yield copy


def open_stream(url: str) -> BinaryIO:
    """The bytes, to be read from start to end; the caller closes them. DataError when there is no such file."""
    file = _open(url, "readahead")
    return cast(BinaryIO, io.BufferedReader(file, CHUNK)) if is_remote(url) else file


def open_ranges(url: str) -> BinaryIO:
    """The bytes, to be read here and there: of an object nothing is fetched but what is asked for."""
    return _open(url, "none")


def exists(url: str) -> bool:
    """Whether a file is there."""
    if not is_remote(url):
        return Path(url).is_file()
    system, path = _remote(url)
    return system.isfile(path)


def size(url: str) -> int:
    """Bytes of a file. DataError when there is none."""
    try:
        if not is_remote(url):
            return Path(url).stat().st_size
        system, path = _remote(url)
        return int(system.info(path)["size"])
    except OSError as error:
        raise DataError(_unread(url, error)) from None


def digest(url: str) -> str:
    """What the contents are known by: their SHA-256, or of an object the tag its store computed, which spares fetching it."""
    if is_remote(url) and (tag := _tag(url)):
        return f"tag:{tag}"
    if not is_remote(url) and (found := known.known(Path(url))):
        return f"sha256:{found}"
    try:
        return f"sha256:{sha256(url)}"
    except OSError as error:
        raise DataError(_unread(url, error)) from None


def sha256(url: str) -> str:
    """Hexadecimal SHA-256 of a file, read from start to end."""
    if not is_remote(url):
        return sha256_of(Path(url))
    found = hashlib.sha256()
    with open_stream(url) as file:
        while chunk := file.read(CHUNK):
            found.update(chunk)
    return found.hexdigest()


def files_under(folder: str) -> list[str]:
    """The addresses of all files below a folder of somebody's, sorted; what we wrote ourselves is found by manifests alone."""
    if not is_remote(folder):
        return sorted(str(path) for path in Path(folder).rglob("*") if path.is_file())
    system, path = _remote(folder)
    return sorted(system.unstrip_protocol(name) for name in system.find(path))


def dataset(urls: Sequence[str]) -> Any:
    """Parquet files with the same columns as one table of pyarrow that is read as it is asked for; there is at least one."""
    import pyarrow.dataset as ds  # heavy: only for questions over whole tables

    if not is_remote(urls[0]):
        return ds.dataset(list(urls), format="parquet")
    system, _ = _remote(urls[0])
    return ds.dataset([_remote(url)[1] for url in urls], format="parquet", filesystem=system)


def read_bytes(url: str) -> bytes | None:
    """A small file as a whole; None when it is not there."""
    try:
        if not is_remote(url):
            return Path(url).read_bytes()
        system, path = _remote(url)
        return system.cat_file(path)
    except FileNotFoundError:
        return None


def commit(made: Path, url: str) -> None:
    """Let the file ``made`` appear at ``url`` as a whole; where both lie on one disk it is moved."""
    if is_remote(url):
        system, path = _remote(url)
        system.put_file(str(made), path)
        return
    final = Path(url)
    final.parent.mkdir(parents=True, exist_ok=True)
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.replace(final)
    sync_directory(final.parent)


def remove(url: str) -> None:
    """Remove a file if it is there."""
    if not is_remote(url):
        Path(url).unlink(missing_ok=True)
    elif exists(url):
        system, path = _remote(url)
        system.rm_file(path)


def temporary() -> str:
    """How this process's files in the machine's temporary folder begin: whose they are shows when they may be removed."""
    return f"scratchlm.tmp.{socket.gethostname()}.{os.getpid()}."


def scratch(url: str) -> Path:
    """An empty local folder in which what will lie in ``url`` is written: beside it, or for an object in the temporary folder."""
    if is_remote(url):
        return Path(tempfile.mkdtemp(prefix=temporary()))
    folder = Path(f"{url}.tmp.{socket.gethostname()}.{os.getpid()}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def held(folder: str) -> Iterator[None]:
    """Keep ``folder`` for this process while the block lasts; UsageError when another one has it. An object store cannot be kept."""
    if is_remote(folder):
        yield
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    try:
        with filelock.FileLock(Path(folder, ".lock"), timeout=0):
            yield
    except filelock.Timeout:
        raise UsageError(f"{folder}: another process is at work here. Wait for it, or choose another corpus.store.") from None


def sweep(folder: str) -> None:
    """Remove what killed workers left: in ``folder``, at which no one else is at work, and of dead processes in the temporary folder."""
    left = [] if is_remote(folder) else list(Path(folder).glob("*.tmp.*"))
    ours = temporary().rsplit(".", 2)[0]
    left += [path for path in Path(tempfile.gettempdir()).glob(f"{ours}.*") if not _lives(path.name[len(ours) + 1 :].split(".")[0])]
    for path in left:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _lives(process: str) -> bool:
    # Elsewhere than on POSIX, signal 0 is no question but a real signal.
    if os.name != "posix" or not process.isdecimal():
        return True
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class _Object(io.RawIOBase):
    """An object of a store as Python's own files are, which readers of every kind expect."""

    mode = "rb"

    def __init__(self, url: str, file: Any) -> None:
        self.name = url
        self._file = file

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def close(self) -> None:
        if not self.closed:
            self._file.close()
            super().close()


def _open(url: str, ahead: str) -> Any:
    try:
        if not is_remote(url):
            return Path(url).open("rb")
        system, path = _remote(url)
        return _Object(url, system.open(path, "rb", cache_type=ahead))
    except OSError as error:
        raise DataError(_unread(url, error)) from None


def _tag(url: str) -> str | None:
    system, path = _remote(url)
    try:
        facts = system.info(path)
    except OSError as error:
        raise DataError(_unread(url, error)) from None
    return facts.get("ETag") or facts.get("etag")


def _remote(url: str) -> tuple[Any, str]:
    import fsspec  # heavy: only when an object store is used

    protocol = url.partition("://")[0]
    try:
        # A listing that was kept would hide what a worker has written since.
        return fsspec.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        raise UsageError(f"{protocol}://: its client is not installed ({error}). For s3:// run `pip install 'scratchlm[s3]'`.") from None
    except ValueError:
        raise UsageError(
            f"{protocol}://: no kind of storage that fsspec knows. Give a path, or a URL such as s3://bucket/folder."
        ) from None


def _unread(url: str, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{url}: there is no such file. Check the name."
    return f"{url}: cannot be read ({error.strerror or error}). Check the access to it."
