"""Secrets by file: `NAME_FILE` names a file that holds the value of `NAME`.

Containers and systemd hand secrets over as files, which neither `docker inspect` nor a child's
environment shows. Either a value or a file; a password of its own (`DATABASE_PASSWORD`,
`REDIS_PASSWORD`) goes into the URL that has none, so that one file serves server and client. No
sentence of this module holds a secret. Standard library only: health checks use it without Django.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit

NAMES = (
    "SECRET_KEY",
    "BCWEB_PATIENT_KEY",
    "DATABASE_URL",
    "DATABASE_PASSWORD",
    "REDIS_URL",
    "REDIS_PASSWORD",
    "BCWEB_METRICS_TOKEN",
    "BCWEB_WEBHOOK_KEY",
    "BCWEB_OIDC_SECRET",
    "BCWEB_S3_ACCESS_KEY",
    "BCWEB_S3_SECRET_KEY",
)
SUFFIX = "_FILE"
# More is no secret, but a path that was mixed up.
_MOST_BYTES = 64 * 1024


class SecretFileError(ValueError):
    """One sentence that names the variable."""


def is_told(environ: Mapping[str, str], name: str) -> bool:
    """Tell whether a secret is given, by value or by file."""
    return bool(environ.get(name) or environ.get(name + SUFFIX))


def check(environ: Mapping[str, str]) -> None:
    """Raise ``SecretFileError`` for the first secret that cannot be read or is given twice."""
    for name in NAMES:
        value(environ, name)


def value(environ: Mapping[str, str], name: str) -> str:
    """A secret as it is given, by value or by file; empty where it is not.

    White space around what a file holds does not count: editors end files with a new line. Raises
    ``SecretFileError`` where both are given, and for a file that is not there, not readable, empty,
    or not one line of text.
    """
    given, file = environ.get(name, ""), environ.get(name + SUFFIX, "")
    if not file:
        return given
    if given:
        raise SecretFileError(f"{name}, {name}{SUFFIX}: set one of them, not both")
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SecretFileError(f"{name}{SUFFIX}: {file} cannot be read ({error.strerror})") from None
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        # The error's own sentence would tell bytes of it.
        raise SecretFileError(f"{name}{SUFFIX}: {file} is not text in UTF-8") from None
    if not text:
        raise SecretFileError(f"{name}{SUFFIX}: {file} is empty")
    if len(content) > _MOST_BYTES or len(text.splitlines()) > 1 or "\0" in text:
        raise SecretFileError(f"{name}{SUFFIX}: {file} must hold one line of text")
    return text


def database_url(environ: Mapping[str, str]) -> str:
    """The database's URL with its password; empty where none is given. ``SecretFileError``."""
    return _with_password(environ, "DATABASE", needs_user=True)


def redis_url(environ: Mapping[str, str]) -> str:
    """The URL of Redis with its password; empty where none is given. ``SecretFileError``."""
    return _with_password(environ, "REDIS", needs_user=False)


def _with_password(environ: Mapping[str, str], kind: str, *, needs_user: bool) -> str:
    url = value(environ, f"{kind}_URL")
    password = value(environ, f"{kind}_PASSWORD")
    if not password:
        return url
    if not url:
        raise SecretFileError(f"{kind}_PASSWORD: needs {kind}_URL")
    try:
        parts = urlsplit(url)
        has_one = parts.password is not None
    except ValueError:
        raise SecretFileError(f"{kind}_URL: is no URL") from None
    if has_one:
        raise SecretFileError(f"{kind}_PASSWORD: there is a password in {kind}_URL already")
    if not parts.netloc:
        raise SecretFileError(f"{kind}_PASSWORD: needs a host in {kind}_URL")
    user, _, host = parts.netloc.rpartition("@")
    if needs_user and not user:
        raise SecretFileError(f"{kind}_PASSWORD: needs a user in {kind}_URL")
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()
