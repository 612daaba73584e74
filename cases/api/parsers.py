"""Bodies of requests, of a bounded size and depth: DRF's own parsers read whatever comes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from rest_framework.exceptions import ParseError
from rest_framework.parsers import FormParser, JSONParser

Context = Mapping[str, Any]


def _refuse_large(context: Context | None) -> None:
    """Raise ``RequestDataTooBig`` beyond the limit Django has for forms."""
    length = (context or {})["request"].META.get("CONTENT_LENGTH")
    if int(length or 0) > settings.DATA_UPLOAD_MAX_MEMORY_SIZE:
        raise RequestDataTooBig()


class BoundedJSONParser(JSONParser):
    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Context | None = None,
    ) -> Any:
        _refuse_large(parser_context)
        try:
            return super().parse(stream, media_type, parser_context)
        except RecursionError:
            raise ParseError("The JSON is nested too deeply.") from None


class BoundedFormParser(FormParser):
    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Context | None = None,
    ) -> Any:
        _refuse_large(parser_context)
        return super().parse(stream, media_type, parser_context)
