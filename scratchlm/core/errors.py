"""Every error a user can meet, each one a sentence: where, what was found, what would do.

ScratchError             exit 2
├── UsageError           exit 2   the caller's mistake: an unknown name, a bad value, a second process
├── DataError            exit 2   text that cannot be read or is not enough
├── ArtifactError        exit 1   an artifact that is missing, damaged or from another format
├── CheckFailed          exit 1   a check that we run on our own results did not hold
└── Stopped              exit 130 the user asked to stop; a checkpoint was written
"""

import errno


class ScratchError(Exception):
    """The root; its text is one line for the user."""

    exit_code = 2


class UsageError(ScratchError):
    """The caller's mistake."""


class DataError(ScratchError):
    """Text that cannot be read, or too little of it."""


class ArtifactError(ScratchError):
    """An artifact that is missing, damaged, or written by another format."""

    exit_code = 1


class CheckFailed(ScratchError):
    """A check on our own result did not hold."""

    exit_code = 1


class MemoryShort(CheckFailed):
    """Memory does not hold the least that can be computed at once."""


class Stopped(ScratchError):
    """The user asked to stop, and a checkpoint was written first."""

    exit_code = 130


def refusal(error: OSError) -> str:
    """What an operating system's refusal means for the user; errors that are none of these keep their traceback."""
    place = error.filename or "writing"
    if error.errno == errno.ENOSPC:
        return f"{place}: the disk is full. Free some space and run the same command again; what is finished is kept."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{place}: {error.strerror}. Allow it there, or choose another folder with --home."
    raise error
