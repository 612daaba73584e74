"""The few Linux calls that the standard library does not wrap: prctl, user namespaces, /proc."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
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


def enter_user_namespace(inside: int) -> None:
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
    below: dict[int, list[int]] = {}
    for pid, parent, state in _processes():
        if state not in "ZX":
            below.setdefault(parent, []).append(pid)
    found: list[int] = []
    waiting = below.pop(root, [])
    while waiting:
        pid = waiting.pop(0)
        found.append(pid)
        waiting.extend(below.pop(pid, []))
    return found


def children(root: int) -> list[int]:
    """Return the ids of the children of a process, zombies included."""
    return [pid for pid, parent, _ in _processes() if parent == root]


def _processes() -> Iterator[tuple[int, int, str]]:
    """Yield process id, parent's id and state letter of every process that can be seen."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            found = _stat(int(entry.name))
            if found:
                yield int(entry.name), *found


def _stat(pid: int) -> tuple[int, str] | None:
    try:
        line = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None  # It ended between listing and reading.
    # The second field is the program's name in parentheses and may hold anything.
    state, parent = line.rpartition(b")")[2].split()[:2]
    return int(parent), state.decode()


def is_alive(pid: int) -> bool:
    """Tell whether a process lives; a zombie does not."""
    found = _stat(pid)
    return found is not None and found[1] not in "ZX"


def kill_all(processes: Iterable[int]) -> None:
    """Send SIGKILL to each; those that are gone already do not matter."""
    for pid in processes:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def reap_others(*known: int) -> None:
    """Collect adopted children that have ended, leaving `known` ones to whoever started them."""
    # Looked up one by one: waiting for "any child" would stop at a known one.
    for pid in children(os.getpid()):
        if pid not in known:
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)


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
