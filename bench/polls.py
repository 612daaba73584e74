"""How often `GET /jobs/{id}/` is answered, with 304 and with 200, beside a page without anything.

Clients that keep their connections ask as fast as they are answered: for a job that has ended,
with its ETag and without.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench import service
from bench.client import Answer, Client, Load, submission, together
from bench.figures import Figure, Section, spread
from bench.pictures import pictures, variant
from bench.sizes import Sizes
from tests.live import wait_for

BASELINE = "GET /healthz: the web server, the middleware, and no database"


def run(sizes: Sizes) -> Section:
    with service.live() as found:
        return measure(found, sizes)


def measure(found: service.LiveService, sizes: Sizes) -> Section:
    token = found.demo["integration"]["token"]
    client = Client(found.url, token)
    body, headers = submission(variant(pictures(1)[0], f"polls {time.time_ns()}"))
    made = client.ask("POST", "/api/v1/submissions/", body, **headers).json()
    path = f"/api/v1/jobs/{made['jobs'][0]['id']}/"
    wait_for("the result", lambda: client.ask("GET", path).json()["result"], every=0.1)
    etag = client.ask("GET", path).headers["ETag"]
    clients = [Client(found.url, token) for _ in range(sizes.clients)]
    loads = _in_turns(clients, path, etag, sizes)
    figures = []
    health = loads["health"]
    for name, what in (("304", "304, not modified"), ("200", "200, with its result")):
        rate, base = _rate(loads[name]), _rate(health)
        figures.append(Figure(what, rate, "/s", base, BASELINE, at_least=300))
        times = spread([1000 * seconds for load in loads[name] for seconds in load.seconds])
        own = spread([1000 * seconds for load in health for seconds in load.seconds])
        figures.append(Figure(f"{name}, p95", times["p95"], "ms", own["p95"], BASELINE, at_most=40))
    return Section(
        name="polls",
        title=f"polling a job, {sizes.clients} clients",
        figures=figures,
        notes=[
            f"{sizes.rounds} rounds of {sizes.poll_seconds:g} s each, in turns; the clients run on "
            "the same processors; statuses "
            + str({name: [load.statuses for load in found] for name, found in loads.items()})
        ],
    )


def _in_turns(
    clients: Sequence[Client], path: str, etag: str, sizes: Sizes
) -> dict[str, list[Load]]:
    asks = {
        "health": lambda client, done: client.ask("GET", "/healthz"),
        "304": lambda client, done: client.ask("GET", path, If_None_Match=etag),
        "200": lambda client, done: client.ask("GET", path),
    }
    loads: dict[str, list[Load]] = {name: [] for name in asks}
    for number in range(sizes.rounds + 1):
        for name, ask in asks.items():
            wanted = 200 if name == "health" else int(name)

            def checked(client: Client, done: int, ask=ask, wanted=wanted) -> Answer:
                answer = ask(client, done)
                if answer.status != wanted:
                    raise AssertionError(f"{answer.status} instead of {wanted}")
                return answer

            load = together(clients, checked, seconds=sizes.poll_seconds)
            if number:  # the first round opens the connections
                loads[name].append(load)
    return loads


def _rate(loads: Sequence[Load]) -> float:
    return sum(len(load.seconds) for load in loads) / sum(load.wall_s for load in loads)
