"""All addresses: health checks, the REST API, the portal."""

from django.urls import include, path

from bcweb.health import healthz, readyz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("api/v1/", include("cases.api.urls")),
    path("", include("cases.portal.urls")),
]

handler400 = "bcweb.errors.bad_request"
handler403 = "bcweb.errors.permission_denied"
handler404 = "bcweb.errors.not_found"
handler500 = "bcweb.errors.server_error"
