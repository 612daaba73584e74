"""German: "3. März 2026, 14:05 UTC"."""

_DAYS = {"j M Y": "j. N Y", "j M": "j. N"}
_TIMES = ("", ", H:i", ", H:i T", ", H:i:s", ", H:i:s T")

globals().update({en + time: de + time for en, de in _DAYS.items() for time in _TIMES})
