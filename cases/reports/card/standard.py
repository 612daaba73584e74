"""Words that cards of our own trainings hold, as translators find them: `values` looks them up."""

from __future__ import annotations

import re
from collections.abc import Callable

from django.utils.translation import gettext
from django.utils.translation import gettext_noop as _

# Keys that cards of our trainings hold, as they begin a line.
KEYS = (
    _("Answered by"),
    _("Area"),
    _("Benign"),
    _("Cancer"),
    _("Centre"),
    _("Chosen by"),
    _("Chosen epoch"),
    _("Components"),
    _("Config digest"),
    _("Conflicting groups"),
    _("Coverage"),
    _("Curves"),
    _("Darker"),
    _("Device"),
    _("Digest"),
    _("Epochs run"),
    _("Error among answered"),
    _("Fixed point"),
    _("Fold"),
    _("Grouping rule"),
    _("Groups"),
    _("Held out"),
    _("Held out source"),
    _("Held out with their group in training"),
    _("Hit"),
    _("Large"),
    _("Medium"),
    _("Minimum score"),
    _("Near duplicate groups"),
    _("Non-cancer"),
    _("Not stated"),
    _("Out of fold"),
    _("Over better"),
    _("Quarantined images"),
    _("Rule"),
    _("Seconds"),
    _("Skipped"),
    _("Small"),
    _("Split kind"),
    _("Train"),
    _("Validation"),
)
# Keys for which people have another word.
KEY_WORDS = {"Middle": "Medium"}
# What our trainings write on every card, as pages say it.
SENTENCES = (
    _(
        "Research on breast ultrasound. Not a medical device: a person decides, with the image "
        "and the patient before them. A score is a model score, not a probability of cancer and "
        "not a BI-RADS category."
    ),
    _("Scores reflect the share of malignant images in the training data, not in any clinic."),
    _("“normal” means no lesion pattern in this image."),
    _(
        "The heatmap is coarse: 7 × 7 cells over the input square. It shows neither the extent "
        "of a lesion nor the cause of the answer."
    ),
    _("There is no “normal” image in the training data."),
    _("men"),
    _("people under 18"),
    _("breasts with implants"),
    _("lactating breasts"),
    _("treated breasts"),
    _("Doppler and elastography"),
    _("scanners and hospitals other than those of the data"),
    _("the last epoch, set before training"),
    _("lowest validation log loss after temperature scaling"),
    _("smallest third"),
    _("middle third"),
    _("largest third"),
    _("Mirrored left to right"),
    _("Calipers added anywhere"),
    _("Calipers added at the lesion"),
    _("Text added"),
    _("Burnt-in marks removed"),
    _("Black frame added"),
    _("Edges cut off"),
    _("Brighter"),
    _("means nothing for the class: a yardstick for the others"),
    _("two pairs of plus marks with dotted lines at random places"),
    _("two pairs of plus marks with dotted lines at the ends of the lesion mask"),
    _("a short label in a random corner"),
    _(
        "coloured pixels and thin, bright, sharp-edged marks filled from around them, in those "
        "images where any are found"
    ),
    # xgettext:no-python-format
    _("8 % of the side at each edge"),
    # xgettext:no-python-format
    _("1 to 6 % of the side at each edge"),
    _("grey levels times 0.8"),
    _("grey levels times 1.25, cut at white"),
    _(
        "Changes are made to the whole image. Shares and means are over all changed images "
        "and repeats; flips are answers that cross the operating point. Intervals are from whole "
        "groups."
    ),
    _("no answer when the largest calibrated score is below minimum_score"),
    _("always the centre of the input square"),
    _("lesion pixels as a share of the image; thirds of the images in this row"),
    _("hit rate less the better of the two baselines, chosen anew in each draw"),
    _(
        "width, height, aspect, shares of black pixels, rows and columns, mean and spread of "
        "grey, share of coloured pixels"
    ),
    _("out-of-fold scores of the cross-validation, near-duplicates counting once"),
)
# The same of sentences that name sources, as cards write them and as pages say them.
_NAMING = (
    (
        re.compile(
            r"All 'normal' pictures come from one source, (?P<sources>\w+): "
            r"the model may tell the source instead\."
        ),
        _(
            "All “normal” images come from one source, %(sources)s: the model may tell the source "
            "instead."
        ),
    ),
    (
        re.compile(r"All pictures come from one source, (?P<sources>\w+)\."),
        _("All images come from one source, %(sources)s."),
    ),
    (
        re.compile(
            r"Pictures without patient ids \(in (?P<sources>\w+(, \w+)*)\): near-duplicates are "
            r"kept together, but two different pictures of one patient can lie on both sides of a "
            r"split\."
        ),
        _(
            "Images without patient ids (in %(sources)s): near-duplicates are kept together, but "
            "two different images of one patient can lie on both sides of a split."
        ),
    ),
)


def sentence_shown(said: str, source: Callable[[object], str]) -> str:
    """A sentence of a card as the page says it: in its words and its language, where known.

    ``source`` names a source of images. What somebody else wrote stays as it is.
    """
    for pattern, words in _NAMING:
        if found := pattern.fullmatch(said):
            named = ", ".join(map(source, found["sources"].split(", ")))
            return gettext(words) % {"sources": named}
    ours = re.sub(r"\bpicture(s?)\b", r"image\1", said)
    ours = ours.replace("'normal'", "“normal”").replace("7 x 7", "7 × 7")
    return gettext(ours if ours in SENTENCES else said)
