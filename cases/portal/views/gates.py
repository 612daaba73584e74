"""Gate plans: the list, one with the uses of its locked set, declaring one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import UserFacingError
from cases.portal.gate_forms import GateForm, gate_form, raw_of
from cases.portal.gates import VERDICT_LABELS, VERDICTS, limit_words
from cases.portal.views.base import PortalView
from cases.portal.views.training import SHOWN, TrainingView
from cases.selectors.gates import (
    approver_names,
    gate_plan_get,
    gate_plan_list,
    locked_set_uses,
)
from cases.selectors.snapshots import snapshot_list, snapshot_void_count
from cases.services.gate_fields import gate_plan_parse
from cases.services.gates import gate_plan_create


class GatePlanListView(TrainingView):
    def get(self, request: HttpRequest) -> HttpResponse:
        context = {
            "plans": gate_plan_list(actor=self.actor)[:SHOWN],
            "can_train": self.can(Capability.TRAIN),
            "can_curate": self.can(Capability.CURATE),
            "has_snapshots": snapshot_list(actor=self.actor).exclude(data_root="").exists(),
        }
        return render(request, "learning/gate_plan_list.html", context)


class GatePlanDetailView(TrainingView):
    def get(self, request: HttpRequest, plan_id: UUID) -> HttpResponse:
        plan = gate_plan_get(actor=self.actor, plan_id=plan_id)
        uses = [
            {
                "use": use,
                # Of another site's plan no more is told than that it was.
                "own": use.plan.site_id == plan.site_id,
                "state": VERDICTS[use.facts["state"]] if "state" in use.facts else None,
                "words": VERDICT_LABELS.get(use.facts.get("state", ""), ""),
                "left_out": use.facts.get("left_out", 0),
            }
            for use in locked_set_uses(plan=plan)
        ]
        context = {
            "plan": plan,
            "limits": [limit_words(limit) for limit in plan.document["limits"]],
            "uses": uses,
            "too_few": plan.malignant_patients < plan.document["minimum_malignant_patients"],
            "taken_back": snapshot_void_count(plan.locked_set),
            "can_train": self.can(Capability.TRAIN),
        }
        return render(request, "learning/gate_plan_detail.html", context)


class GatePlanCreateView(PortalView):
    any_of = (Capability.TRAIN,)
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.page(self.form())

    def post(self, request: HttpRequest) -> HttpResponse:
        raw = raw_of(request.POST)
        try:
            plan = gate_plan_create(actor=self.actor, fields=gate_plan_parse(raw))
        except UserFacingError as error:
            return self.page(self.form(raw, error), status=error.status)
        messages.success(
            request,
            gettext("The plan is declared. Nobody can train on its locked set from now on."),
        )
        return redirect("gate-plan-detail", plan_id=plan.pk)

    def form(
        self, raw: dict[str, Any] | None = None, error: UserFacingError | None = None
    ) -> GateForm:
        snapshots = list(snapshot_list(actor=self.actor)[:SHOWN])
        return gate_form(snapshots, approver_names(actor=self.actor), raw, error)

    def page(self, form: GateForm, *, status: int = 200) -> HttpResponse:
        context = {
            "form": form,
            "has_snapshots": bool(form.plain.fields["locked_set"].spec.choices),
        }
        return render(self.request, "learning/gate_plan_new.html", context, status=status)
