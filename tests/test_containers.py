"""What the containers run, run here without an engine."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import yaml

from bcweb.embedded import ephemeral, healthcheck, paths
from tests.live import wait_for

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_secrets_are_made_once_for_every_file_the_compose_file_names(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    folder = tmp_path / "the secrets"
    command = ["sh", str(ROOT / "deploy" / "make-secrets.sh"), str(folder)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(made) == set(compose["secrets"])
    assert len(set(made.values())) == len(made)
    for name, value in made.items():
        assert re.fullmatch(r"[0-9a-f]{64}", value), name
        # Docker mounts a file as it is, and containers have users of their own.
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o444
        assert value not in said
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (folder / "metrics_token").unlink()
    subprocess.run(command, check=True, capture_output=True)
    again = {path.name: path.read_text() for path in folder.iterdir()}
    assert again.pop("metrics_token") != made.pop("metrics_token")
    assert again == made


def test_the_queue_reads_its_password_from_standard_input(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    """The container's own command, here with the server at hand."""
    script = compose["services"]["valkey"]["command"][2].replace("$$", "$")
    password = tmp_path / "valkey_password"
    password.write_text("0123abcd")
    script = script.replace("/run/secrets/valkey_password", str(password))
    with tempfile.TemporaryDirectory(prefix="q", dir="/tmp") as short:
        script = script.replace(
            "valkey-server -", f"{paths.valkey_server()} - --port 0 --unixsocket {short}/s"
        )
        environment = {**os.environ, "VALKEY_MAXMEMORY": "64mb"}
        with subprocess.Popen(
            ["sh", "-c", script], cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL
        ) as server:
            try:
                client = redis.Redis(unix_socket_path=f"{short}/s", password="0123abcd")
                wait_for("the queue to answer", lambda: answers(client))
                assert client.config_get("maxmemory") == {"maxmemory": str(64 * 1024**2)}
                with pytest.raises(redis.AuthenticationError):
                    redis.Redis(unix_socket_path=f"{short}/s").ping()
                told = Path(f"/proc/{server.pid}/cmdline").read_bytes()
                # The shell gave its place to the server, which gets the signals.
                assert b"valkey-server" in told
                assert b"0123abcd" not in told
            finally:
                server.terminate()


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def test_health_check_of_a_web_server_that_is_not_there_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PORT", "1")
    assert "does not answer" in str(healthcheck.web_fault(os.environ))


@pytest.mark.django_db(transaction=True)
def test_health_check_of_a_worker_looks_for_its_pulse(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    from django.db import connection

    from cases.services.pulse import pulse_beat

    name = connection.settings_dict["NAME"]
    base = os.environ["DATABASE_URL"].rsplit("/", 1)[0]
    monkeypatch.setenv("DATABASE_URL", f"{base}/{name}")
    assert healthcheck.pulse_fault("beat") == "no pulse of beat within 30 s"
    details = {"host": socket.gethostname(), "pid": os.getpid()}
    pulse_beat(name="beat@here", kind="beat", ready=True, details=details)
    assert healthcheck.pulse_fault("beat") is None
    assert healthcheck.pulse_fault("inference") is not None


def test_roles_of_the_compose_file_keep_the_application_from_owning_tables(tmp_path: Path) -> None:
    """The script that the database container runs at first, run here on a real Postgres."""
    folder = tmp_path / "a state"
    for name, password in (("owner", "it's quoted"), ("app", 'o"t\\her')):
        (tmp_path / f"{name}_password").write_text(f"{password}\n")
    with ephemeral(folder):
        socket_folder = str(paths.run_folder(folder))
        environment = {
            "PATH": f"{paths.postgres_bin()}{os.pathsep}{os.environ['PATH']}",
            "PGHOST": socket_folder,
            "POSTGRES_USER": paths.DATABASE_USER,
            "OWNER_PASSWORD_FILE": str(tmp_path / "owner_password"),
            "APP_PASSWORD_FILE": str(tmp_path / "app_password"),
            # The embedded server's own database has the name of the container's.
            "BCWEB_DATABASE": "other",
        }
        script = str(ROOT / "deploy" / "postgres-roles.sh")
        subprocess.run([script], env=environment, check=True, capture_output=True)
        common: dict[str, Any] = {"host": socket_folder, "dbname": "other", "autocommit": True}
        with psycopg.connect(user="bcweb_owner", **common) as owner:
            owner.execute("create table audit (id bigint generated always as identity)")
        with psycopg.connect(user="bcweb_app", **common) as application:
            application.execute("insert into audit default values")
            application.execute("update audit set id = default")
            for forbidden in (
                "truncate audit",
                "alter table audit disable trigger all",
                "drop table audit",
                "set session_replication_role = replica",
                "create table mine (id int)",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    application.execute(forbidden)
