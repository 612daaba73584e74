"""Make `.venv` and install a lock file into it, when that has not been done: `install.py LOCK`.

Run by the Makefile with any Python that is about: what comes before the look at its version must
be readable for old ones. What was installed is remembered by a copy of the lock file, not by
times: a fresh checkout of the same lock installs nothing again.
"""

import fcntl
import shutil
import subprocess
import sys
from pathlib import Path

BASE = Path(__file__).resolve().parents[2]
VENV = BASE / ".venv"
NEWEST_FIRST = ("python3.14", "python3.13", "python3.12", "python3.11")
# What PyTorch with its CUDA libraries, and the rest, take on disk.
WANTED_GB = 8


class MissingError(Exception):
    """One sentence that says what is missing and what to do."""


def main() -> int:
    """Install the lock named on the command line; return the exit code."""
    if sys.version_info < (3, 11):  # noqa: UP036 - the machine may have an older one first
        return run_with_other_python()
    try:
        with open(BASE / ".venv.lock", "w") as file:
            # A second make waits for the first.
            fcntl.flock(file, fcntl.LOCK_EX)
            install(BASE / "requirements" / f"{sys.argv[1]}.txt")
    except MissingError as error:
        print(f"bcweb: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"bcweb: .venv cannot be made in {BASE}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def install(lock: Path) -> None:
    """Bring .venv to the state of a lock file. Raises MissingError."""
    # dev.txt holds everything that run.txt does, in the same versions.
    locks = [lock, lock.with_name("run.txt")] if lock.stem == "dev" else [lock]
    if works() and all(is_installed(one) for one in locks):
        return
    if not works():
        make_venv()
    say(f"installing {lock.name} (some minutes and {WANTED_GB} GB at most the first time) …")
    name = str(lock.relative_to(BASE))
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input"]
    command = [*pip, "install", "-qq", "--require-hashes", "--requirement", name]
    if subprocess.run(command, cwd=BASE, stdin=subprocess.DEVNULL, check=False).returncode:
        raise MissingError(
            f"pip could not install {name} (its message is above): check the network and the "
            "package index, then try again."
        )
    for one in locks:
        shutil.copyfile(one, stamp_of(one))


def stamp_of(lock: Path) -> Path:
    """Return where the copy of an installed lock file is kept."""
    return VENV / f"installed-{lock.name}"


def is_installed(lock: Path) -> bool:
    """Tell whether the lock file that was installed is the one that is there now."""
    stamp = stamp_of(lock)
    return stamp.exists() and stamp.read_bytes() == lock.read_bytes()


def works() -> bool:
    """Tell whether .venv has a Python that runs; that of a moved checkout may not."""
    python = VENV / "bin" / "python"
    if not python.exists():
        return False
    test = "import sys, pip; sys.exit(sys.version_info < (3, 11))"
    command = [str(python), "-c", test]
    return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def make_venv() -> None:
    """Make an empty .venv. Raises MissingError."""
    advice = "install it (Debian and Ubuntu: apt install python3-venv), then try again."
    try:
        import ensurepip  # noqa: F401 - Debian ships venv without it
        import venv
    except ImportError:
        raise MissingError(f"Python's venv module is missing: {advice}") from None
    free = shutil.disk_usage(BASE).free >> 30
    if free < WANTED_GB:
        raise MissingError(
            f"The disk of {BASE} has {free} GB free and the packages take up to {WANTED_GB} GB: "
            "free some space, then try again."
        )
    say(f"making .venv with Python {sys.version.split()[0]} …")
    try:
        venv.create(VENV, with_pip=True, clear=True, symlinks=True)
    except subprocess.CalledProcessError:
        raise MissingError(f"Python's venv module cannot install pip: {advice}") from None


def run_with_other_python() -> int:
    """Run this again with a newer Python, if there is one; return its exit code."""
    for name in NEWEST_FIRST:
        found = shutil.which(name)
        if found:
            return subprocess.run([found, __file__, *sys.argv[1:]], check=False).returncode
    print(
        f"bcweb: Python 3.11 or later is needed and this is {sys.version.split()[0]}: install "
        "one, or name it with PYTHON=/path/to/python3.",
        file=sys.stderr,
    )
    return 1


def say(text: str) -> None:
    """Write one line to the terminal at once."""
    print(f"bcweb: {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
