"""Secrets by file: read strictly, never shown."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import dj_database_url
import psycopg
import pytest
import redis
from kombu.utils.url import url_to_parts

from bcweb import secret_files
from bcweb.embedded import command, roster

ROOT = Path(__file__).resolve().parents[1]
SECRET = "f2c9-once-upon-a-secret-0123456789-abcdef"


def written(folder: Path, content: str | bytes = SECRET, name: str = "secret") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_a_secret_comes_by_value_or_by_file(tmp_path: Path) -> None:
    file = written(tmp_path, f"{SECRET}\n")
    assert secret_files.value({"SECRET_KEY": SECRET}, "SECRET_KEY") == SECRET
    assert secret_files.value({"SECRET_KEY_FILE": str(file)}, "SECRET_KEY") == SECRET
    assert secret_files.value({}, "SECRET_KEY") == ""
    # Compose passes a variable on that is set to nothing.
    assert secret_files.value({"SECRET_KEY": "", "SECRET_KEY_FILE": ""}, "SECRET_KEY") == ""


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read (No such file or directory)"),
        ("", "is empty"),
        (" \n", "is empty"),
        (f"{SECRET}\n{SECRET}", "must hold one line of text"),
        (f"{SECRET}\0", "must hold one line of text"),
        (b"\xff\xfe" + SECRET.encode(), "is not text in UTF-8"),
        (SECRET * 3000, "must hold one line of text"),
    ],
)
def test_a_file_that_holds_no_secret_is_named(
    content: str | bytes | None, told: str, tmp_path: Path
) -> None:
    path = tmp_path / "secret" if content is None else written(tmp_path, content)
    with pytest.raises(secret_files.SecretFileError) as caught:
        secret_files.check({"BCWEB_WEBHOOK_KEY_FILE": str(path)})
    assert str(caught.value) == f"BCWEB_WEBHOOK_KEY_FILE: {path} {told}"
    assert caught.value.__cause__ is None


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(secret_files.SecretFileError, match="Is a directory"):
        secret_files.check({"SECRET_KEY_FILE": str(tmp_path)})


@pytest.mark.parametrize("name", secret_files.NAMES)
def test_value_and_file_at_once_are_refused(name: str, tmp_path: Path) -> None:
    told = {name: "redis://elsewhere", f"{name}_FILE": str(written(tmp_path))}
    with pytest.raises(secret_files.SecretFileError) as caught:
        secret_files.check(told)
    assert str(caught.value) == f"{name}, {name}_FILE: set one of them, not both"


@pytest.mark.parametrize("password", ["plain", "a/b?c#d@e:f%20 g+ü", SECRET])
def test_a_password_reaches_every_driver_as_it_is(password: str, tmp_path: Path) -> None:
    file = str(written(tmp_path, password))
    told = {
        "DATABASE_URL": "postgresql://bcweb_app@postgres:5432/bcweb",
        "DATABASE_PASSWORD_FILE": file,
        "REDIS_URL": "rediss://valkey:6379/3",
        "REDIS_PASSWORD_FILE": file,
    }
    database, queue = secret_files.database_url(told), secret_files.redis_url(told)
    assert dj_database_url.parse(database)["PASSWORD"] == password
    known = psycopg.conninfo.conninfo_to_dict(database)
    assert (known["user"], known["password"]) == ("bcweb_app", password)
    assert (known["host"], known["port"], known["dbname"]) == ("postgres", "5432", "bcweb")
    assert url_to_parts(queue).password == password
    kept = redis.ConnectionPool.from_url(queue).connection_kwargs
    assert (kept["password"], kept["host"], kept["db"]) == (password, "valkey", 3)


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"DATABASE_PASSWORD": SECRET}, "DATABASE_PASSWORD: needs DATABASE_URL"),
        ({"REDIS_PASSWORD": SECRET}, "REDIS_PASSWORD: needs REDIS_URL"),
        (
            {"DATABASE_PASSWORD": SECRET, "DATABASE_URL": "postgresql://app:other@db/bcweb"},
            "DATABASE_PASSWORD: there is a password in DATABASE_URL already",
        ),
        (
            {"DATABASE_PASSWORD": SECRET, "DATABASE_URL": "postgresql://db/bcweb"},
            "DATABASE_PASSWORD: needs a user in DATABASE_URL",
        ),
        (
            {"REDIS_PASSWORD": SECRET, "REDIS_URL": "redis+socket:///run/redis/redis.sock"},
            "REDIS_PASSWORD: needs a host in REDIS_URL",
        ),
    ],
)
def test_a_password_without_a_url_for_it_is_refused(told: dict[str, str], sentence: str) -> None:
    read = secret_files.database_url if "DATABASE_PASSWORD" in told else secret_files.redis_url
    with pytest.raises(secret_files.SecretFileError) as caught:
        read(told)
    assert str(caught.value) == sentence


def test_a_url_by_file_needs_no_embedded_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"DATABASE_URL_FILE": str(written(tmp_path, "postgresql://app@db/bcweb"))}
    assert command.missing_kinds(told) == ["valkey"]
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.setenv("DATABASE_URL_FILE", told["DATABASE_URL_FILE"])
    assert "DATABASE_URL" not in roster.environment(tmp_path, "http://localhost")


def settings_of(
    state: Path, told: dict[str, str], expression: str
) -> subprocess.CompletedProcess[str]:
    """Settings in a process of its own, with nothing but these variables."""
    code = f"from bcweb import settings; print({expression})"
    environ = {k: v for k, v in os.environ.items() if k.removesuffix("_FILE") not in NAMED}
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environ, "BCWEB_STATE": str(state), **told},
        capture_output=True,
        text=True,
        check=False,
    )


NAMED = (*secret_files.NAMES, "BCWEB_STATE")


def test_settings_take_every_secret_from_its_file(tmp_path: Path) -> None:
    password = "p/w@:%"
    contents = {
        "SECRET_KEY": SECRET,
        "BCWEB_PATIENT_KEY": f"{SECRET}-patients",
        "DATABASE_PASSWORD": password,
        "REDIS_URL": "redis://:queue@valkey:6379/0",
        "BCWEB_METRICS_TOKEN": f"{SECRET}-metrics",
        "BCWEB_WEBHOOK_KEY": f"{SECRET}-hooks",
    }
    told = {f"{k}_FILE": str(written(tmp_path, f"{v}\n", k)) for k, v in contents.items()}
    told["DATABASE_URL"] = "postgresql://app@db/bcweb"
    seen = (
        "[settings.SECRET_KEY, settings.BCWEB_PATIENT_KEY, "
        "settings.DATABASES['default']['PASSWORD'], settings.REDIS_URL, "
        "settings.BCWEB_METRICS_TOKEN, settings.BCWEB_WEBHOOK_KEY] == "
        f"{list(contents.values())!r}"
    )
    done = settings_of(tmp_path / "state", told, seen)
    assert (done.returncode, done.stdout.strip()) == (0, "True"), done.stderr
    # Nothing was made beside what is given.
    assert not (tmp_path / "state").exists()


def test_settings_name_what_is_wrong_and_show_no_secret(tmp_path: Path) -> None:
    broken = {"SECRET_KEY": SECRET, "SECRET_KEY_FILE": str(written(tmp_path))}
    done = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=ROOT,
        env={**os.environ, **broken},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    sentence = "settings from the environment: SECRET_KEY, SECRET_KEY_FILE: set one of them"
    assert sentence in done.stderr
    assert SECRET not in done.stderr + done.stdout


def test_the_health_check_reads_the_password_from_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bcweb.embedded import healthcheck

    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setenv("DATABASE_PASSWORD_FILE", str(tmp_path / "none"))
    assert "DATABASE_PASSWORD_FILE" in str(healthcheck.pulse_fault("beat"))
    monkeypatch.setenv("DATABASE_PASSWORD_FILE", str(written(tmp_path)))
    told = str(healthcheck.pulse_fault("beat"))
    assert "connection" in told
    assert SECRET not in told
    assert urlsplit(secret_files.database_url(os.environ)).password == SECRET
