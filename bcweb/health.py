"""`/healthz` and `/readyz`, for load balancers and the supervisor."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from cases.selectors.health import readiness
from cases.selectors.serving import suspension_now


@require_safe
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process lives; asks nobody else."""
    return JsonResponse({"status": "ok"})


@require_safe
@never_cache
def readyz(request: HttpRequest) -> HttpResponse:
    """200 with the live services, and since when answers are suspended, when all is well; else
    503 with a JSON list of what is not."""
    faults, alive = readiness()
    if faults:
        return JsonResponse(faults, status=503, safe=False)
    # Ready all the same: submissions are accepted and wait. The reason is for those signed in.
    suspension = suspension_now()
    since = suspension.since.isoformat() if suspension else None
    return JsonResponse({"status": "ready", "services": alive, "answers_suspended_since": since})
