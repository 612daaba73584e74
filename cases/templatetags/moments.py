"""Moments as people write them in the language of the page."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

register = template.Library()


@register.filter(expects_localtime=True)
def moment(value: datetime | None, wanted: str = "j M Y, H:i T") -> SafeString | str:
    """A ``<time>`` in the portal's zone; "" for no moment.

    ``wanted`` is what it looks like in English, as after ``date``: a language that writes it
    otherwise says so in its formats.
    """
    if value is None:
        return ""
    return format_html(
        '<time datetime="{}">{}</time>', date_format(value, "c"), date_format(value, wanted)
    )
