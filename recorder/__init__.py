"""Entries in, a log whose past cannot be changed unseen out; it never interprets what it stores."""
