"""The schema taken at its word: made-up requests to every operation, and what came back as told.

No fault of ours, no status, content type, header or body that the schema does not tell of. Ids in
addresses are those of things that are there, now and then, or everything would be "not found".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections, transaction
from hypothesis import HealthCheck, Phase, Verbosity, given, settings
from hypothesis import strategies as st

from cases.access import Role, Scope
from cases.models import Finding, Site
from tests.api.conftest import answer_waiting
from tests.api.contract import schema
from tests.factories import make_actor, make_token, make_user, submit
from tests.webhooks import make_webhook

pytestmark = pytest.mark.django_db
schemathesis: Any = pytest.importorskip("schemathesis")

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
)
EXAMPLES = int(os.environ.get("BCWEB_FUZZ_EXAMPLES", "6"))


def known_ids(site: Site) -> dict[str, list[str]]:
    """Ids of things that are there, by the name of the parameter."""
    actor = make_actor(site=site)
    submission = submit(actor=actor, laterality="L", clock_position="2")
    result = answer_waiting()[0]
    waiting = submit(actor=actor)
    webhook, _ = make_webhook(site)
    return {
        "submission_id": [str(submission.pk), str(waiting.pk)],
        "job_id": [str(result.job_id), str(waiting.jobs.get().pk)],
        "case_id": [str(submission.case_id)],
        "image_id": [str(result.image_id)],
        "result_id": [str(result.pk)],
        "finding_id": [str(pk) for pk in Finding.objects.values_list("pk", flat=True)],
        "model_id": [str(result.model_version_id)],
        "webhook_id": [str(webhook.pk)],
        "code": ["not_found", "throttled"],
    }


def secret_of_all(site: Site) -> str:
    """A token that may do whatever a token can."""
    user = make_user(roles=list(Role), site=site)
    return make_token(user=user, scopes=list(Scope))[1]


@pytest.fixture
def application() -> Iterator[Callable[..., Any]]:
    """The service as a server would call it, on the connection of the test."""
    application: Callable[..., Any] = get_wsgi_application()
    signals = (request_started, request_finished)
    for signal in signals:
        signal.disconnect(close_old_connections)
    yield application
    for signal in signals:
        signal.connect(close_old_connections)


def operations(application: Callable[..., Any]) -> Iterator[Any]:
    loaded = schemathesis.openapi.from_dict(schema())
    loaded.app = application
    for found in loaded.get_all_operations():
        yield found.ok()


def test_no_request_brings_a_fault_or_an_answer_that_is_not_told_of(
    site: Site, application: Callable[..., Any], settings: Any
) -> None:
    # A fault in a view is an answer to be judged, and not an exception of the test client.
    settings.DEBUG_PROPAGATE_EXCEPTIONS = False
    headers = {"Authorization": f"Bearer {secret_of_all(site)}"}
    known = known_ids(site)
    faults: list[str] = []
    for operation in operations(application):
        with transaction.atomic():
            try:
                fuzz(operation, headers, known)
            except BaseExceptionGroup as error:
                faults.append(f"{operation.label}\n{told(error)}")
            transaction.set_rollback(True)
    assert not faults, "\n\n".join(faults)


def told(error: BaseException) -> str:
    inner = getattr(error, "exceptions", None)
    if inner:
        return "\n".join(told(one) for one in inner)
    return f"{type(error).__name__}: {error}"[:1500]


def fuzz(operation: Any, headers: dict[str, str], known: dict[str, list[str]]) -> None:
    wanted = [getattr(schemathesis.checks, name) for name in CHECKS]
    body_conforms = schemathesis.checks.response_schema_conformance

    @settings_of_examples
    @given(case=operation.as_strategy(), data=st.data())
    def run(case: Any, data: Any) -> None:
        for name, ids in known.items():
            if ids and name in (case.path_parameters or {}) and data.draw(st.booleans()):
                case.path_parameters[name] = data.draw(st.sampled_from(ids))
        with transaction.atomic():
            response = case.call(headers=headers)
            transaction.set_rollback(True)
        # The body of a stream is text to the schema, and events to this library: those have tests
        # of their own (test_events_http.py).
        is_stream = response.headers.get("content-type", [""])[0].startswith("text/event-stream")
        case.validate_response(
            response, checks=[one for one in wanted if not (is_stream and one is body_conforms)]
        )

    run()


settings_of_examples = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    verbosity=Verbosity.quiet,
    suppress_health_check=list(HealthCheck),
)
