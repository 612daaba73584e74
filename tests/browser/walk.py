"""Every page that somebody reaches by links: one of each kind."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=/)\d+(?=/)")
# Swagger's own pages and everything that is no page of the portal.
_ELSEWHERE = ("/api/", "/static/", "/healthz", "/readyz", "/metrics")


def kind_of(path: str) -> str:
    """What pages of one sort have in common: the path with ids left out, as a file's name."""
    return _ID.sub("ID", path).strip("/").replace("/", "-") or "home"


def pages(page: Any, url: str, start: str = "/") -> Iterator[str]:
    """Open each page that links lead to from ``start``, breadth first, and give its kind.

    The page is open while the caller looks. Addresses that differ in an id or a query alone are
    one kind, of which the first one met is opened. What is no HTML (files, plots, exports) is
    passed over.
    """
    waiting, met = deque([start]), {kind_of(start)}
    while waiting:
        if not _opened(page, url + waiting.popleft()):
            continue
        links = page.eval_on_selector_all(
            "a[href]:not([download])", "links => links.map(link => link.href)"
        )
        yield kind_of(urlsplit(page.url).path)
        for link in links:
            path = urlsplit(link).path
            is_here = link.startswith(f"{url}/") and not path.startswith(_ELSEWHERE)
            if is_here and kind_of(path) not in met:
                met.add(kind_of(path))
                waiting.append(link[len(url) :].partition("#")[0])


def _opened(page: Any, address: str) -> bool:
    from playwright.sync_api import Error

    try:
        answer = page.goto(address)
    except Error as error:
        if "Download is starting" in str(error) or "ERR_ABORTED" in str(error):
            return False
        raise
    return answer is None or "html" in (answer.headers.get("content-type") or "")
