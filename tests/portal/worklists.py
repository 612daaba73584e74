"""Worklists to look at: a case of each kind, and what a page of them lists."""

from __future__ import annotations

from typing import Any

from django.test import Client

from cases.models import Case, Site
from cases.services.jobs import job_cancel
from cases.services.people import actor_for_user
from tests.factories import make_user, stored_result, submit
from tests.portal.markup import Markup, read

URL = "/cases/"


def names(page: Markup) -> set[str]:
    """The accession numbers that a page lists."""
    return {tag.text for tag in page.all("a") if "row-link" in tag.attrs.get("class", "")}


def listed(client: Client, **query: str) -> set[str]:
    response = client.get(URL, query)
    assert response.status_code == 200
    return names(read(response.content))


def cases_of_each_kind(site: Site) -> dict[str, Case]:
    """By their accession numbers."""
    nurse = actor_for_user(make_user(roles=["sonographer"], site=site))
    made: dict[str, Case] = {}

    def make(name: str, **fields: Any) -> Any:
        submission = submit(actor=nurse, accession_number=name, **fields)
        made[name] = submission.case
        return submission.jobs.get()

    stored_result(make("ABOVE"), 0.9)
    stored_result(make("BELOW"), 0.1)
    stored_result(make("UNSURE"), 0.3, outcome="abstained", reason="Too close.")
    stored_result(make("NOTONE"), outcome="refused", reason="Not one.")
    job_cancel(actor=nurse, job_id=make("OFF").pk)
    make("WAITS", priority="stat")
    return made
