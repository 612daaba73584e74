"""The OpenAPI document and the page that shows it. Answers are held against it in contract.py."""

from __future__ import annotations

import io
import json

import pytest
import yaml
from django.core.management import call_command
from django.test import Client

from cases.models import Site
from tests.api.contract import Api, schema
from tests.factories import make_user

pytestmark = pytest.mark.django_db

CONTRACT = {
    "/submissions/": "post",
    "/submissions/{submission_id}/": "get",
    "/jobs/{job_id}/": "get",
    "/jobs/{job_id}/cancel/": "post",
    "/jobs/{job_id}/rerun/": "post",
    "/cases/": "get",
    "/cases/{case_id}/": "get",
    "/images/{image_id}/": "get",
    "/images/{image_id}/file/": "get",
    "/images/{image_id}/preview/": "get",
    "/results/{result_id}/": "get",
    "/results/{result_id}/heatmap/": "get",
    "/readings/": "get",
    "/findings/{finding_id}/outcomes/": "post",
    "/patients/research-opt-out/": "post",
    "/models/": "get",
    "/models/live/": "get",
    "/training-runs/": "get",
    "/audit/": "get",
}


def test_the_schema_is_made_without_a_warning_and_is_valid() -> None:
    out = io.StringIO()
    call_command("spectacular", fail_on_warn=True, validate=True, stdout=out)
    document = yaml.safe_load(out.getvalue())
    assert document["openapi"].startswith("3.")


def test_the_schema_holds_every_address_of_the_contract() -> None:
    for path, method in CONTRACT.items():
        assert method in schema()["paths"][f"/api/v1{path}"]


def test_every_operation_documents_its_errors_as_problems() -> None:
    for path, operations in schema()["paths"].items():
        for method, operation in operations.items():
            assert {"401", "403", "500", "503", "default"} <= set(operation["responses"])
            for status, told in operation["responses"].items():
                if status == "default" or int(status) >= 400:
                    assert list(told["content"]) == ["application/problem+json"], (method, path)
            # Bearer or session for all but the explanations of codes.
            names = {name for way in operation.get("security", []) for name in way}
            assert names == (set() if "/errors/" in path else {"bearer", "session"})


def test_the_schema_is_served_as_yaml_and_json(api: Api) -> None:
    as_yaml = api.get("/schema/")
    assert yaml.safe_load(as_yaml.content)["paths"].keys() == schema()["paths"].keys()
    as_json = api.get("/schema/", Accept="application/json")
    assert json.loads(as_json.content)["info"]["title"] == "bcweb"
    assert json.loads(api.get("/schema/?format=json").content)["openapi"].startswith("3.")


def test_the_docs_page_brings_no_inline_script_or_style(api: Api) -> None:
    page = api.get("/docs/")
    text = page.content.decode()
    assert "<style" not in text
    assert " style=" not in text
    assert text.count("<script ") == text.count("<script src=") == 2
    assert "//" not in text.replace("http://testserver", "")
    policy = page.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "style-src 'self'" in policy
    assert "unsafe" not in policy
    script = api.get("/docs/", {"script": ""})
    assert script.headers["Content-Type"].startswith("application/javascript")
    assert "validatorUrl" in script.content.decode()


def test_the_docs_page_works_for_a_session(site: Site) -> None:
    client = Client()
    client.force_login(make_user(roles=["auditor"], site=site))
    assert client.get("/api/v1/docs/").status_code == 200
