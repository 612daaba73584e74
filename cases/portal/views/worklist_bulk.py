"""What is done to chosen rows of the worklist: first the numbers, then the act; or a CSV."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, urlencode
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone, translation

from cases.access import Capability
from cases.errors import FieldInvalid, NotFound, StateConflict
from cases.portal.reads import note_scores
from cases.portal.views.worklist import ALL, WorklistBase
from cases.portal.worklist import Row
from cases.portal.worklist_filters import FIELDS
from cases.reports.csv_lines import csv_lines
from cases.selectors.worklist import worklist_rows
from cases.services.audit import audit_record_all
from cases.services.bulk import MAX_CASES, BulkAct, BulkOutcome, bulk_do, bulk_plan
from cases.services.worklist import worklist_fold

COLUMNS = (
    *("case_id", "accession_number", "patient_id", "patient_name", "received_at", "site"),
    *("priority", "state", "answer", "malignant_score", "threshold", "images", "coverage"),
    *("signed_by", "being_read_by", "devices"),
)
CSV = "csv"


def chosen_ids(request: HttpRequest) -> list[UUID]:
    """The ticked cases. ``NotFound`` where one is no id."""
    try:
        chosen = [UUID(value) for value in request.POST.getlist("case")[: MAX_CASES + 1]]
    except ValueError:
        raise NotFound() from None
    return list(dict.fromkeys(chosen))


def back_query(request: HttpRequest) -> str:
    """The list somebody comes from: of its address only what we know."""
    told = parse_qsl(request.POST.get("back", "")[:1000])
    known = [(name, value) for name, value in told if name in (*FIELDS, "view", "found", "after")]
    return urlencode(known or [("view", ALL)])


class _Bulk(WorklistBase):
    http_method_names = ["post", "options"]

    def confirm(
        self, request: HttpRequest, act: BulkAct, ids: list[UUID], *, problem: str = ""
    ) -> HttpResponse:
        plan = bulk_plan(actor=self.actor, act=act, case_ids=ids)
        context = {
            "plan": plan,
            "act": act.value,
            "back": back_query(request),
            "problem": problem,
        }
        return render(request, "cases/bulk_confirm.html", context, status=409 if problem else 200)


class WorklistBulkView(_Bulk):
    """The button under the list: a page with the numbers for an act, a file for CSV."""

    def post(self, request: HttpRequest) -> HttpResponse:
        name, ids = request.POST.get("act", ""), chosen_ids(request)
        if not ids:
            context = {"nothing": True, "back": back_query(request)}
            return render(request, "cases/bulk_confirm.html", context, status=422)
        if name == CSV:
            return self.csv(request, ids)
        try:
            act = BulkAct(name)
        except ValueError:
            raise NotFound() from None
        return self.confirm(request, act, ids)

    def csv(self, request: HttpRequest, ids: list[UUID]) -> HttpResponse:
        if len(ids) > MAX_CASES:
            raise FieldInvalid(f"At most {MAX_CASES} cases at once.")
        worklist_fold()
        entries = worklist_rows(actor=self.actor, case_ids=ids)
        if len(entries) != len(ids):
            raise NotFound()
        # As all words of a file that programs read.
        with translation.override("en"):
            rows, told = self.rows(entries)
        note_scores(self.actor, told)
        audit_record_all(
            actor=self.actor,
            action="case.exported",
            object_type="case",
            case_of={case_id: case_id for case_id in ids},
        )
        lines = csv_lines(COLUMNS, (_csv_row(row) for row in rows))
        response = HttpResponse("".join(lines), content_type="text/csv; charset=utf-8")
        day = timezone.localtime().strftime("%Y-%m-%d-%H%M")
        response.headers["Content-Disposition"] = f'attachment; filename="worklist-{day}.csv"'
        return response


def _csv_row(row: Row) -> tuple[Any, ...]:
    return (
        *(str(row.case_id), row.accession, row.patient_id, row.patient_name),
        *(row.received_at.isoformat(timespec="seconds"), row.site, row.priority, row.work.value),
        *("withheld" if row.withheld else row.key, row.score, row.threshold),
        *(row.images, row.coverage, "; ".join(row.readers.signed)),
        *("; ".join(row.readers.drafting), row.devices),
    )


class WorklistBulkConfirmView(_Bulk):
    """The act itself; its page says what was done, and by name what could not be."""

    any_of = (Capability.SUBMIT, Capability.OPERATE)

    def post(self, request: HttpRequest) -> HttpResponse:
        ids = chosen_ids(request)
        try:
            act = BulkAct(request.POST.get("act", ""))
        except ValueError:
            raise NotFound() from None
        token = request.POST.get("token", "")
        try:
            told = bulk_do(actor=self.actor, act=act, case_ids=ids, token=token)
        except StateConflict as error:
            return self.confirm(request, act, ids, problem=error.detail)
        return render(request, "cases/bulk_done.html", self.done(request, act, told))

    def done(self, request: HttpRequest, act: BulkAct, told: list[BulkOutcome]) -> dict[str, Any]:
        good = [outcome for outcome in told if outcome.error is None]
        return {
            "act": act.value,
            "cases": len(good),
            "images": sum(outcome.done for outcome in good),
            "failed": [outcome for outcome in told if outcome.error is not None],
            "back": back_query(request),
        }
