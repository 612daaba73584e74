"""Saying in the answer itself that an address is on its way out (docs/api.md, Versions)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from wsgiref.handlers import format_date_time

from django.http.response import HttpResponseBase


@dataclass(frozen=True)
class Deprecated:
    """``since``: deprecated from this day on; ``sunset``: it may be gone from this one on."""

    since: date
    sunset: date
    # Where it is told what takes its place.
    link: str

    def tell(self, response: HttpResponseBase) -> None:
        """Put `Deprecation` (RFC 9745), `Sunset` (RFC 8594) and their link on ``response``."""
        response["Deprecation"] = f"@{int(_midnight(self.since).timestamp())}"
        response["Sunset"] = format_date_time(_midnight(self.sunset).timestamp())
        links = [response["Link"]] if response.has_header("Link") else []
        links += [f'<{self.link}>; rel="deprecation"', f'<{self.link}>; rel="sunset"']
        response["Link"] = ", ".join(links)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
