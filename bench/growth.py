"""Does it stay as fast as it grows: pages with years of history, and claims from a long queue.

Server time of each page, in this process, through the whole of Django (middleware, view,
template or serializer, database) but no network, and its number of queries; first with a small
database, which is the baseline, then with a large one. Claims: the time and the memory of taking
a batch from queues of growing length.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bcweb.settling import settle
from bench import service
from bench.figures import Figure, Section, spread
from bench.sizes import Sizes

if TYPE_CHECKING:
    from django.test import Client

SMALL_CASES, SMALL_EVENTS = 200, 2_000
BASELINE = f"the same with {SMALL_CASES} cases and {SMALL_EVENTS:,} audit events"
CLAIM_BASELINE = "the same with the shortest queue"
BATCH = 8


@dataclass(frozen=True)
class Page:
    """Something to ask for: what it is called and its address, given the ids of the cases."""

    name: str
    path: Callable[[Any], str]
    by_token: bool = False


def run(sizes: Sizes) -> Section:
    with service.database():
        from django.core.management import call_command

        from bench import history

        call_command("collectstatic", interactive=False, verbosity=0)
        site = history.prepare()
        asked = _clients(site)
        # As the web server does before it forks.
        settle()
        history.grow(site, cases=min(SMALL_CASES, sizes.cases), events=SMALL_EVENTS)
        before = _pages(asked, history.places(site), sizes.page_repeats)
        began = time.perf_counter()
        history.grow(site, cases=sizes.cases, events=sizes.events)
        seeded_s = time.perf_counter() - began
        after = _pages(asked, history.places(site), sizes.page_repeats)
        claims = {n: _claims(history, site, n, sizes.claim_repeats) for n in sizes.queued}
    section = Section(
        name="growth",
        title=f"{sizes.cases:,} cases, {sizes.events:,} audit events, long queues",
        notes=[
            f"server time in one process, {sizes.page_repeats} times each; seeded in "
            f"{seeded_s:.0f} s; queries in brackets, the same before and after unless told",
        ],
        details={"pages_before": before, "pages": after, "claims": claims},
    )
    for name, found in after.items():
        queries = f"{found['queries']}"
        # The small database may have none of what is rare.
        was = before.get(name, found)
        if was["queries"] != found["queries"]:
            queries = f"{was['queries']} -> {queries}"
        section.figures.append(
            Figure(
                f"{name}, p95 [{queries}]", found["p95"], "ms", was["p95"], BASELINE,
                at_most=100 if found["goal"] else None,
            )
        )  # fmt: skip
    shortest = claims[sizes.queued[0]]
    for queued, found in claims.items():
        first = queued == sizes.queued[0]
        section.figures.append(
            Figure(
                f"claim {BATCH} of {queued:,} queued, p50", found["p50"], "ms",
                None if first else shortest["p50"], "" if first else CLAIM_BASELINE,
            )
        )  # fmt: skip
    last = claims[sizes.queued[-1]]
    section.figures.append(
        Figure(
            "memory of the claiming process, longest queue", last["rss_mib"], "MiB",
            shortest["rss_mib"], CLAIM_BASELINE,
        )
    )  # fmt: skip
    section.notes += [f"plan of the claim: {last['plan']}"]
    return section


def _clients(site: Any) -> dict[str, Client]:
    """A person at the portal, a system with a token, and an administrator with one."""
    from django.test import Client

    from tests.factories import make_token, make_user

    person = Client(SERVER_NAME="localhost")
    person.force_login(make_user(roles=["radiologist"], site=site))
    _, secret = make_token(scopes=["submit", "read"], site=site)
    _, wide = make_token(roles=["admin"], scopes=["read", "admin"], site=site)
    return {
        "portal": person,
        "api": Client(SERVER_NAME="localhost", headers={"Authorization": f"Bearer {secret}"}),
        "admin": Client(SERVER_NAME="localhost", headers={"Authorization": f"Bearer {wide}"}),
    }


def _pages(clients: dict[str, Client], places: dict[str, str], repeats: int) -> dict[str, Any]:
    """By page: milliseconds of server time, and queries."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    found: dict[str, Any] = {}
    for name, path in places.items():
        client = clients[name.split()[0]]
        _get(client, path)  # what is noted once, such as a first read, is noted here
        counted = []
        # Twice: into one of them may fall what is noted once a minute, such as a token's last use.
        for _ in range(2):
            with CaptureQueriesContext(connection) as caught:
                _get(client, path)
            counted.append(len(caught))  # the next request begins to count anew
        queries = min(counted)
        times = []
        for _ in range(repeats):
            began = time.perf_counter()
            _get(client, path)
            times.append(1000 * (time.perf_counter() - began))
        # The goal is told for the worklist and the list of cases.
        goal = "/cases/" in path or name.startswith("portal worklist")
        found[name] = spread(times) | {"queries": queries, "goal": goal}
    return found


def _get(client: Client, path: str) -> None:
    response = client.get(path)
    if response.status_code not in (200, 204):
        raise AssertionError(f"{path}: {response.status_code}")
    assert response.content or response.status_code == 204


def _claims(history: Any, site: Any, queued: int, repeats: int) -> dict[str, Any]:
    """Milliseconds per claim of a batch with ``queued`` jobs waiting, and this process's memory."""
    from cases.access import SYSTEM
    from cases.services.leases import engine_jobs_claim

    history.queue(site, queued)
    plan = history.claim_plan()
    gc.collect()
    times = []
    for number in range(repeats + 2):
        began = time.perf_counter()
        claims = engine_jobs_claim(actor=SYSTEM, limit=BATCH)
        took = 1000 * (time.perf_counter() - began)
        assert claims
        if number >= 2:
            times.append(took)
    rss = next(
        int(line.split()[1]) / 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS:")
    )
    history.unqueue()
    return spread(times) | {"rss_mib": rss, "plan": plan}
