"""How the OpenAPI schema is made (settings of drf-spectacular) and where it is shown."""

from __future__ import annotations

from typing import Any

SETTINGS: dict[str, Any] = {
    "TITLE": "bcweb",
    "DESCRIPTION": (
        "Breast ultrasound classification as a service. Research software, not a medical "
        "device: the model advises, a person decides."
    ),
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    # No validator: that would send addresses to somebody else's server.
    "SWAGGER_UI_SETTINGS": {"deepLinking": True, "validatorUrl": None},
    "ENUM_NAME_OVERRIDES": {
        "JobStateEnum": "cases.states.JobState",
        "ModelStateEnum": "cases.states.ModelState",
        "GateStateEnum": "cases.vocabulary.GateState",
        "LabelEnum": "cases.vocabulary.Label",
        "PathologyEnum": "cases.vocabulary.Pathology",
        "ReadingLabelEnum": "cases.vocabulary.ReadingLabel",
        "BasisEnum": "cases.vocabulary.OutcomeBasis",
        "WatchBasisEnum": "cases.watching.Basis",
        "DeliveryStateEnum": "cases.states.DeliveryState",
        "OutcomeEnum": "cases.vocabulary.Outcome",
        "AttemptOutcomeEnum": "cases.vocabulary.AttemptOutcome",
        "AnswerStateEnum": "cases.api.serializers.cases.ANSWER_STATES",
    },
    "COMPONENT_SPLIT_REQUEST": True,
    "SERVE_AUTHENTICATION": None,
    "SERVE_PERMISSIONS": ["cases.api.permissions.IsSignedIn"],
}
