"""German: "03.03.2026, 14:05 UTC"."""

_DAYS = {"j M Y": "d.m.Y", "j M": "d.m."}
_TIMES = ("", ", H:i", ", H:i T", ", H:i:s", ", H:i:s T")

globals().update({en + time: de + time for en, de in _DAYS.items() for time in _TIMES})
