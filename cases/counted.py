"""How many of a thing there are, in words: "1 image", "3 images"."""

from __future__ import annotations

from django.utils.translation import ngettext_lazy

_COUNTED = {
    "answer": ngettext_lazy("%(number)d answer", "%(number)d answers", "number"),
    "case": ngettext_lazy("%(number)d case", "%(number)d cases", "number"),
    "draft": ngettext_lazy("%(number)d draft", "%(number)d drafts", "number"),
    "finding": ngettext_lazy("%(number)d finding", "%(number)d findings", "number"),
    "heatmap": ngettext_lazy("%(number)d heatmap", "%(number)d heatmaps", "number"),
    "image": ngettext_lazy("%(number)d image", "%(number)d images", "number"),
    "outcome": ngettext_lazy("%(number)d outcome", "%(number)d outcomes", "number"),
    "reading": ngettext_lazy("%(number)d reading", "%(number)d readings", "number"),
    "signed reading": ngettext_lazy(
        "%(number)d signed reading", "%(number)d signed readings", "number"
    ),
    "stored frame": ngettext_lazy("%(number)d stored frame", "%(number)d stored frames", "number"),
}


def counted(number: int, thing: str) -> str:
    """``thing`` is the English word for one of them; one that is not listed stays English."""
    if thing not in _COUNTED:
        return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
    return str(_COUNTED[thing] % {"number": number})
