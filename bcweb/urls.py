"""All addresses: health checks, metrics, the REST API, the portal."""

from django.urls import include, path

from bcweb.health import healthz, readyz
from bcweb.metrics import metrics

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
    path("api/v1/", include("cases.api.urls")),
    path("", include("cases.portal.urls")),
]

handler400 = "bcweb.errors.bad_request"
handler403 = "bcweb.errors.permission_denied"
handler404 = "bcweb.errors.not_found"
handler500 = "bcweb.errors.server_error"
