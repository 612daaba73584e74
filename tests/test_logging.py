"""What reaches the logs when something breaks: where, never what it was about."""

from __future__ import annotations

import io
import json
import logging
import logging.config
import warnings

import pytest
from django.db import IntegrityError
from gunicorn.config import Config
from gunicorn.glogging import Logger

import bcweb.gunicorn
from bcweb.logging import configure_structlog, logging_config, say_in_signal_handler
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


@pytest.fixture
def gunicorn_log(printed):
    """Gunicorn's own logger, as gunicorn sets it up from the configuration of the web server."""
    config = Config()
    config.set("logconfig_dict", logging_config(level="INFO", form="json"))
    stream = logging.getLogger().handlers[0].stream
    config.logconfig_dict["handlers"]["stdout"]["stream"] = stream
    return Logger(config)


def test_no_handler_of_the_web_server_bypasses_the_formatter() -> None:
    config = bcweb.gunicorn.logconfig_dict
    assert [handler["formatter"] for handler in config["handlers"].values()] == ["line"]
    assert set(config["formatters"]) == {"line"}
    for name in ("gunicorn.error", "gunicorn.access"):
        assert config["loggers"][name]["handlers"] == []
        assert config["loggers"][name]["propagate"] is True


def test_gunicorn_takes_its_own_handlers_away(gunicorn_log) -> None:
    for name in ("gunicorn.error", "gunicorn.access"):
        assert not logging.getLogger(name).handlers
        assert logging.getLogger(name).propagate
    assert not logging.getLogger("gunicorn.access").isEnabledFor(logging.INFO)


def test_gunicorn_quotes_neither_the_request_nor_the_text_of_an_exception(
    gunicorn_log, printed
) -> None:
    try:
        raise ValueError(SECRET)
    except ValueError as error:
        gunicorn_log.exception("Error handling request %s %s", "GET", f"/?name={SECRET}")
        gunicorn_log.exception(error)
    gunicorn_log.warning(f"Invalid request from ip=127.0.0.1: {SECRET}")
    gunicorn_log.info("Booting worker with pid: %s", 7)
    lines = printed()
    assert [line["event"] for line in lines] == [
        "Error handling request",
        "ValueError",
        "Invalid request",
        "Booting worker with pid: 7",
    ]
    assert "ValueError" in lines[0]["exception"]
    assert SECRET not in json.dumps(lines)


def test_a_python_warning_is_a_json_line(printed, monkeypatch) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(logging, "_warnings_showwarning", None)
    configure_structlog()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("mind this", UserWarning, stacklevel=1)
    (line,) = printed()
    assert line["logger"] == "py.warnings"
    assert "mind this" in str(line["event"])


def test_what_celery_says_in_a_signal_handler_is_a_json_line(capfd) -> None:
    say_in_signal_handler("worker: Warm shutdown (MainProcess)", None)
    line = json.loads(capfd.readouterr().out)
    assert line["event"] == "worker: Warm shutdown (MainProcess)"
