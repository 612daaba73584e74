"""The service of a run: the supervisor and the plan of `make run`, with two inference workers.

`python -m bench.chaos.service --port N --state DIR`. Programs that are to fail on demand are
replaced by their stand-ins; nothing else differs, and the service itself knows of no chaos.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

from bcweb.embedded import linux, paths, roster, supervisor
from bcweb.embedded.errors import StartupError
from bcweb.embedded.process import Service
from bcweb.embedded.supervisor import Supervisor

WORKERS = ("inference", "inference-2")
# Those whose clock can be stepped.
CLOCKS = ("web", "beat", *WORKERS)


def plan(port: int, clocks: Path) -> roster.Plan:
    """bcweb's own plan, changed where the driver needs a hold. No training worker: it does
    nothing here."""
    own = roster.plan(host="127.0.0.1", port=port)
    known = {service.name: service for service in own.services}
    services = (
        *(_worker(known["inference"], name) for name in WORKERS),
        _web(known["web"]),
        known["beat"],
    )
    readiness = own.readiness
    assert readiness is not None
    return replace(
        own,
        services=tuple(_clocked(service, clocks) for service in services),
        stop_groups=(("web", "beat", *WORKERS),),
        readiness=replace(readiness, wanted={"inference": len(WORKERS), "beat": 1}),
    )


def _worker(service: Service, name: str) -> Service:
    command = list(service.command)
    command[command.index("celery")] = "bench.chaos.worker"
    command[command.index("inference@%h")] = f"{name}@%h"
    return replace(service, name=name, title=f"the worker {name}", command=tuple(command))


def _web(service: Service) -> Service:
    command = list(service.command)
    command[command.index("python:bcweb.gunicorn")] = "python:bench.chaos.gunicorn"
    return replace(service, command=tuple(command))


def _clocked(service: Service, clocks: Path) -> Service:
    """The service on a clock that can be stepped, where the driver has made one."""
    library, clock = clocks / "skew.so", clocks / service.name
    if not (library.exists() and clock.exists()):
        return service
    steps = {"LD_PRELOAD": str(library), "BCWEB_CHAOS_CLOCK": str(clock)}
    return replace(service, environment={**service.environment, **steps})


def stretch(pace: float) -> None:
    """Give services on a slow machine more time to end, as to all else in a run: what a worker may
    take for its batch is stretched too."""
    supervisor._GROUP_STOP_SECONDS *= pace
    supervisor._APP_STOP_SECONDS *= pace


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.chaos.service", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--state", required=True)
    options = parser.parse_args()
    # A driver that is killed leaves nothing running.
    linux.die_with_parent(os.getppid(), signal.SIGTERM)
    stretch(float(os.environ.get("BCWEB_CHAOS_PACE", "1")))
    try:
        state = paths.make_state_dir(options.state)
        return Supervisor(
            plan(options.port, state / "chaos"),
            state=state,
            host="127.0.0.1",
            port=options.port,
            folder=paths.BASE_DIR,
        ).run()
    except StartupError as error:
        print(f"bcweb: {error}", file=sys.stderr, flush=True)
        return 1


if __name__ == "__main__":
    sys.exit(main())
