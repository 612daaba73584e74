"""Finding things on the case page."""

from __future__ import annotations

from django.urls import reverse

from cases.models import Case
from tests.portal.markup import Markup


def url_of(case: Case) -> str:
    return reverse("case-detail", args=[case.pk])


def cards(page: Markup) -> list[str]:
    return [tag.text for tag in page.all("article")]


def poll_url(page: Markup) -> str | None:
    return page.one("div", id="case-live").attrs.get("hx-get")
