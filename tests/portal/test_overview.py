"""The overview: what it tells, how it stays fresh, and the retry from it."""

from __future__ import annotations

import shutil
import tempfile

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from redis.exceptions import ConnectionError as RedisGone

from cases.access import SYSTEM
from cases.models import Job, ServiceHeartbeat
from cases.portal import overview
from cases.services.pulse import pulse_beat
from cases.services.seals import audit_seal
from cases.services.serving import serving_suspend
from cases.services.tallies import jobs_tally
from tests.factories import make_actor, submit
from tests.failing import failed_job
from tests.portal.conftest import ROLES, SignIn, World
from tests.portal.markup import Markup, csp_faults, read, structure_faults

pytestmark = pytest.mark.django_db

URL = "/overview/"


@pytest.fixture
def admin(world: World, sign_in: SignIn) -> Client:
    overview.cache.clear()
    return sign_in(role="admin", site=world.site)


def page(client: Client) -> Markup:
    response = client.get(URL)
    assert response.status_code == 200
    return read(response.content)


def live(client: Client, url: str) -> tuple[int, list[str], str]:
    """Status of a poll, the parts it sends, and where to ask next."""
    response = client.get(url)
    if response.status_code == 204:
        return 204, [], url
    found = read(response.content)
    parts = [tag.attrs["id"] for tag in found.all("section", hx_swap_oob="true")]
    return 200, parts, found.one("div", id="overview-live").attrs["hx-get"]


def test_it_is_for_administrators_and_where_they_land(world: World, sign_in: SignIn) -> None:
    for path in (URL, f"{URL}live/", f"{URL}watch/"):
        found = {role: sign_in(role=role, site=world.site).get(path).status_code for role in ROLES}
        assert found == {role: 200 if role == "admin" else 403 for role in ROLES}
    assert sign_in(role="admin", site=world.site).get("/").headers["Location"] == URL


def test_it_tells_what_the_service_does(world: World, admin: Client) -> None:
    submit(actor=make_actor(site=world.site), priority="stat")
    jobs_tally()
    audit_seal()
    # Last, so that it is fresh however slow the machine is.
    pulse_beat(
        name="inference@host:7",
        kind="inference",
        ready=True,
        details={"engine": "onnx", "model": "test-model"},
    )
    shown = page(admin)
    assert csp_faults(shown) == []
    assert structure_faults(shown) == []
    for words in (
        "Images waiting 1",
        "Images, stat",
        "host:7",
        "Waits for work",
        "No process is there that does this: trains models; delivers webhooks; keeps the schedule.",
        "1 image read, 0 failed",
        "Failed images of your site None.",
        "Model live test-model",
        "none scheduled.",
        "free of",
        "Sealed",
        "Answers Given",
    ):
        assert words in shown.text, words


def test_what_is_wrong_stands_on_top(world: World, admin: Client) -> None:
    serving_suspend(actor=SYSTEM, reason="A wrong preset.")
    shown = page(admin).text
    assert "No inference worker is ready" in shown
    assert "Suspended since" in shown
    assert "Resume" in shown


def test_a_silent_worker_is_told(world: World, admin: Client) -> None:
    pulse_beat(name="inference@host:7", kind="inference", ready=True, details={})
    with connection.cursor() as cursor:
        cursor.execute("UPDATE cases_serviceheartbeat SET seen_at = now() - interval '2 min'")
    assert "Silent since" in page(admin).text
    ServiceHeartbeat.objects.all().delete()
    assert "Silent since" not in page(admin).text


def test_a_poll_sends_only_what_changed(
    world: World, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Neither the hour nor the room that others leave on the disk changes meanwhile.
    room, now = shutil.disk_usage(tempfile.gettempdir()), timezone.now()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: room)
    monkeypatch.setattr(timezone, "now", lambda: now)
    url = page(admin).one("div", id="overview-live").attrs["hx-get"]
    status, _, _ = live(admin, url)
    assert status == 204
    failed_job(actor=make_actor(site=world.site))
    status, parts, url = live(admin, url)
    assert (status, parts) == (200, ["overview-failures"])
    assert live(admin, url)[0] == 204
    submit(actor=make_actor(site=world.site))
    assert live(admin, url)[1] == ["overview-now"]
    # Whatever stands in the query, the whole page is at hand.
    assert len(live(admin, f"{URL}live/?seen=nonsense")[1]) == 5


def test_a_failed_image_is_tried_again_with_one_click(world: World, admin: Client) -> None:
    job = failed_job(
        actor=make_actor(site=world.site), patient_id="SECRET-1", patient_name="Quokka^Zelda"
    )
    shown = page(admin)
    assert "It died. engine_crashed" in shown.text
    assert "SECRET-1" not in shown.text and "Quokka" not in shown.text
    (button,) = [tag for tag in shown.all("button") if tag.attrs.get("name") == "only"]
    # Found again by its id when the part is drawn anew, and with it the focus.
    assert button.attrs["id"] == f"retry-{job.pk}"
    told = admin.post(f"{URL}retry/", {"only": button.attrs["value"]}, follow=True)
    assert told.redirect_chain[0][0] == URL
    assert "1 image asked for again." in read(told.content).text
    assert Job.objects.get(rerun_of=job).state == "PENDING"


def test_nobody_else_tries_it_again(world: World, sign_in: SignIn) -> None:
    job = failed_job(actor=make_actor(site=world.site))
    for role in set(ROLES) - {"admin"}:
        client = sign_in(role=role, site=world.site)
        assert client.post(f"{URL}retry/", {"only": str(job.pk)}).status_code == 403
    sign_in(role="admin").post(f"{URL}retry/", {"only": str(job.pk)})
    assert not Job.objects.filter(rerun_of=job).exists()


def test_what_is_watched_comes_apart_and_is_kept_for_a_while(
    world: World, admin: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{URL}watch/"
    assert "too few images in the last 30 days" in read(admin.get(url).content).text
    with CaptureQueriesContext(connection) as caught:
        admin.get(url)
    assert not [query for query in caught if "cases_result" in query["sql"]]

    def gone(*_: object) -> None:
        raise RedisGone

    # Without the cache it is counted each time.
    monkeypatch.setattr(overview.cache, "get", gone)
    monkeypatch.setattr(overview.cache, "set", gone)
    assert "too few images" in read(admin.get(url).content).text


def test_it_takes_as_many_queries_however_much_there_is(world: World, admin: Client) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as caught:
            page(admin)
        return len(caught)

    failed_job(actor=make_actor(site=world.site))
    page(admin)
    before = queries()
    for n in range(2):
        failed_job(actor=make_actor(site=world.site))
        pulse_beat(name=f"inference@h:{n}", kind="inference", ready=True, details={})
    submit(actor=make_actor(site=world.site))
    assert queries() == before
