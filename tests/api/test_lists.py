"""Every list: strict parameters, both orders through all pages, filters that find."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from cases.models import Case, Job, Site, Submission
from cases.services.jobs import job_cancel
from cases.services.readings import Place, reading_content_parse, reading_sign
from cases.services.withdrawals import result_withdraw
from tests.api.conftest import answer_waiting
from tests.api.contract import Api, problem, schema
from tests.factories import make_actor, make_token, phantom_jpeg, submit

pytestmark = pytest.mark.django_db

# Path, to the roles and scopes of a token that may list it.
PLAIN = (("integration",), ("submit", "read"))
ADMIN = (("admin",), ("read", "admin"))
LISTS = {
    "/cases/": PLAIN,
    "/jobs/": PLAIN,
    "/results/": PLAIN,
    "/submissions/": PLAIN,
    "/readings/": PLAIN,
    "/models/": PLAIN,
    "/promotions/": PLAIN,
    "/audit/": (("auditor",), ("read",)),
    "/dead-letters/": ADMIN,
    "/webhooks/": ADMIN,
    "/training-runs/": ADMIN,
    "/training-snapshots/": ADMIN,
    "/training-candidates/": ADMIN,
    "/gate-plans/": ADMIN,
}


def caller(path: str, site: Site) -> Api:
    roles, scopes = LISTS[path]
    return Api(make_token(site=site, roles=roles, scopes=scopes)[1])


def ids(body: dict[str, Any]) -> list[Any]:
    return [item["id"] for item in body["results"]]


def walk(api: Api, path: str, **query: str) -> list[Any]:
    """The ids of all pages, forward; going back shows the same pages."""
    page = api.get(path, {"page_size": "2", **query}).json()
    seen = [ids(page)]
    while page["next"]:
        page = api.get(page["next"]).json()
        seen.append(ids(page))
    back = [ids(page)]
    while page["previous"]:
        page = api.get(page["previous"]).json()
        back.append(ids(page))
    assert back[::-1] == seen
    return [one for found in seen for one in found]


def test_the_lists_here_are_all_there_are() -> None:
    told = {
        path.removeprefix("/api/v1")
        for path, operations in schema()["paths"].items()
        if any(p["name"] == "page_size" for p in operations.get("get", {}).get("parameters", ()))
    }
    # Lists of one thing are filtered as those of all.
    assert {path for path in told if "{" not in path} == set(LISTS)


@pytest.mark.parametrize("path", LISTS)
def test_what_is_no_parameter_here_is_refused_and_not_ignored(path: str, site: Site) -> None:
    api = caller(path, site)
    for query, name in (
        ("?stat=FAILED", "stat"),
        ("?page_size=3&page_size=4", "page_size"),
        ("?ordering=id", "ordering"),
        ("?ordering=", "ordering"),
        ("?page_size=0", "page_size"),
    ):
        assert list(problem(api.get(path + query), 422, "field_invalid")["errors"]) == [name]
    assert api.get(path).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "/cases/?since=2026-01-01",
        "/cases/?unfinished=perhaps",
        "/jobs/?case=5",
        "/jobs/?priority=1",
        "/results/?label=benignant",
        "/readings/?until=x",
        "/models/?state=active",
    ],
)
def test_a_value_that_is_none_is_refused(query: str, api: Api) -> None:
    problem(api.get(query), 422, "field_invalid")


def test_both_orders_show_every_row_once(api: Api, site: Site) -> None:
    actor = make_actor(site=site)
    submissions = [submit(actor=actor, laterality="L") for _ in range(5)]
    # Two of one moment: the id decides.
    moment = submissions[1].created_at
    for rows in (Submission, Case, Job):
        rows.objects.filter(created_at=submissions[2].created_at).update(created_at=moment)
    answer_waiting()
    for path in ("/cases/", "/jobs/", "/submissions/", "/results/"):
        falling = walk(api, path)
        assert len(falling) == len(set(falling)) == 5
        assert walk(api, path, ordering="created_at") == falling[::-1]
        assert walk(api, path, ordering="-created_at") == falling
    auditor = caller("/audit/", site)
    events = walk(auditor, "/audit/", ordering="at", action="case.created")
    assert events == sorted(events)
    assert len(events) == 5


def test_jobs_are_found_by_what_they_are_about(api: Api, site: Site) -> None:
    actor = make_actor(site=site)
    first, second = submit(actor=actor, priority="stat"), submit(actor=actor)
    one, two = first.jobs.get(), second.jobs.get()
    job_cancel(actor=actor, job_id=two.pk)
    assert one.image is not None
    for query in (
        {"priority": "stat"},
        {"state": "PENDING"},
        {"submission": str(first.pk)},
        {"image": str(one.image_id)},
        {"case": str(one.image.case_id)},
        {"until": two.created_at.isoformat()},
        {"kind": "inference", "state": "PENDING", "priority": "stat"},
    ):
        assert ids(api.get("/jobs/", query).json()) == [str(one.pk)], query
    assert ids(api.get("/jobs/", {"since": two.created_at.isoformat()}).json()) == [str(two.pk)]
    assert ids(api.get("/jobs/", {"case": str(uuid4())}).json()) == []


def test_cases_are_found_by_how_far_they_are(api: Api, site: Site) -> None:
    actor = make_actor(site=site)
    read = submit(actor=actor, indication="recall").case
    answer_waiting()
    content = reading_content_parse({"category": "3", "label": "benign", "text": "A cyst."})
    reading_sign(actor=actor, case_id=read.pk, place=Place(), content=content, version=0)
    waiting = submit(actor=actor, indication="follow_up").case
    for query, case in (
        ({"unfinished": "true"}, waiting),
        ({"unfinished": "false"}, read),
        ({"read": "true"}, read),
        ({"read": "false"}, waiting),
        ({"indication": "follow_up"}, waiting),
        ({"since": waiting.created_at.isoformat()}, waiting),
        ({"until": waiting.created_at.isoformat(), "read": "true"}, read),
    ):
        assert ids(api.get("/cases/", query).json()) == [str(case.pk)], query


def test_results_are_found_by_their_answer_and_a_look_at_them_is_a_read(
    api: Api, site: Site
) -> None:
    actor = make_actor(site=site)
    low, high = submit(actor=actor), submit(actor=actor)
    image = high.images.get()
    results = {
        result.image_id: result
        for result in answer_waiting({image.pk: 0.9, low.images.get().pk: 0.01})
    }
    found = api.get("/results/", {"label": "malignant"}).json()
    assert ids(found) == [str(results[image.pk].pk)]
    assert found["results"][0]["case"] == str(high.case_id)
    for query in (
        {"image": str(image.pk)},
        {"case": str(high.case_id)},
        {"since": high.jobs.get().created_at.isoformat()},
    ):
        assert ids(api.get("/results/", query).json()) == ids(found)
    model = str(results[image.pk].model_version_id)
    assert len(ids(api.get("/results/", {"model": model, "outcome": "answered"}).json())) == 2
    assert ids(api.get("/results/", {"outcome": "refused"}).json()) == []
    admin = make_actor(roles=["admin"], site=site)
    result_withdraw(actor=admin, result_id=results[image.pk].pk, reason="the wrong side")
    assert ids(api.get("/results/", {"withdrawn": "true"}).json()) == ids(found)
    assert ids(api.get("/results/", {"withdrawn": "false"}).json()) == [
        str(results[low.images.get().pk].pk)
    ]
    auditor = caller("/audit/", site)
    # Each result was read once, however often the lists were asked for.
    assert len(auditor.get("/audit/", {"action": "result.read"}).json()["results"]) == 2


def test_submissions_are_listed_to_their_senders(site: Site) -> None:
    first, second = (Api(make_token(site=site, scopes=["submit"])[1]) for _ in range(2))
    mine = first.submit([phantom_jpeg()], patient_id="A").json()["id"]
    theirs = second.submit([phantom_jpeg()], patient_id="B").json()["id"]
    assert ids(first.get("/submissions/").json()) == [mine]
    assert ids(second.get("/submissions/").json()) == [theirs]
    reader = Api(make_token(site=site, scopes=["read", "submit"])[1])
    own = reader.submit([phantom_jpeg()], patient_id="C").json()
    assert ids(reader.get("/submissions/").json()) == [own["id"], theirs, mine]
    assert ids(reader.get("/submissions/", {"own": "true"}).json()) == [own["id"]]
    assert ids(reader.get("/submissions/", {"own": "false"}).json()) == [theirs, mine]
    assert ids(reader.get("/submissions/", {"case": own["case"]["id"]}).json()) == [own["id"]]
    assert reader.get("/submissions/").json()["results"][0]["created_at"]


def test_nobody_lists_what_is_another_sites(site: Site) -> None:
    submission = submit(actor=make_actor(site=site))
    answer_waiting()
    stranger = Api(make_token()[1])
    for path in ("/results/", "/submissions/", "/jobs/", "/cases/"):
        assert ids(stranger.get(path).json()) == []
        if path != "/cases/":
            assert ids(stranger.get(path, {"case": str(submission.case_id)}).json()) == []


def test_a_far_moment_is_a_moment(api: Api) -> None:
    far = (timezone.now() + timedelta(days=365_000)).isoformat()
    assert ids(api.get("/cases/", {"since": far}).json()) == []
