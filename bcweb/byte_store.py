"""Settings of where uploaded bytes are kept: Postgres, or an S3-compatible bucket."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import environs
from django.core.exceptions import ImproperlyConfigured
from marshmallow import validate

# One PUT takes no more (and a whole object is one PUT).
MAX_PUT_BYTES = 5 * 1024**3
# The first answer to a connection comes within this, or not at all.
CONNECT_SECONDS = 2
# Of a worker's lease one call may take so much: its jobs must not be taken for lost meanwhile.
LEASE_PART = 0.75
_LETTERS = r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]"


def declare(env: environs.Env) -> dict[str, Any]:
    """Read the variables; wrong ones are named when the environment is sealed."""
    return {
        "BCWEB_STORAGE": env.str(
            "BCWEB_STORAGE", default="postgres", validate=validate.OneOf(["postgres", "s3"])
        ),
        "BCWEB_S3_BUCKET": env.str(
            "BCWEB_S3_BUCKET", default="", validate=validate.Regexp(rf"^({_LETTERS})?\Z")
        ),
        "BCWEB_S3_PREFIX": env.str(
            "BCWEB_S3_PREFIX",
            default="",
            validate=validate.Regexp(r"^([a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*)?\Z"),
        ),
        "BCWEB_S3_ENDPOINT": env.str("BCWEB_S3_ENDPOINT", default=""),
        "BCWEB_S3_REGION": env.str(
            "BCWEB_S3_REGION", default="us-east-1", validate=validate.Regexp(r"^[a-z0-9-]+\Z")
        ),
        "BCWEB_S3_ACCESS_KEY": env.str("BCWEB_S3_ACCESS_KEY", default=""),
        "BCWEB_S3_SECRET_KEY": env.str("BCWEB_S3_SECRET_KEY", default=""),
        "BCWEB_S3_ADDRESSING": env.str(
            "BCWEB_S3_ADDRESSING",
            default="auto",
            validate=validate.OneOf(["auto", "path", "virtual"]),
        ),
        "BCWEB_S3_SECONDS": env.int("BCWEB_S3_SECONDS", default=5, validate=validate.Range(1, 120)),
        "BCWEB_S3_ATTEMPTS": env.int(
            "BCWEB_S3_ATTEMPTS", default=2, validate=validate.Range(1, 10)
        ),
    }


def longest_call(told: dict[str, Any]) -> float:
    """Seconds until a call to a server that hangs has been given up for good."""
    seconds, attempts = told["BCWEB_S3_SECONDS"], told["BCWEB_S3_ATTEMPTS"]
    # The pauses between the attempts are at most 1, 2, 4, ... 20 s.
    pauses = sum(min(2**number, 20) for number in range(attempts - 1))
    return float(attempts * (min(CONNECT_SECONDS, seconds) + seconds) + pauses)


def uploads_storage(
    told: dict[str, Any], max_upload_bytes: int, lease_seconds: int
) -> dict[str, Any]:
    """The entry of STORAGES. Raises ``ImproperlyConfigured`` for what cannot go together."""
    given = [name for name in told if name.startswith("BCWEB_S3_") and _is_set(told, name)]
    if told["BCWEB_STORAGE"] == "postgres":
        if told["BCWEB_S3_BUCKET"]:
            raise ImproperlyConfigured("BCWEB_S3_BUCKET: is used with BCWEB_STORAGE=s3 only")
        return {"BACKEND": "cases.storage.PostgresStorage"}
    if "BCWEB_S3_BUCKET" not in given:
        raise ImproperlyConfigured("BCWEB_S3_BUCKET: name the bucket for BCWEB_STORAGE=s3")
    if bool(told["BCWEB_S3_ACCESS_KEY"]) != bool(told["BCWEB_S3_SECRET_KEY"]):
        raise ImproperlyConfigured(
            "BCWEB_S3_ACCESS_KEY, BCWEB_S3_SECRET_KEY: set both, or neither for the machine's role"
        )
    _check_endpoint(told["BCWEB_S3_ENDPOINT"])
    if max_upload_bytes > MAX_PUT_BYTES:
        raise ImproperlyConfigured("BCWEB_MAX_UPLOAD_BYTES: at most 5 GiB with BCWEB_STORAGE=s3")
    if longest_call(told) > LEASE_PART * lease_seconds:
        raise ImproperlyConfigured(
            f"BCWEB_S3_SECONDS, BCWEB_S3_ATTEMPTS: a call may take {longest_call(told):g} s, and "
            f"BCWEB_LEASE_SECONDS={lease_seconds} allows {LEASE_PART * lease_seconds:g} s"
        )
    return {"BACKEND": "cases.storage_s3.S3Uploads", "OPTIONS": _options(told)}


def _is_set(told: dict[str, Any], name: str) -> bool:
    return told[name] not in ("", None)


def _check_endpoint(url: str) -> None:
    if not url:
        return
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ImproperlyConfigured(f"BCWEB_S3_ENDPOINT: {error}") from error
    rest = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or rest or port == 0:
        raise ImproperlyConfigured("BCWEB_S3_ENDPOINT: must be http(s)://host[:port]")


def _options(told: dict[str, Any]) -> dict[str, Any]:
    try:
        import storages  # noqa: F401
        from botocore.config import Config
    except ModuleNotFoundError as error:
        raise ImproperlyConfigured(
            f"BCWEB_STORAGE=s3: the package {error.name} is not installed (pip install '.[s3]')"
        ) from error
    return {
        "bucket_name": told["BCWEB_S3_BUCKET"],
        "location": told["BCWEB_S3_PREFIX"],
        "endpoint_url": told["BCWEB_S3_ENDPOINT"] or None,
        "region_name": told["BCWEB_S3_REGION"],
        "access_key": told["BCWEB_S3_ACCESS_KEY"] or None,
        "secret_key": told["BCWEB_S3_SECRET_KEY"] or None,
        "default_acl": None,
        "file_overwrite": False,
        "client_config": Config(
            signature_version="s3v4",
            connect_timeout=min(CONNECT_SECONDS, told["BCWEB_S3_SECONDS"]),
            read_timeout=told["BCWEB_S3_SECONDS"],
            retries={"mode": "standard", "total_max_attempts": told["BCWEB_S3_ATTEMPTS"]},
            # The server compares what arrives with the signed hash; the newer checksums in
            # trailers are not known to every server.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": told["BCWEB_S3_ADDRESSING"], "payload_signing_enabled": True},
        ),
    }
