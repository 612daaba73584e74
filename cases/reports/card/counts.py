"""On how many images an evaluation rests, and how they were scored."""

from __future__ import annotations

from django.utils.translation import gettext

from cases.reports.card.values import Fields, count, counted, mapping, sequence, thousands


def counts_text(fields: Fields) -> str:
    """ "154 images in 119 groups: 86 benign, 41 malignant, 27 normal." and what had no answer."""
    total = count(fields.get("n"))
    counts = mapping(fields.get("counts"))
    order = [str(c) for c in sequence(fields.get("classes"))] or sorted(map(str, counts))
    named = [
        f"{counted(counts.get(c))} {gettext(c)}" for c in order if count(counts.get(c)) is not None
    ]
    groups = count(fields.get("n_groups"))
    head = gettext("Images")
    if total is not None:
        head = gettext("%(n)s images") % {"n": thousands(total)}
    if groups is not None:
        head = gettext("%(images)s in %(n)s groups") % {"images": head, "n": thousands(groups)}
    said = f"{head}: {', '.join(named)}." if named else (f"{head}." if total is not None else "")
    return " ".join(one for one in (said, _unanswered(fields)) if one)


def _unanswered(fields: Fields) -> str:
    """How many got no answer, and that they count; refusals only where they were measured."""
    refused, abstained = count(fields.get("n_refused")), count(fields.get("n_abstained"))
    told = {"refused": counted(refused), "abstained": counted(abstained or 0)}
    if refused is not None and (refused or abstained):
        words = gettext(
            "%(refused)s refused, %(abstained)s abstained; they are counted by their scores."
        )
        return words % told
    if not abstained:
        return ""
    words = gettext(
        "%(abstained)s abstained; they are counted by their scores. "
        "Refusals were not measured here."
    )
    return words % told


def how(fields: Fields) -> str:
    """How a cross-validation scored."""
    if not fields.get("folds"):
        return ""
    return gettext("Each image was scored by a model that was not trained on it.")
