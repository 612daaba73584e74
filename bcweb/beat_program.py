"""The program `celery beat`, with an end that does not wait for itself.

Told to end, Celery saves its times within the signal's handler. Where the signal comes in the
middle of a query, the handler waits for the connection which it interrupted, for good. Here they
are saved on the way out.

Apart from ``bcweb.beat``: Celery asks for the program before Django's apps are loaded.
"""

from __future__ import annotations

from typing import Any

from celery import platforms
from celery.apps import beat


class Beat(beat.Beat):
    """Ended by SIGTERM or SIGINT wherever it is."""

    def install_sync_handler(self, service: Any) -> None:
        """Have ``Service.start`` come to its end, which saves."""

        def end(signum: int, frame: Any) -> None:
            # Where a callback swallows the exception, the loop ends with this round.
            service._is_shutdown.set()
            raise SystemExit

        platforms.signals.update(SIGTERM=end, SIGINT=end)
