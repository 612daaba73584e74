"""The backend's connection, where Django looks for it (ENGINE ``bcweb.database``)."""

from __future__ import annotations

import select

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection that is asked ``SELECT 1`` before a request only where something speaks for it.

    A connection which the server has closed, by a restart or for a timeout, has an end of file or
    an error to be read; one that is idle and sound has nothing. To look costs no round trip. A
    server that is gone without a word is noticed by neither before the next statement.
    """

    def is_usable(self) -> bool:
        """Whether the connection still lives. Django asks before a request, and after errors."""
        if self.connection is None:
            return False
        if not self.errors_occurred and not self._has_something_to_read():
            return True
        return bool(super().is_usable())

    def _has_something_to_read(self) -> bool:
        if self.connection.closed:
            return True
        looker = select.poll()
        looker.register(self.connection.fileno(), select.POLLIN)
        # Hang-up and error are told unasked.
        return bool(looker.poll(0))
