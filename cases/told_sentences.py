"""What services say, as translators find it. Filled below."""

SENTENCES: tuple[str, ...] = ()
