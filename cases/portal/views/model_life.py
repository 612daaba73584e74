"""Promoting, rolling back and turning down models: forms that ask for a reason, beside numbers."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import FieldInvalid, StateConflict
from cases.models import PromotionRequest
from cases.portal.model_life import NO_REFUSAL, Refusal, refusal_of, request_row, verdict_of
from cases.portal.views.base import PortalView
from cases.portal.views.models import ModelDetailView
from cases.selectors.promotion import faults_of, outlook, promotion_get, training_ordered_by
from cases.services.gates import approvers_named
from cases.services.promotion import (
    promotion_approve,
    promotion_decline,
    promotion_hindrance,
    promotion_request,
    promotion_withdraw,
)
from cases.services.rollback import model_reject, model_roll_back
from cases.states import ModelState
from cases.told import told

MAX_TYPED = 2000


def typed_reason(request: HttpRequest) -> str:
    return request.POST.get("reason", "")[:MAX_TYPED]


def shown_active(request: HttpRequest) -> UUID | None:
    """The live model that the page showed; None where it showed that none was."""
    value = request.POST.get("expected_active", "")
    try:
        return UUID(value) if value else None
    except ValueError as error:
        raise StateConflict() from error


class _ModelAction(ModelDetailView):
    """Something done to a model; refused, its page comes back with what was typed and why."""

    http_method_names = ["post", "options"]
    form: ClassVar[str]

    def post(self, request: HttpRequest, model_id: UUID) -> HttpResponse:
        try:
            done = self.act(request, model_id)
        except (StateConflict, FieldInvalid) as error:
            refusal = refusal_of(self.form, typed_reason(request), error)
            return self.page(request, model_id, refusal)
        messages.success(request, done)
        return redirect(f"{reverse('model-detail', args=[model_id])}#life")

    def act(self, request: HttpRequest, model_id: UUID) -> str:
        raise NotImplementedError


class PromotionRequestView(_ModelAction):
    any_of = (Capability.TRAIN, Capability.PROMOTE)
    form = "ask"

    def act(self, request: HttpRequest, model_id: UUID) -> str:
        try:
            target = ModelState(request.POST.get("target", ""))
        except ValueError as error:
            raise FieldInvalid(errors={"target": [gettext("Choose shadow or live.")]}) from error
        promotion_request(
            actor=self.actor, model_id=model_id, target=target, reason=typed_reason(request)
        )
        return gettext("Asked. An approver who is not you decides; nothing has changed yet.")


class ModelRollBackView(_ModelAction):
    any_of = (Capability.PROMOTE,)
    form = "back"

    def act(self, request: HttpRequest, model_id: UUID) -> str:
        model = model_roll_back(
            actor=self.actor,
            model_id=model_id,
            reason=typed_reason(request),
            expected_active=shown_active(request),
        )
        return gettext("%(version)s is live again. Earlier answers stay as they are.") % {
            "version": model.version
        }


class ModelRejectView(_ModelAction):
    any_of = (Capability.PROMOTE,)
    form = "reject"

    def act(self, request: HttpRequest, model_id: UUID) -> str:
        model = model_reject(actor=self.actor, model_id=model_id, reason=typed_reason(request))
        return gettext("%(version)s is turned down for ever.") % {"version": model.version}


class PromotionDetailView(PortalView):
    """A request with what approving it will do, in numbers."""

    any_of: ClassVar[tuple[Capability, ...]] = (Capability.VIEW_MODELS,)
    http_method_names = ["get", "head", "options"]

    def get(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        return self.page(request, request_id)

    def page(
        self, request: HttpRequest, request_id: UUID, refusal: Refusal = NO_REFUSAL
    ) -> HttpResponse:
        asked = promotion_get(actor=self.actor, request_id=request_id)
        model = asked.model_version
        named = approvers_named(model)
        own = asked.requested_by_id == self.actor.user_id
        context = {
            **request_row(asked),
            "model": model,
            "verdict": verdict_of(self.actor, model),
            "faults": faults_of(model=model),
            "outlook": outlook(actor=self.actor),
            "hindrance": "" if asked.decision else self.hindrance(asked),
            "is_open": not asked.decision,
            "own": own,
            "trained_it": self.trained(asked),
            "may_decide": self.can(Capability.PROMOTE) and not own,
            "may_approve": named is None or self.actor.label in named,
            "named": sorted(named or ()),
            "refusal": refusal,
        }
        return render(request, "learning/promotion_detail.html", context, status=refusal.status)

    def trained(self, asked: PromotionRequest) -> bool:
        user_id = self.actor.user_id
        return user_id is not None and training_ordered_by(
            model=asked.model_version, user_id=user_id
        )

    def hindrance(self, asked: PromotionRequest) -> str:
        return told(promotion_hindrance(asked.model_version, ModelState(asked.target)))


class _Decision(PromotionDetailView):
    """A request decided; refused, its page comes back with the state as it is now."""

    http_method_names = ["post", "options"]
    form: ClassVar[str]

    def post(self, request: HttpRequest, request_id: UUID) -> HttpResponse:
        try:
            done = self.decide(request, request_id)
        except (StateConflict, FieldInvalid) as error:
            return self.page(
                request, request_id, refusal_of(self.form, typed_reason(request), error)
            )
        messages.success(request, done)
        return redirect(reverse("promotion-detail", args=[request_id]))

    def decide(self, request: HttpRequest, request_id: UUID) -> str:
        raise NotImplementedError

    def given(self, request: HttpRequest, request_id: UUID) -> dict[str, Any]:
        return {"actor": self.actor, "request_id": request_id, "reason": typed_reason(request)}


class PromotionApproveView(_Decision):
    any_of = (Capability.PROMOTE,)
    form = "approve"

    def decide(self, request: HttpRequest, request_id: UUID) -> str:
        done = promotion_approve(
            **self.given(request, request_id), expected_active=shown_active(request)
        )
        if done.target == ModelState.SHADOW:
            return gettext(
                "Approved. The model now answers in shadow; nobody who reads cases sees it."
            )
        return gettext(
            "Approved. The model is live for new images; earlier answers stay as they are."
        )


class PromotionDeclineView(_Decision):
    any_of = (Capability.PROMOTE,)
    form = "decline"

    def decide(self, request: HttpRequest, request_id: UUID) -> str:
        promotion_decline(**self.given(request, request_id))
        return gettext("Declined. The model stays what it was.")


class PromotionWithdrawView(_Decision):
    any_of = (Capability.TRAIN, Capability.PROMOTE)
    form = "withdraw"

    def decide(self, request: HttpRequest, request_id: UUID) -> str:
        promotion_withdraw(**self.given(request, request_id))
        return gettext("Withdrawn. The model stays what it was.")
