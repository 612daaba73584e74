"""What reaches the logs when something breaks: where, never what it was about."""

from __future__ import annotations

import io
import json
import logging
import logging.config

import pytest
from django.db import IntegrityError

from bcweb.logging import logging_config
from cases.models import Patient, Site

SECRET = "Vertraulich^Valentina"


@pytest.fixture
def printed(settings):
    """Reads the JSON lines that the configured handler prints."""
    stream = io.StringIO()
    config = logging_config(level="INFO", form="json")
    config["handlers"]["stdout"]["stream"] = stream
    logging.config.dictConfig(config)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    logging.config.dictConfig(settings.LOGGING)


@pytest.mark.django_db(transaction=True)
def test_a_database_error_does_not_quote_the_row_into_the_log(printed) -> None:
    site = Site.objects.create(code="s", name="s", patient_issuer="S")
    Patient.objects.create(site=site, issuer="S", patient_id=SECRET)
    try:
        Patient.objects.create(site=site, issuer="S", patient_id=SECRET)
    except IntegrityError:
        logging.getLogger("django.request").error("Internal Server Error", exc_info=True)
    line = printed()[-1]
    assert "IntegrityError" in str(line["exception"])
    assert "test_logging.py" in str(line["exception"])
    assert SECRET not in json.dumps(line)


def test_the_text_of_a_failed_task_is_left_out(printed) -> None:
    logger = logging.getLogger("celery.app.trace")
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        logger.error("Task %(exc)s", {"exc": repr(error)}, exc_info=True)
    line = printed()[-1]
    assert line["event"] == "a task failed"
    assert "ValueError" in str(line["exception"])
    assert SECRET not in json.dumps(line)
