"""A webhook of the running service: real deliverer, real receiver, and a kill in the middle."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from tests.flows.test_main_job import finished, submit
from tests.live import LiveService, wait_for
from tests.receiver import OK, Received, Reply, receiver
from tests.webhooks import is_signed

pytestmark = pytest.mark.flow


def admin_token(service: LiveService) -> str:
    name = service.demo["admin"]["username"]
    told = service.manage("create_token", name, "--scopes", "admin", "--days", "1")
    return next(word for word in told.split() if word.startswith("bcw_"))


def test_a_system_is_told_of_its_job_in_order_though_the_deliverer_is_killed(
    live_service: LiveService,
) -> None:
    live_service.await_ready()
    # The site is one with other tests: what is told here is of this test's job alone.
    waiting = "SELECT 1 FROM cases_job WHERE kind = 'inference' AND finished_at IS NULL"
    wait_for("earlier images to be answered", lambda: not live_service.sql(waiting), every=0.2)
    killed = threading.Event()

    def answer(_: Received) -> Reply:
        # The first message never gets an answer from the deliverer's point of view.
        killed.wait(60)
        return OK

    with (
        receiver(port=live_service.hook_port) as it,
        live_service.api(admin_token(live_service)) as api,
    ):
        it.answer = answer
        body = {
            "name": "flow",
            "target": it.url,
            "events": ["job.created", "job.started", "job.succeeded"],
        }
        made = api.post("/webhooks/", json=body)
        assert made.status_code == 201, made.text
        deliverer = live_service.pid_of("webhooks")
        submission = submit(live_service)
        first = it.came.get(timeout=180)
        # At once: it waits some seconds for an answer, and an image may take longer than that.
        os.kill(deliverer, signal.SIGKILL)
        killed.set()
        (job,) = finished(live_service, submission)

        def all_told() -> bool:
            return "SUCCEEDED" in it.states_of(job["id"])

        wait_for("the last message", all_told, seconds=300, every=0.2)
        log = api.get(f"/webhooks/{made.json()['id']}/deliveries/").json()["results"]
        off = api.post(f"/webhooks/{made.json()['id']}/switch/", json={"enabled": False})
        assert off.status_code == 200
    # A repeat of the first, as documented, and nothing else out of the order.
    assert it.states_of(job["id"]) == ["PENDING", "PENDING", "RUNNING", "SUCCEEDED"]
    mine = [item for item in it.received if item.message["data"]["job"]["id"] == job["id"]]
    assert [item.id for item in mine[:2]] == [first.id] * 2
    assert all(is_signed(item, made.json()["secret"]) for item in mine)
    assert mine[-1].message["data"]["result"]["id"] == job["result"]["id"]
    attempts = {row["event"]: [a["outcome"] for a in row["attempts"]] for row in log}
    assert attempts["job.created"][0] == "interrupted"
