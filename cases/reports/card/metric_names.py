"""Figures of an evaluation by name, and the rule their answers were made by."""

from __future__ import annotations

from django.utils.translation import gettext, gettext_noop

# Figures in reading order, with what they say and, for narrow columns, in short.
METRICS: tuple[tuple[str, str, str], ...] = (
    (
        "sensitivity",
        gettext_noop("Sensitivity for malignant, at the operating point"),
        gettext_noop("Sensitivity, operating point"),
    ),
    (
        "specificity",
        gettext_noop("Specificity for malignant, at the operating point"),
        gettext_noop("Specificity, operating point"),
    ),
    (
        "specificity_at_95_sensitivity",
        # xgettext:no-python-format
        gettext_noop("Specificity at 95 % sensitivity"),
        # xgettext:no-python-format
        gettext_noop("Spec. at 95 % sens."),
    ),
    # xgettext:no-python-format
    ("specificity_at_98_sensitivity", gettext_noop("Specificity at 98 % sensitivity"), ""),
    (
        "auc_malignant",
        gettext_noop("AUC, malignant against the rest"),
        gettext_noop("AUC malignant"),
    ),
    ("auc_macro", gettext_noop("AUC, mean over the classes"), ""),
    ("average_precision", gettext_noop("Average precision, malignant"), ""),
    (
        "accuracy",
        gettext_noop("Accuracy over the three classes"),
        gettext_noop("Accuracy, largest score"),
    ),
    (
        "macro_f1",
        gettext_noop("F1, mean over the classes"),
        gettext_noop("Macro F1, largest score"),
    ),
    ("macro_precision", gettext_noop("Precision, mean over the classes"), ""),
    ("macro_recall", gettext_noop("Recall, mean over the classes"), ""),
    ("brier", gettext_noop("Brier score (lower is better)"), ""),
    (
        "ece",
        gettext_noop("Calibration error of the malignant score (lower is better)"),
        gettext_noop("Calibration error"),
    ),
)
# Counted by the class with the largest score, which is not always the label that users see.
_BY_LARGEST = ("accuracy", "macro_f1", "macro_precision", "macro_recall")


def metric_name(key: str, label: str) -> str:
    """What a figure of a whole evaluation is called, with the rule its answers were made by."""
    named = gettext(label)
    if key not in _BY_LARGEST:
        return named
    return gettext("%(figure)s, by the largest score") % {"figure": named}
