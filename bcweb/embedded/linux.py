"""The few Linux calls that the standard library does not wrap: prctl, user namespaces, /proc."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_CLONE_NEWUSER = 0x10000000

# Loaded at import: a freshly forked child must not load libraries.
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Ask the kernel to send this process signal `number` when its parent dies.

    `parent` is the process id that the parent had before the fork: when it is gone already, the
    signal would never come, so this process ends at once. The kernel forgets the request when the
    process changes its user, so call it after that.
    """
    if _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(128 + int(number))


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent dies, so that they can be found."""
    if _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


def enter_user_namespace(inside: int = 1000) -> None:
    """Move this (single-threaded) process into a user namespace where it is user `inside`.

    Outside nothing changes: files belong to the same owner as before. This is how root runs
    Postgres, which refuses to run as user 0. Raises OSError where namespaces are blocked.
    """
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(_CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER) failed")
    for name, line in (
        ("setgroups", "deny"),
        ("uid_map", f"{inside} {user} 1"),
        ("gid_map", f"{inside} {group} 1"),
    ):
        with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
            file.write(line)


def descendants(root: int) -> list[int]:
    """Return the ids of all living processes below `root`, parents before their children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            parent = parent_of(int(entry.name))
            if parent is not None:
                children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = list(children.get(root, []))
    while waiting:
        pid = waiting.pop(0)
        found.append(pid)
        waiting.extend(children.get(pid, []))
    return found


def parent_of(pid: int) -> int | None:
    """Return the parent's id of a living process; None when it is gone or a zombie."""
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The second field is the program's name in parentheses and may hold spaces.
    state, parent = line.rpartition(b")")[2].split()[:2]
    return None if state in (b"Z", b"X") else int(parent)


def is_alive(pid: int) -> bool:
    """Tell whether a process lives; a zombie does not."""
    return parent_of(pid) is not None


def try_lock(descriptor: int, *, shared: bool) -> bool:
    """Take a flock without waiting; tell whether it was got."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(descriptor: int) -> None:
    """Let go of a flock."""
    fcntl.flock(descriptor, fcntl.LOCK_UN)


def open_lock(path: Path) -> int:
    """Open a lock file (0600), making it when absent. Not locked yet; closed on exec."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file exclusively, waiting for it as long as it takes."""
    descriptor = open_lock(path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def child_setup(*steps: Callable[[], None]) -> Callable[[], None]:
    """Return a `preexec_fn` running `steps` in order, then tying the child to this process.

    Give it only to single-threaded parents: between fork and exec other threads' locks stay shut.
    """
    parent = os.getpid()

    def setup() -> None:
        for step in steps:
            step()
        die_with_parent(parent)

    return setup
