"""Asking again and again is cheap: few queries, and nothing is asked that is not told."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from cases.models import ApiToken, AuditEvent, Job, UserRole
from cases.services.people import token_authenticate
from cases.services.withdrawals import result_withdraw
from tests.factories import make_actor, make_token, stored_result, submit

pytestmark = pytest.mark.django_db


@pytest.fixture
def polled() -> tuple[Client, Job]:
    """A client with a token, and a job of its site that has a result."""
    token, secret = make_token()
    actor = make_actor(site=token.user.site)
    job = submit(actor=actor).jobs.get()
    stored_result(job)
    return Client(headers={"Authorization": f"Bearer {secret}"}), job


def path(job: Job) -> str:
    return f"/api/v1/jobs/{job.pk}/"


def test_a_304_takes_two_queries_and_a_200_three(
    polled: tuple[Client, Job], django_assert_num_queries: Any
) -> None:
    client, job = polled
    first = client.get(path(job))  # notes the first read, and the use of the token
    with django_assert_num_queries(3):
        assert client.get(path(job)).status_code == 200
    with django_assert_num_queries(2):
        again = client.get(path(job), headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert AuditEvent.objects.filter(action="result.read").count() == 1


def test_the_glance_and_the_whole_job_have_the_same_etag_in_every_state() -> None:
    token, secret = make_token()
    client = Client(headers={"Authorization": f"Bearer {secret}"})
    actor = make_actor(site=token.user.site)
    job = submit(actor=actor).jobs.get()
    admin = make_actor(roles=["admin"], site=token.user.site)
    seen = set()
    result = None
    for change in ("waits", "answered", "withdrawn"):
        if change == "answered":
            result = stored_result(job)
        elif change == "withdrawn":
            assert result is not None
            result_withdraw(actor=admin, result_id=result.pk, reason="The wrong breast.")
        whole = client.get(path(job))
        assert whole.status_code == 200
        etag = whole.headers["ETag"]
        assert etag not in seen, change
        seen.add(etag)
        assert client.get(path(job), headers={"If-None-Match": etag}).status_code == 304
        # An older one is answered in full, with the new one.
        other = client.get(path(job), headers={"If-None-Match": 'W/"older"'})
        assert (other.status_code, other.headers["ETag"]) == (200, etag)


def test_a_glance_is_not_for_another_site(polled: tuple[Client, Job]) -> None:
    _, secret = make_token()
    stranger = Client(headers={"Authorization": f"Bearer {secret}"})
    _, job = polled
    for headers in ({}, {"If-None-Match": "*"}):
        assert stranger.get(path(job), headers=headers).status_code == 404


def test_a_token_and_its_roles_are_one_query(django_assert_num_queries: Any) -> None:
    token, secret = make_token(roles=["integration", "auditor"])
    token_authenticate(secret)  # notes its use
    with django_assert_num_queries(1):
        found = token_authenticate(secret)
        assert found is not None
        assert {role.value for role in found.user.roles} == {"integration", "auditor"}
        assert (found.user.get_username(), found.user.site_id) == (
            token.user.get_username(),
            token.user.site_id,
        )
    UserRole.objects.filter(user=token.user).delete()
    bare = token_authenticate(secret)
    assert bare is not None
    assert bare.user.roles == frozenset()
    ApiToken.objects.update(revoked_at="2020-01-01T00:00:00Z")
    assert token_authenticate(secret) is None
