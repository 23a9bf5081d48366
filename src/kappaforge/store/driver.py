"""Who drives a run folder: one process at a time, known by name to all others."""

from __future__ import annotations

import fcntl
import os
import socket
from pathlib import Path
from typing import NamedTuple

from kappaforge.errors import InputError

LOCK_FILE = "driver.lock"


class Driver(NamedTuple):
    """The process that holds, or held until it was killed, a run folder's lock."""

    pid: int
    host: str

    @property
    def alive(self) -> bool | None:
        """Whether it is still there; None on another host, where that cannot be seen from here."""
        if self.host != socket.gethostname():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:  # somebody else's
            return True
        return True

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


def take_lock(path: Path) -> int:
    """Hold the driver's lock for as long as the returned descriptor is open; the kernel frees it at any death."""
    try:
        descriptor = os.open(path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise InputError(f"run folder {path} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if not isinstance(error, BlockingIOError):
            raise InputError(
                f"run folder {path} cannot be locked ({error.strerror}); put it on a file system that has locks"
            ) from None
        who = driver_of(path) or "another process"
        raise InputError(f"run folder {path} is being driven by {who}; wait for it or stop it") from None
    os.truncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()} {socket.gethostname()}\n".encode())
    return descriptor


def free_lock(descriptor: int) -> None:
    """Let the next driver in."""
    os.truncate(descriptor, 0)
    os.close(descriptor)


def driver_of(path: Path) -> Driver | None:
    """Return who took the lock last; None where the last driver came to its end, or there never was one."""
    try:
        pid, host = (path / LOCK_FILE).read_text(encoding="utf-8").split()
        return Driver(int(pid), host)
    except (OSError, ValueError):  # none yet, or one is just writing its name
        return None
