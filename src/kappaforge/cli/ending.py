"""How a command ends: its exit code, and one line on stderr where it did not do what it was asked for."""

from __future__ import annotations

import errno
import sys
import tempfile
import traceback

import typer

from kappaforge.errors import InputError, KappaforgeError

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130

FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

OF_A_PATH = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST),
    *(errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY),
)
"""What is wrong with a path that the user gave, not with the program."""


def ending(error: BaseException) -> tuple[int, str]:
    """Return the exit code of an error and what to say of it in one line; empty for nothing."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED, "interrupted; what was finished is kept, run the same command again to go on"
    if isinstance(error, typer.Abort):
        return INTERRUPTED, "the input ended; run the same command again"
    if isinstance(error, typer.TyperException):
        return BAD_INPUT, _usage(error)
    if isinstance(error, InputError):
        return BAD_INPUT, _one_line(str(error))
    if isinstance(error, KappaforgeError):
        return FAILED, _one_line(str(error))
    if isinstance(error, OSError) and error.errno in FULL_DISK:
        return FAILED, f"{error.strerror}: make room on the disk, then run the same command again"
    if isinstance(error, OSError) and error.errno in OF_A_PATH and error.filename:
        why = f"{error.filename}: {error.strerror}"
        return BAD_INPUT, f"{why}; give another path, or change what is there or who may use it"
    if isinstance(error, MemoryError):
        return FAILED, "the memory is full: use fewer --workers or smaller crystals, then run the same command again"
    return FAILED, (
        f"unexpected {type(error).__name__}: {_one_line(str(error)) or 'it says no more'}; "
        f"this is a fault of kappaforge or of a library, please report it with {_details(error)}"
    )


def _usage(error: typer.TyperException) -> str:
    """Return what is wrong with the command line; empty where typer has printed the help."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return ""
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "kappaforge"
    return f"{_one_line(error.format_message()).rstrip('.')} (see: {command} --help)"


def _one_line(message: str) -> str:
    return " ".join(message.split())


def _details(error: BaseException) -> str:
    """Write the traceback to a file, and return where it is; on a machine that takes no file, to stderr."""
    text = "".join(traceback.format_exception(error))
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="kappaforge-error-", suffix=".txt", encoding="utf-8", delete=False
        ) as file:
            file.write(text)
    except OSError:
        print(text, file=sys.stderr)
        return "the lines above"
    return file.name
