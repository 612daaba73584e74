"""Container health checks: `launch.py healthcheck web|beat|inference|training|webhooks`.

For the web server an answer of /healthz on this machine; for the others a fresh pulse of this host
in the database. Light on purpose (it runs every half minute): no Django, no Celery.
"""

from __future__ import annotations

import os
import socket
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping

from bcweb import secret_files

from .roster import accepted_host

_PULSE_SECONDS = 30
_PULSE = """
    SELECT count(*) FROM cases_serviceheartbeat
    WHERE kind = %s AND ready AND details->>'host' = %s
      AND seen_at > now() - make_interval(secs => %s)
"""


def main(arguments: list[str]) -> int:
    """Return 0 when the service named on the command line is well, 1 with a line when not."""
    kind = arguments[0]
    fault = web_fault(os.environ) if kind == "web" else pulse_fault(kind)
    if fault:
        print(fault, file=sys.stderr)
    return 1 if fault else 0


def web_fault(environ: Mapping[str, str]) -> str | None:
    """Ask the web server whether it lives; return what is wrong."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{environ.get('PORT', '8000')}/healthz",
        headers={"Host": accepted_host(environ)},
    )
    try:
        with urllib.request.urlopen(request, timeout=5):  # noqa: S310 - a fixed http URL
            return None
    except (OSError, urllib.error.URLError) as error:
        return f"the web server does not answer: {error}"


def pulse_fault(kind: str) -> str | None:
    """Look for a fresh pulse of this host's service; return what is wrong."""
    # The driver is there in every image, but not where this package runs without site-packages.
    import psycopg

    try:
        with psycopg.connect(
            secret_files.database_url(os.environ), connect_timeout=5
        ) as connection:
            row = connection.execute(
                _PULSE, (kind, socket.gethostname(), _PULSE_SECONDS)
            ).fetchone()
    except (secret_files.SecretFileError, psycopg.Error) as error:
        return f"the database cannot be asked: {error}"
    return None if row and row[0] else f"no pulse of {kind} within {_PULSE_SECONDS} s"
