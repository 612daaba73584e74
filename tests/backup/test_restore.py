"""A backup made while the service works, restored into a new state folder, and compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from bcweb.backup import dump
from bcweb.backup.restore import main
from bcweb.embedded import linux, paths, services
from cases.management.commands import backup as command
from cases.models import AuditEvent, Image, TrainingSnapshot
from cases.services.patient_keys import patient_key_id
from cases.services.previews import frame_png
from cases.vocabulary import SnapshotRole
from tests.factories import make_actor, make_site, submit
from tests.live import wait_for
from tests.phantoms import bmode_phantom, dicom_bytes
from tests.webhooks import make_webhook

pytestmark = pytest.mark.django_db(transaction=True)

ROOT = Path(__file__).resolve().parents[2]
FROZEN = "d" * 64


@pytest.fixture(autouse=True)
def little_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BCWEB_MIN_FREE_MB", "300")


@pytest.fixture
def state(tmp_path: Path, settings: Any) -> Path:
    """A state folder with all that a backup takes, and much that it does not."""
    folder = tmp_path / "a state"
    files = {
        "secret_key": "s" * 64,
        "patient_key": settings.BCWEB_PATIENT_KEY,
        "demo.json": "{}",
        "snapshots/abc/snapshot.json": "{}",
        "snapshots/.draft.1/picture.png": "unfinished",
        f"frozen/{FROZEN}/data/1.png": "a picture",
        # Of a freeze whose row was not there at the moment, and perhaps never will be.
        f"frozen/{'e' * 64}/data/1.png": "of no snapshot",
        "frozen/.job.1/2.png": "unfinished",
        "initial/start.safetensors": "weights",
        "models/m.safetensors": "made again",
        "training/run/checkpoint.pt": "of this machine",
        "log/web.log": "a log",
        "supervisor.lock": "",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)
    settings.STATE_DIR = folder
    return folder


# What comes out of the file, beside the id of the patients' key.
RESTORED = {
    "secret_key",
    "patient_key",
    "demo.json",
    "snapshots/abc/snapshot.json",
    f"frozen/{FROZEN}/data/1.png",
    "initial/start.safetensors",
}


def some_content(state: Path) -> None:
    image = submit(files=[dicom_bytes(bmode_phantom(seed=1))], patient_id="").images.get()
    frame_png(image=image, index=0)
    TrainingSnapshot.objects.create(
        pk=FROZEN,
        name="frozen",
        images=0,
        classes={},
        data_root=f"{state}/frozen/{FROZEN}/data",
        storage_name=image.storage_name,
        document_sha256=image.sha256,
        role=SnapshotRole.TRAINING,
        created_by="tests",
    )


def contents(link: psycopg.Connection[Any]) -> dict[str, tuple[int, str]]:
    """Rows and a hash over all values of every table, whatever the order."""
    names = link.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    found = {}
    for (name,) in sorted(names):
        row = link.execute(
            "SELECT count(*), coalesce(md5(string_agg(h, '' ORDER BY h)), '') "
            f'FROM (SELECT md5(t::text) AS h FROM "{name}" t) AS hashed'
        ).fetchone()
        assert row is not None
        found[name] = row
    return found


def here() -> psycopg.Connection[Any]:
    told = connection.get_connection_params()
    return psycopg.connect(**{k: told[k] for k in ("dbname", "user", "host") if k in told})


def manage(state: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k not in ("DATABASE_URL", "REDIS_URL")}
    env.pop("SECRET_KEY", None)
    env.pop("BCWEB_PATIENT_KEY", None)
    return subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={**env, "BCWEB_STATE": str(state)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_backup_holds_one_moment_and_comes_back_as_it_was(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    some_content(state)
    actor = make_actor(site=make_site())
    with here() as link:
        before = contents(link)
    images = Image.objects.count()

    def while_it_works(server: int) -> tuple[Path, int]:
        # A delivery that is committed after the moment and before the dump.
        submit(actor=actor)
        return dump.pg_dump_program(server)

    monkeypatch.setattr(command, "pg_dump_program", while_it_works)
    out, new = tmp_path / "backup.tar", tmp_path / "new state"
    call_command("backup", str(out))
    assert Image.objects.count() == images + 1
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    event = AuditEvent.objects.get(action="service.backed_up")
    assert event.detail == {
        "bytes": out.stat().st_size,
        "members": 9,
        "patient_key": True,
    }
    with pytest.raises(CommandError) as again:
        call_command("backup", str(out))
    assert again.value.returncode == 2

    assert main([str(out), "--state", str(new)]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[-2].startswith(f"restored: {new} (of ")
    assert told[-1] == f"Start it with: make run STATE={new}"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a state", "backup.tar", "new state"]
    _compare_files(state, new)
    with services.use(new, ["postgres"]), psycopg.connect(paths.database_url(new)) as link:
        after = contents(link)
        row = link.execute("SELECT data_root FROM cases_trainingsnapshot").fetchone()
        assert row == (f"{new}/frozen/{FROZEN}/data",)
    differing = {name for name in before if before[name] != after[name]}
    # Where the pictures of snapshots lie is another folder now.
    assert differing == {"cases_trainingsnapshot"}
    assert before["cases_trainingsnapshot"][0] == after["cases_trainingsnapshot"][0] == 1
    assert before["cases_blobchunk"][0] > 3

    done = manage(new, "verify_storage")
    # The snapshot's document is a picture here, and everything else is whole.
    assert done.returncode == 0, done.stdout + done.stderr
    assert "verify_storage: ok (" in done.stdout
    # The restored database keeps its trail as the old one did.
    refused = manage(new, "shell", "-c", ALTER_TRAIL)
    assert "append-only" in refused.stderr


ALTER_TRAIL = "from cases.models import AuditEvent as A; A.objects.update(action='x')"


def _compare_files(old: Path, new: Path) -> None:
    made = {p.relative_to(new).as_posix() for p in new.rglob("*") if p.is_file()}
    ours = {
        name for name in made if not re.match(r"(postgres|locks|log)/", name) and name != "valkey"
    }
    assert ours == {*RESTORED, "patient_key_id"}
    assert (new / "patient_key_id").read_text().strip() == patient_key_id()
    for name in RESTORED:
        assert (new / name).read_bytes() == (old / name).read_bytes()
        assert stat.S_IMODE((new / name).stat().st_mode) == 0o600
    for folder in (new, new / "frozen", new / "frozen" / FROZEN / "data"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def webhooks_of(state: Path) -> list[Any]:
    with services.use(state, ["postgres"]), psycopg.connect(paths.database_url(state)) as link:
        return link.execute("SELECT id, enabled, off_reason FROM cases_webhook").fetchall()


def test_the_patients_key_may_stay_apart(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, key = tmp_path / "backup.tar", tmp_path / "key"
    webhook, _ = make_webhook(make_site())
    call_command("backup", str(out), "--without-patient-key")
    assert patient_key_id() in capsys.readouterr().out
    key.write_bytes((state / "patient_key").read_bytes())
    assert main([str(out), "--state", str(tmp_path / "without")]) == 0
    said = capsys.readouterr().out
    assert patient_key_id() in said
    assert not (tmp_path / "without" / "patient_key").exists()
    # Nor does a copy call the receivers of the service it was made of.
    assert "Webhooks were switched off (1)" in said
    assert webhooks_of(tmp_path / "without") == [(webhook.pk, False, "by_hand")]
    words = [str(out), "--state", str(tmp_path / "with"), "--patient-key", str(key)]
    assert main([*words, "--keep-webhooks"]) == 0
    assert "Webhooks" not in capsys.readouterr().out
    assert webhooks_of(tmp_path / "with") == [(webhook.pk, True, "")]
    assert (tmp_path / "with" / "patient_key").read_bytes() == key.read_bytes()
    assert stat.S_IMODE((tmp_path / "with" / "patient_key").stat().st_mode) == 0o600
    # Another one would part every patient from the keys of before: neither given, nor made.
    key.write_text("k" * 64)
    words = [str(out), "--state", str(tmp_path / "wrong"), "--patient-key", str(key)]
    assert main(words) == 2
    assert patient_key_id() in capsys.readouterr().err
    assert not (tmp_path / "wrong").exists()
    refused = manage(tmp_path / "without", "check")
    assert refused.returncode
    assert f"was restored with the patients' key {patient_key_id()}" in refused.stderr
    assert not (tmp_path / "without" / "patient_key").exists()
    assert manage(tmp_path / "with", "check").returncode == 0


def test_an_older_key_beside_the_one_in_use_is_not_taken_for_it(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "patient_key").write_text("an older one, of before the environment had it")
    out = tmp_path / "backup.tar"
    call_command("backup", str(out))
    assert f"Its id is {patient_key_id()}" in capsys.readouterr().out
    with tarfile.open(out) as tar:
        assert "state/patient_key" not in tar.getnames()


def test_frozen_pictures_that_are_not_here_are_told_and_those_that_vanish_end_the_backup(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    some_content(state)
    pictures = state / "frozen" / FROZEN
    kept = pictures.rename(tmp_path / "kept")
    call_command("backup", str(tmp_path / "without"))
    assert "the pictures of 1 snapshots" in capsys.readouterr().out
    kept.rename(pictures)

    def while_it_works(state: Path, *, without_key: bool) -> Iterator[str]:
        shutil.rmtree(pictures)
        return iter(())

    monkeypatch.setattr(command, "_single_files", while_it_works)
    with pytest.raises(CommandError, match="cannot be written"):
        call_command("backup", str(tmp_path / "half"))
    assert not (tmp_path / "half").exists()


def test_a_restore_that_is_killed_leaves_nothing_that_looks_whole(
    state: Path, tmp_path: Path
) -> None:
    some_content(state)
    out, new = tmp_path / "backup.tar", tmp_path / "new"
    call_command("backup", str(out))
    draft = tmp_path / ".new.restoring"
    made_before = None

    def made() -> int | None:
        """When the draft's database was made; none yet."""
        with suppress(FileNotFoundError):
            return (draft / "postgres" / "PG_VERSION").stat().st_mtime_ns
        return None

    def is_under_way() -> bool:
        # The first of these may be over before somebody looks.
        return (draft / "postgres.draft").exists() or made() not in (None, made_before)

    for number in (signal.SIGKILL, signal.SIGTERM):
        process = subprocess.Popen(
            [sys.executable, "manage.py", "restore", str(out), "--state", str(new)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for("the restore is under way", is_under_way, seconds=400, every=0.01)
        process.send_signal(number)
        _, said = process.communicate(timeout=400)
        if number == signal.SIGKILL:
            # Its server is stopped by its keeper, and the next one must be seen to begin.
            wait_for("no server", lambda: not services.keeper_lives(draft, "postgres"))
            assert (draft / "postgres").exists()
            made_before = made()
        assert not new.exists()
        if number == signal.SIGTERM:
            # In order: nothing stays at all, though the first one had left its draft.
            assert process.returncode == 130
            assert "nothing was restored" in said
            assert not draft.exists()
    # What a killed one has left is no hindrance.
    assert main([str(out), "--state", str(new)]) == 0
    assert not draft.exists()
    assert (new / "postgres" / "PG_VERSION").exists()


def test_two_restores_into_one_folder_are_refused(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, new = tmp_path / "backup.tar", tmp_path / "new"
    call_command("backup", str(out))
    draft = tmp_path / ".new.restoring"
    draft.mkdir()
    held = linux.open_lock(draft / "restore.lock")
    try:
        assert linux.try_lock(held, shared=False)
        assert main([str(out), "--state", str(new)]) == 1
    finally:
        os.close(held)
    assert "under way" in capsys.readouterr().err
    assert draft.exists()
    assert not new.exists()


def test_a_backup_that_cannot_be_made_leaves_no_file(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandError) as refused:
        call_command("backup", str(tmp_path / "none" / "backup.tar"))
    assert refused.value.returncode == 2
    false = tmp_path / "bin"
    false.mkdir()
    (false / "pg_dump").write_text("#!/bin/sh\necho half a dump; exit 3\n")
    (false / "pg_dump").chmod(0o700)
    monkeypatch.setattr(command, "pg_dump_program", lambda server: (false / "pg_dump", server))
    with pytest.raises(CommandError, match="pg_dump failed"):
        call_command("backup", str(tmp_path / "backup.tar"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a state", "bin"]
    assert not AuditEvent.objects.filter(action="service.backed_up").exists()
    assert json.loads((state / "demo.json").read_text()) == {}
