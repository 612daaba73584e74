"""Answers held against the generated schema, and the client that does it for every answer."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from jsonschema import Draft202012Validator, FormatChecker

BASE = "/api/v1"
PROBLEM = "application/problem+json"
CHECKER = FormatChecker()


@CHECKER.checks("date-time", raises=ValueError)  # type: ignore[untyped-decorator]
def _is_moment(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).utcoffset() is not None


@CHECKER.checks("uri")  # type: ignore[untyped-decorator]
def _is_absolute(value: object) -> bool:
    return not isinstance(value, str) or value.startswith("http://testserver/")


@functools.cache
def schema() -> dict[str, Any]:
    """The published OpenAPI document."""
    generator: Any = SchemaGenerator
    document: dict[str, Any] = generator().get_schema(request=None, public=True)
    return document


def strict(part: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: `nullable` spelled out, and no key beyond those named."""
    if isinstance(part, list):
        return [strict(item) for item in part]
    if not isinstance(part, dict):
        return part
    told = {key: strict(value) for key, value in part.items() if key != "nullable"}
    if part.get("type") == "object" and "properties" in part:
        told.setdefault("additionalProperties", False)
    return {"anyOf": [told, {"type": "null"}]} if part.get("nullable") is True else told


@functools.cache
def _components() -> dict[str, Any]:
    return {"schemas": strict(schema()["components"]["schemas"])}


@functools.cache
def _paths() -> list[tuple[re.Pattern[str], str]]:
    return [
        (re.compile(re.sub(r"\{[a-z_]+\}", "[^/]+", template)), template)
        for template in sorted(schema()["paths"], key=lambda path: path.count("{"))
    ]


def template_of(path: str) -> str | None:
    """The documented path that `path` is an instance of."""
    for pattern, template in _paths():
        if pattern.fullmatch(path):
            return template
    return None


def check(method: str, path: str, response: Any) -> None:
    """Status, media type and body of `response` are those the schema tells of."""
    media_type = response.headers.get("Content-Type", "").partition(";")[0]
    if response.status_code >= 400:
        assert media_type == PROBLEM, (response.status_code, media_type)
        _valid({"$ref": "#/components/schemas/Problem"}, response.json())
        assert response.json()["request_id"] == response.headers["X-Request-ID"]
    template = template_of(path)
    operations = schema()["paths"].get(template, {})
    operation = operations.get("get" if method == "HEAD" else method.lower())
    if operation is None:
        # Not in the schema: addresses that are not there, methods that are not, schema and docs.
        return
    told = operation["responses"].get(str(response.status_code))
    assert told is not None, f"{method} {template}: {response.status_code} is not documented"
    content = told.get("content", {})
    if not content:
        assert response.content == b""
        return
    assert media_type in content, (media_type, list(content))
    if media_type == "application/json" and method != "HEAD":
        _valid(content[media_type]["schema"], response.json())


def _valid(shape: dict[str, Any], body: Any) -> None:
    whole = {**strict(shape), "components": _components()}
    errors = list(Draft202012Validator(whole, format_checker=CHECKER).iter_errors(body))
    assert not errors, "\n".join(f"{error.json_path}: {error.message}" for error in errors)


class Api:
    """A client of the API whose every answer must be as documented."""

    def __init__(self, secret: str = "", *, client: Client | None = None) -> None:
        self.client = client or Client(raise_request_exception=False)
        self.headers = {"Authorization": f"Bearer {secret}"} if secret else {}

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> Any:
        return self.send("GET", path, data=query, headers=headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        more = {} if body is None else {"data": body, "content_type": "application/json"}
        return self.send("POST", path, headers=headers, **more)

    def submit(
        self, files: Sequence[bytes | tuple[str, bytes]], *, key: str | None = None, **fields: Any
    ) -> Any:
        """`POST /submissions/` with `files`: bytes, or (name, bytes)."""
        named = [
            file if isinstance(file, tuple) else (f"image{n}.jpg", file)
            for n, file in enumerate(files)
        ]
        uploads = [SimpleUploadedFile(name, data) for name, data in named]
        headers = {} if key is None else {"Idempotency-Key": key}
        return self.send("POST", "/submissions/", data={**fields, "file": uploads}, headers=headers)

    def send(self, method: str, path: str, *, headers: dict[str, str], **more: Any) -> Any:
        """Any request. `_` in header names stands for `-`; `path` may be an absolute link."""
        address = path.removeprefix("http://testserver")
        address = address if address.startswith("/api/") else BASE + address
        spelled = {name.replace("_", "-"): value for name, value in headers.items()}
        call = getattr(self.client, method.lower())
        response = call(address, headers={**self.headers, **spelled}, **more)
        check(method, address.partition("?")[0], response)
        return response


def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """The body of `response`, which must be this problem."""
    body: dict[str, Any] = json.loads(response.content)
    assert (response.status_code, body["code"]) == (status, code), body
    assert body["status"] == status
    assert body["type"] == f"{BASE}/errors/{code}/"
    return body
