"""What a page of ours may load and send: nothing that is not our own (CSP Level 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

SELF, NONE = "'self'", "'none'"


def content_security_policy(form_targets: Sequence[str]) -> dict[str, Any]:
    """The setting of django-csp. ``form_targets``: where forms may lead besides our own pages."""
    return {
        "DIRECTIVES": {
            "default-src": [NONE],
            "script-src": [SELF],
            "style-src": [SELF],
            # blob: pictures that were chosen and not sent yet.
            "img-src": [SELF, "data:", "blob:"],
            "font-src": [SELF],
            "connect-src": [SELF],
            "form-action": [SELF, *form_targets],
            "base-uri": [NONE],
            "frame-ancestors": [NONE],
            "manifest-src": [SELF],
        }
    }
