"""`manage.py restore FILE --state DIR`: a new state folder out of a backup, whole or not at all.

Everything is made in a draft folder beside DIR (`.DIR.restoring`), which gets DIR's name at the
very end. Before that the backup is read to its end and every hash compared.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from bcweb import patient_key as keys
from bcweb.embedded import linux, paths, services
from bcweb.embedded.errors import StartupError, disk_full, is_disk_full

from .archive import DUMP, STATE_PREFIX, BackupError, members, read_manifest
from .schema import check_known

_LOCK = "restore.lock"
_GONE_SECONDS = 30.0


class UsageError(BackupError):
    """The command was called in a way that cannot work: exit code 2."""


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    made = argparse.ArgumentParser(
        prog="manage.py restore",
        description="Make a new state folder out of a backup. Exit code: 0 restored, 1 the backup "
        "is damaged, altered or of a newer version, 2 bad usage. DIR is whole or untouched.",
    )
    made.add_argument("file", type=Path, metavar="FILE", help="what `manage.py backup` wrote")
    made.add_argument(
        "--state", type=Path, required=True, metavar="DIR", help="the new folder: none, or empty"
    )
    made.add_argument(
        "--patient-key",
        type=Path,
        metavar="FILE",
        help="where the backup was made with --without-patient-key: the file of that key",
    )
    made.add_argument(
        "--keep-webhooks",
        action="store_true",
        help="leave webhooks on that were on: this copy replaces the service it was made of",
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    options = parser().parse_args(arguments)
    previous = signal.signal(signal.SIGTERM, _interrupt)
    try:
        told = restore(
            options.file,
            options.state,
            patient_key=options.patient_key,
            keep_webhooks=options.keep_webhooks,
        )
    except BackupError as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except StartupError as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        sentence = disk_full(options.state) if is_disk_full(error) else f"Not restored: {error}."
        print(sentence, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted: nothing was restored.", file=sys.stderr)
        return 130
    finally:
        signal.signal(signal.SIGTERM, previous)
    for line in told:
        print(line)
    return 0


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def restore(
    file: Path, state: Path, *, patient_key: Path | None = None, keep_webhooks: bool = False
) -> list[str]:
    """Restore `file` into the new folder `state`; return what to tell.

    Webhooks are switched off unless they are to be kept: a rehearsal must not call real receivers.
    Raises ``BackupError`` (``UsageError`` for a folder that is not empty), ``StartupError`` where
    Postgres does not start, ``OSError``.
    """
    target = paths.state_dir(state)
    _check_target(target)
    try:
        opened = open(file, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}).") from error
    with opened as archive:
        manifest = read_manifest(archive)
        _check_manifest(manifest)
        key = _key(manifest, patient_key)
        with _draft(target) as draft:
            off = _fill(draft, archive, manifest, key, target, keep_webhooks)
    return _told(manifest, target, off)


def _check_target(target: Path) -> None:
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"{target} is not empty: a backup is restored into a new folder only.")
    if not target.parent.is_dir():
        raise UsageError(f"There is no folder {target.parent}.")


def _check_manifest(manifest: dict[str, Any]) -> None:
    check_known(manifest["migrations"])
    have = paths.postgres_version(paths.postgres_bin())
    wanted = max(manifest["postgres"], manifest["pg_dump"])
    if have < wanted:
        raise BackupError(
            f"The backup was made with Postgres {wanted}, and here is version {have}: name a later "
            "one with BCWEB_POSTGRES_BIN."
        )


def _key(manifest: dict[str, Any], path: Path | None) -> bytes | None:
    if path is None:
        return None
    if f"{STATE_PREFIX}{keys.FILE}" in manifest["members"]:
        raise UsageError("The backup holds the patients' key: leave --patient-key out.")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}).") from error
    if (found := keys.key_id_in(content)) != manifest["patient_key_id"]:
        raise UsageError(
            f"{path} holds the patients' key {found}, and the backup goes with "
            f"{manifest['patient_key_id']}."
        )
    return content


@contextmanager
def _draft(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, which gets that name at the end, or is removed.

    What an earlier restore left that was killed is removed first. The lock is held until the folder
    has its name: another restore never works in, or clears, a draft that is not its own.
    """
    draft = target.with_name(f".{target.name}.restoring")
    draft.mkdir(mode=0o700, exist_ok=True)
    lock = linux.open_lock(draft / _LOCK)
    try:
        if not linux.try_lock(lock, shared=False) or not _is_file_of(lock, draft / _LOCK):
            raise BackupError(f"Another restore into {target} is under way.")
        _clear(draft, but=_LOCK)
        try:
            yield draft
            _check_target(target)
            draft.rename(target)
        finally:
            # Not once it has the target's name: what is there by now is somebody else's.
            if _is_file_of(lock, draft / _LOCK):
                _clear(draft)
                draft.rmdir()
        (target / _LOCK).unlink()
    finally:
        os.close(lock)


def _is_file_of(handle: int, path: Path) -> bool:
    """Whether `path` names the open file, not one that came in its place."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _clear(draft: Path, but: str = "") -> None:
    """Empty the folder, once no server uses it any more (its keeper stops it by itself)."""
    if (draft / "locks").is_dir():
        _await_no_server(draft)
    for path in draft.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != but:
            path.unlink()
    shutil.rmtree(paths.run_folder(draft), ignore_errors=True)


def _await_no_server(draft: Path) -> None:
    deadline = time.monotonic() + _GONE_SECONDS
    while services.keeper_lives(draft, "postgres"):
        if time.monotonic() > deadline:
            raise BackupError(f"The database server in {draft} does not stop: try again later.")
        time.sleep(0.05)


def _fill(
    draft: Path,
    archive: IO[bytes],
    manifest: dict[str, Any],
    key: bytes | None,
    target: Path,
    keep_webhooks: bool,
) -> int:
    """Returns how many webhooks were switched off."""
    paths.make_state_dir(draft)
    with services.use(draft, ["postgres"]):
        for info, content in members(archive):
            if info.name == DUMP:
                _restore_database(draft, content)
            elif info.name.startswith(STATE_PREFIX):
                _restore_file(draft, info, content)
        if key is not None:
            _write(draft / keys.FILE, key, 0o600)
        _write(draft / keys.ID_FILE, f"{manifest['patient_key_id']}\n".encode(), 0o600)
        _compare_rows(draft, manifest["rows"])
        _move_pictures(draft, manifest["state"], target)
        off = 0 if keep_webhooks else _switch_webhooks_off(draft)
        _sql(draft, "ANALYZE")
    _await_no_server(draft)
    shutil.rmtree(paths.run_folder(draft), ignore_errors=True)
    os.sync()
    return off


def _restore_file(draft: Path, info: tarfile.TarInfo, content: IO[bytes]) -> None:
    path = draft / info.name.removeprefix(STATE_PREFIX)
    for folder in reversed(path.relative_to(draft).parents):
        (draft / folder).mkdir(mode=0o700, exist_ok=True)
    with open(path, "xb", opener=lambda p, flags: os.open(p, flags, info.mode & 0o700)) as file:
        shutil.copyfileobj(content, file, 1024 * 1024)


def _write(path: Path, content: bytes, mode: int) -> None:
    with open(path, "xb", opener=lambda p, flags: os.open(p, flags, mode)) as file:
        file.write(content)


def _restore_database(draft: Path, dump: IO[bytes]) -> None:
    """In one transaction: the server has all of it or nothing."""
    command = [
        str(paths.postgres_bin() / "pg_restore"),
        "--single-transaction",
        "--exit-on-error",
        "--no-owner",
        "--no-privileges",
        f"--dbname={paths.database_url(draft)}",
    ]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=_environment()
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        try:
            shutil.copyfileobj(dump, process.stdin, 1024 * 1024)
            process.stdin.close()
        except BrokenPipeError:
            # It ended before: its own words tell why.
            pass
        except BaseException:
            process.kill()
            raise
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise BackupError(f"The database could not be restored: {said.splitlines()[-1:]}")


def _sql(draft: Path, statement: str) -> list[str]:
    """Run a statement; its rows, columns parted by a bar."""
    command = [str(paths.postgres_bin() / "psql"), "--no-psqlrc", "-At", "-v", "ON_ERROR_STOP=1"]
    done = subprocess.run(
        [*command, f"--dbname={paths.database_url(draft)}"],
        input=statement,
        capture_output=True,
        text=True,
        env=_environment(),
        check=False,
    )
    if done.returncode:
        raise BackupError(f"The restored database does not answer: {done.stderr.strip()}")
    return done.stdout.splitlines()


def _environment() -> dict[str, str]:
    """Without the caller's PG* variables, which would steer the programs elsewhere."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


def _compare_rows(draft: Path, told: dict[str, int]) -> None:
    names = _sql(draft, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    if set(names) != set(told):
        raise BackupError("The restored database has other tables than the backup tells.")
    # The names are those of tables that are there.
    parts = (f"SELECT '{name}', count(*) FROM \"{name}\"" for name in sorted(told))  # noqa: S608
    query = " UNION ALL ".join(parts)
    for line in _sql(draft, query):
        name, _, count = line.rpartition("|")
        if int(count) != told[name]:
            raise BackupError(
                f"The restored table {name} has {count} rows instead of {told[name]}."
            )


def _move_pictures(draft: Path, old: str, target: Path) -> None:
    """Snapshots of accepted images name the folder of their pictures, which is another one now."""
    before, after = f"{old}/frozen/", f"{target}/frozen/"
    if before != after:
        _sql(
            draft,
            f"UPDATE cases_trainingsnapshot SET data_root = {_text(after)} || "  # noqa: S608
            f"substr(data_root, {len(before) + 1}) "
            f"WHERE left(data_root, {len(before)}) = {_text(before)}",
        )


def _switch_webhooks_off(draft: Path) -> int:
    """As by hand, with all that waits. A backup of an earlier version has none."""
    if _sql(draft, "SELECT to_regclass('cases_webhook') IS NULL") == ["t"]:
        return 0
    off = "UPDATE cases_webhook SET enabled = false, off_reason = 'by_hand', off_at = now()"
    (count,) = _sql(
        draft,
        f"WITH off AS ({off} WHERE enabled RETURNING 1) SELECT count(*) FROM off",  # noqa: S608
    )
    return int(count)


def _text(value: str) -> str:
    """A string as SQL writes it, whatever is in it."""
    return "'" + value.replace("'", "''") + "'"


def _told(manifest: dict[str, Any], target: Path, off: int) -> list[str]:
    made = (
        f"restored: {target} (of {manifest['created_at']}, {sum(manifest['rows'].values())} rows)"
    )
    lines = [made]
    if manifest["bytes"] != "postgres":
        lines.append(
            f"The uploaded bytes are in {manifest['bytes']}, not in this backup: set the same "
            "BCWEB_S3_* variables, and compare with `manage.py verify_storage`."
        )
    if not (target / keys.FILE).exists():
        lines.append(
            "The patients' key is not in this backup: set BCWEB_PATIENT_KEY to the same secret "
            f"(its id is {manifest['patient_key_id']}). Nothing starts with another one."
        )
    if not (target / "secret_key").exists():
        lines.append("SECRET_KEY came from the environment, and is not in this backup.")
    if off:
        lines.append(
            f"Webhooks were switched off ({off}), so that this copy calls nobody. If it replaces "
            "the service, switch them on in the portal, or restore with --keep-webhooks."
        )
    lines.append(f"Start it with: make run STATE={target}")
    return lines
