"""Failed images: what went wrong, and trying them again."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext, ngettext

from cases.access import Capability
from cases.errors import FieldInvalid
from cases.portal.moments import typed_moment
from cases.portal.step_words import fault_words
from cases.portal.views.base import PortalView
from cases.portal.views.worklist import given_id
from cases.selectors.dead_letters import attempts_of, dead_letter_codes, dead_letter_page
from cases.services.dead_letters import MAX_AT_ONCE, Retry, dead_letters_retry
from cases.told import told

PAGE_SIZE = 50
FILTERS = ("code", "since", "until")


class DeadLetterListView(PortalView):
    any_of = (Capability.OPERATE,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        typed = {name: request.GET.get(name, "").replace("\x00", "")[:64] for name in FILTERS}
        query = urlencode({name: value for name, value in typed.items() if value})
        context: dict[str, Any] = {
            **typed,
            "query": query,
            "filtered": bool(query),
            "codes": code_choices(dead_letter_codes(actor=self.actor), typed["code"]),
        }
        try:
            moments = {name: typed_moment(request, name) for name in ("since", "until")}
        except FieldInvalid as error:
            context["problems"] = error.errors
            return render(request, "queue/dead_letters.html", context, status=error.status)
        page = dead_letter_page(
            actor=self.actor,
            size=PAGE_SIZE,
            older_than=given_id(request, "older_than"),
            code=typed["code"],
            **moments,
        )
        attempts = attempts_of(page.rows)
        context |= {
            "page": page,
            "lines": [{"job": job, "attempts": attempts[job.pk]} for job in page.rows],
        }
        return render(request, "queue/dead_letters.html", context)


class DeadLetterRetryView(PortalView):
    """Try again what was chosen: one by its button, those that were ticked, or all shown."""

    any_of = (Capability.OPERATE,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest) -> HttpResponse:
        name = next((n for n in ("only", "shown") if n in request.POST), "job")
        wanted = ids_of(request.POST.getlist("job" if name == "job" else name))
        if not wanted:
            messages.error(request, gettext("Tick the images to try again."))
        else:
            self.say(request, dead_letters_retry(actor=self.actor, job_ids=wanted))
        return self.after(request)

    def after(self, request: HttpRequest) -> HttpResponse:
        query = request.POST.get("query", "")
        page = reverse("dead-letter-list")
        return redirect(f"{page}?{query}" if query else page)

    def say(self, request: HttpRequest, retries: list[Retry]) -> None:
        done = sum(1 for retry in retries if retry.new is not None)
        if done:
            messages.success(
                request,
                ngettext(
                    "%(n)d image asked for again. They wait now.",
                    "%(n)d images asked for again. They wait now.",
                    done,
                )
                % {"n": done},
            )
        refused = [retry.error for retry in retries if retry.error is not None]
        for detail in sorted({error.detail for error in refused}):
            number = sum(1 for error in refused if error.detail == detail)
            words = ngettext("%(n)d image not: %(why)s", "%(n)d images not: %(why)s", number)
            messages.error(request, words % {"n": number, "why": told(detail)})


def code_choices(codes: list[str], chosen: str) -> list[tuple[str, str]]:
    """Each error and why it came, by these; also one that no image here has any more."""
    names = {*codes, chosen} - {""}
    choices = [(name, fault_words(name)) for name in names]
    return sorted(choices, key=lambda choice: (choice[1].casefold(), choice[0]))


def ids_of(values: list[str]) -> list[UUID]:
    """The ids among ``values``, which may each hold several separated by spaces."""
    ids = []
    for value in " ".join(values).split()[:MAX_AT_ONCE]:
        try:
            ids.append(UUID(value))
        except ValueError:
            continue
    return ids
