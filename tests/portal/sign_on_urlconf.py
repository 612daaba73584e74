"""All addresses, with those of single sign-on, which are there only where an issuer is set."""

from bcweb.urls import (  # noqa: F401
    handler400,
    handler403,
    handler404,
    handler500,
)
from bcweb.urls import (
    urlpatterns as ours,
)
from cases.portal.sign_on_urls import urlpatterns as sign_on

urlpatterns = [*sign_on, *ours]
