"""Words at the top of a module: translated when a page shows them, not when the module loads."""

from __future__ import annotations

from datetime import datetime
from typing import cast

from django.utils import translation
from django.utils.formats import date_format
from django.utils.translation import ngettext


def lazy(text: str) -> str:
    """``text`` in the language of whoever reads it at last.

    Typed as the string it becomes, because pages only show it. What is no page (JSON, a column, an
    audit detail, ``str.join``) needs ``str()`` of it.
    """
    return cast(str, translation.gettext_lazy(text))


def pgettext_lazy(context: str, text: str) -> str:
    """As `lazy`, for a word that other languages need more than one word for."""
    return cast(str, translation.pgettext_lazy(context, text))


def images_of(number: int) -> str:
    """ "1 image", "3 images"."""
    return ngettext("%(number)d image", "%(number)d images", number) % {"number": number}


def day_text(at: datetime) -> str:
    """ "3 Mar 2026", as it stands: without a change of zone."""
    return date_format(at, "j M Y")
