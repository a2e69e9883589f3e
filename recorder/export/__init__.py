"""Recordings in other programs' formats: JSON Lines, OCSF events, pcapng captures, asciicasts.

In: what the reader gives of the log. Out: bytes of a file. Nothing in here opens a file, and nothing interprets a policy.
"""
