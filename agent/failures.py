"""What can stop the daemon or a command, as a sentence for the person who started it."""

from __future__ import annotations


class Failure(Exception):
    """Something that the person at the keyboard has to mend; the message says what and how. Exit code 1."""
