"""The framing between this process and its decoder children."""

import struct

HEADER = struct.Struct("!IQ")
"""Before each answer: length of its JSON object, length of the bytes that follow it. Requests
have the first number only."""
