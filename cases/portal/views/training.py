"""Training runs: the list, one run watched live, starting and cancelling one, the snapshots."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.safestring import mark_safe
from django.utils.translation import gettext

from cases.access import Capability
from cases.errors import NotFound, UserFacingError
from cases.models import TrainingRun
from cases.portal.gate_forms import plan_field
from cases.portal.gates import VerdictView, verdict_view
from cases.portal.training import RunView, lines_token, moves_of, run_lines, run_view
from cases.portal.training_forms import REASON, PlainForm, plain_form, start_specs
from cases.portal.views.base import PortalView
from cases.reports.curves import CurvePoint, loss_curve_svg
from cases.selectors.gates import gate_plan_list, use_of_run, verdict_of_run
from cases.selectors.snapshots import snapshot_list, snapshot_list_free
from cases.selectors.training import training_run_ahead, training_run_get, training_run_list
from cases.services.gate_fields import plan_id_parse
from cases.services.training import TrainingRunOn, training_run_cancel, training_run_request
from cases.services.training_fields import training_plan_parse
from cases.states import JOB, JobState
from cases.told import told
from cases.vocabulary import IfRunning

POLL_MS = 2000
SHOWN = 100
_KEY = re.compile(r"[A-Za-z0-9-]{8,64}")


class TrainingView(PortalView):
    any_of = (Capability.VIEW_MODELS, Capability.TRAIN)
    http_method_names = ["get", "head", "options"]


class TrainingListView(TrainingView):
    """The runs of the site. As a fragment (`?seen=`): 204 where nothing changed."""

    def get(self, request: HttpRequest) -> HttpResponse:
        runs = list(training_run_list(actor=self.actor)[:SHOWN])
        token = lines_token(runs)
        seen = request.GET.get("seen")
        if seen == token:
            return HttpResponse(status=204)
        context = {
            "lines": run_lines(runs),
            "poll": any(JobState(run.job.state) in JOB.active for run in runs),
            "poll_ms": POLL_MS,
            "poll_url": f"{reverse('training-list')}?seen={token}",
            "can_train": self.can(Capability.TRAIN),
            "can_curate": self.can(Capability.CURATE),
            "has_snapshots": snapshot_list(actor=self.actor).exclude(data_root="").exists(),
        }
        page = "learning/training_list.html"
        return render(request, "learning/partials/runs.html" if seen else page, context)


class SnapshotListView(TrainingView):
    def get(self, request: HttpRequest) -> HttpResponse:
        context = {
            "snapshots": snapshot_list(actor=self.actor)[:SHOWN],
            "can_train": self.can(Capability.TRAIN),
            "can_curate": self.can(Capability.CURATE),
        }
        return render(request, "learning/snapshot_list.html", context)


class TrainingStartView(PortalView):
    any_of = (Capability.TRAIN,)
    http_method_names = ["get", "head", "post", "options"]

    def get(self, request: HttpRequest) -> HttpResponse:
        typed = {name: request.GET[name] for name in ("snapshot", "plan") if name in request.GET}
        return self.page(self.form(typed))

    def post(self, request: HttpRequest) -> HttpResponse:
        typed = {name: str(value).replace("\x00", "") for name, value in request.POST.items()}
        key = typed.get("idempotency_key", "")
        key = key if _KEY.fullmatch(key) else ""
        try:
            run = training_run_request(
                actor=self.actor,
                snapshot_id=typed.get("snapshot", ""),
                plan=training_plan_parse(typed),
                reason=typed.get("reason", ""),
                if_running=_if_running(typed),
                gate_plan_id=plan_id_parse(typed.get("plan")),
                idempotency_key=key,
            )
        except TrainingRunOn as error:
            form = self.form(typed, key=key, error=error)
            return self.page(form, status=error.status, on=error.run_id)
        except UserFacingError as error:
            return self.page(self.form(typed, key=key, error=error), status=error.status)
        messages.success(
            request, gettext("The training is asked for. It shows itself here as it goes on.")
        )
        return redirect("training-run", run_id=run.pk)

    def form(
        self, typed: dict[str, str], *, key: str = "", error: UserFacingError | None = None
    ) -> PlainForm:
        plans = list(gate_plan_list(actor=self.actor)[:SHOWN])
        free = list(snapshot_list_free(actor=self.actor)[:SHOWN])
        specs = [*start_specs(free), plan_field(plans)]
        return plain_form(specs, typed, key=key, error=error)

    def page(self, form: PlainForm, *, status: int = 200, on: UUID | None = None) -> HttpResponse:
        has_snapshots = bool(form.fields["snapshot"].spec.choices)
        context = {"form": form, "has_snapshots": has_snapshots, "run_on": self.named(on)}
        return render(self.request, "learning/training_start.html", context, status=status)

    def named(self, run_id: UUID | None) -> TrainingRun | None:
        """The run that is on, where it is one of this site's."""
        if run_id is None:
            return None
        return training_run_list(actor=self.actor).filter(pk=run_id).first()


def _if_running(typed: dict[str, str]) -> IfRunning:
    return IfRunning.QUEUE if typed.get("if_running") == IfRunning.QUEUE else IfRunning.REFUSE


class _RunPage(TrainingView):
    def view_of(self, run_id: UUID) -> RunView:
        run = training_run_get(actor=self.actor, run_id=run_id)
        return run_view(run, epochs=list(run.epoch_rows.all()))

    def context(self, view: RunView) -> dict[str, Any]:
        run = view.run
        url = reverse("training-run-live", args=[run.pk])
        return {
            "view": view,
            "run": run,
            "job": run.job,
            # Our own drawing of numbers: nothing of it was typed by anybody.
            "curve": mark_safe(view.curve),  # noqa: S308
            "ahead": training_run_ahead(run),
            "poll": view.is_active,
            "poll_ms": POLL_MS,
            "poll_url": f"{url}?seen={view.token}",
            "can_train": self.can(Capability.TRAIN),
            "can_cancel": view.is_active and self.can(Capability.TRAIN),
            "moves": moves_of(run),
            "verdict": self.verdict(run),
        }

    def verdict(self, run: TrainingRun) -> VerdictView | None:
        return verdict_view(verdict_of_run(run), use_of_run(run), site_id=self.actor.site_id)


class TrainingRunView(_RunPage):
    def get(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        view = self.view_of(run_id)
        context = self.context(view) | {"form": plain_form([REASON])}
        return render(request, "learning/training_run.html", context)


class TrainingRunLiveView(_RunPage):
    """What changed since the page (or the last poll) was drawn; 204 where nothing did."""

    def get(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        view = self.view_of(run_id)
        if request.GET.get("seen") == view.token:
            return HttpResponse(status=204)
        context = self.context(view) | {"oob": True}
        return render(request, "learning/partials/run_live.html", context)


class TrainingRunCurveView(_RunPage):
    """The loss curves as a file."""

    def get(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        view = self.view_of(run_id)
        points = [CurvePoint(r.epoch, r.train_loss, r.validation_loss) for r in view.rows]
        drawing = loss_curve_svg(points, standalone=True)
        if not drawing:
            raise NotFound(gettext("No epoch has ended yet."))
        response = HttpResponse(drawing, content_type="image/svg+xml")
        response.headers["Content-Disposition"] = f'attachment; filename="losses-{run_id}.svg"'
        return response


class TrainingRunCancelView(PortalView):
    any_of = (Capability.TRAIN,)
    http_method_names = ["post", "options"]

    def post(self, request: HttpRequest, run_id: UUID) -> HttpResponse:
        run = training_run_get(actor=self.actor, run_id=run_id)
        try:
            training_run_cancel(
                actor=self.actor, run_id=run.pk, reason=request.POST.get("reason", "")
            )
        except UserFacingError as error:
            sentences = [told(s) for lines in (error.errors or {}).values() for s in lines]
            messages.error(request, " ".join(sentences) or told(error.detail))
        else:
            messages.success(
                request, gettext("The training is called off. The worker ends it in a moment.")
            )
        return redirect("training-run", run_id=run.pk)
