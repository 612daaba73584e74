"""The answer to somebody who waits: what is known now, and a seat for what comes."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse

from cases.events.hub import hub
from cases.events.seats import Seat

EVENT_STREAM = "text/event-stream"


class EventStream(HttpResponse):
    """A snapshot as `text/event-stream`. Where the server hands the connection over, it goes on
    (`bcweb.handover`); else it ends there, and the client asks again after a moment."""

    def __init__(self, content: bytes, *, seat: Seat | None, **kwargs: Any) -> None:
        super().__init__(content, content_type=EVENT_STREAM, **kwargs)
        # No proxy may keep events back until there are more of them (nginx heeds the second).
        self["Cache-Control"] = "private, no-store"
        self["X-Accel-Buffering"] = "no"
        self._seat = seat

    def take_seat(self) -> Seat | None:
        """The seat, for whoever has a connection for it: once."""
        seat, self._seat = self._seat, None
        return seat

    def close(self) -> None:
        seat = self.take_seat()
        if seat is not None:
            hub().leave(seat)
        super().close()
