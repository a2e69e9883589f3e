"""Entries in, a log whose past cannot be changed unseen out; it never interprets what it stores.

Writing: ``log`` on ``durable``, ``packing``, ``frames``; the kinds of entries are in ``entry``. Reading: ``reader``, ``replay``;
whatever is shown to people goes through ``visible``.
"""
