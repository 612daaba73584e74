"""What the idle service holds in memory, by process: resident, and the proportional share.

The proportional set size (PSS) counts a page that several processes share once in all, so only it
can be added up. Read after some images were answered, when everything is loaded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bcweb.embedded import linux
from bench import service
from bench.client import Client, submission
from bench.figures import Figure, Section
from bench.pictures import pictures, variant
from bench.sizes import Sizes
from tests.live import wait_for

IMAGES = 12
# After the work: what is given back is given back by then.
SETTLE_S = 6.0
# By a word of the command line, in this order; whatever a process starts belongs to it.
KINDS = {
    "gunicorn": "web",
    "inference,maintenance": "inference worker",
    "training,maintenance": "training worker",
    " beat": "beat",
    "keeper postgres": "postgres",
    "keeper valkey": "valkey",
}


@dataclass
class Held:
    """MiB of one group of processes."""

    processes: int = 0
    rss: float = 0.0
    pss: float = 0.0


def run(sizes: Sizes) -> Section:
    with service.live() as found:
        return measure(found, sizes)


def measure(found: service.LiveService, sizes: Sizes) -> Section:
    client = Client(found.url, found.demo["integration"]["token"])
    jobs = []
    for number, data in enumerate(pictures(4) * (IMAGES // 4)):
        body, headers = submission(variant(data, f"memory {number} {time.time_ns()}"))
        made = client.ask("POST", "/api/v1/submissions/", body, **headers).json()
        jobs.append(made["jobs"][0]["id"])
    wait_for(
        "the answers",
        lambda: client.ask("GET", f"/api/v1/jobs/{jobs[-1]}/").json()["result"],
        every=0.2,
    )
    time.sleep(SETTLE_S if sizes.rounds > 1 else 0)
    groups = _groups(found)
    total = Held()
    figures = []
    for name, held in groups.items():
        limit = 1200.0 if name == "inference worker" else None
        figures.append(Figure(f"{name}, RSS", held.rss, "MiB", at_most=limit))
        figures.append(Figure(f"{name}, PSS", held.pss, "MiB"))
        total.processes += held.processes
        total.pss += held.pss
    figures.append(Figure("the whole service, PSS", total.pss, "MiB"))
    processes = {name: held.processes for name, held in groups.items()}
    return Section(
        name="memory",
        title="memory of the idle service",
        figures=figures,
        notes=[
            "RSS added up counts shared pages several times, above all Postgres' buffers; PSS "
            f"counts each once; processes: {processes}",
            "the inference worker is the worker, its engine with the model, and nothing else",
        ],
    )


def family_of(found: service.LiveService, kind: str) -> list[int]:
    """The processes of one kind, and whatever they started."""
    first = [pid for pid in linux.descendants(found.process.pid) if _kind(pid) == kind]
    return sorted({one for pid in first for one in (pid, *linux.descendants(pid))})


def web_memory(found: service.LiveService) -> float:
    """The proportional share of the web server, in MiB."""
    held = Held()
    _add(held, family_of(found, "web"))
    return held.pss


def _groups(found: service.LiveService) -> dict[str, Held]:
    groups: dict[str, Held] = {}
    seen: set[int] = set()
    for pid in linux.descendants(found.process.pid):
        kind = _kind(pid)
        if kind is None or pid in seen:
            continue
        family = [pid, *linux.descendants(pid)]
        _add(groups.setdefault(kind, Held()), [one for one in family if one not in seen])
        seen.update(family)
    rest = [pid for pid in linux.descendants(found.process.pid) if pid not in seen]
    _add(groups.setdefault("supervisor", Held()), [found.process.pid, *rest])
    return groups


def _kind(pid: int) -> str | None:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return None
    return next((kind for word, kind in KINDS.items() if word in words), None)


def _add(held: Held, pids: Sequence[int]) -> None:
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue  # ended, or a kernel thread
        sizes = {line.split(":")[0]: line.split()[1] for line in lines[1:]}
        held.processes += 1
        held.rss += int(sizes["Rss"]) / 1024
        held.pss += int(sizes["Pss"]) / 1024
