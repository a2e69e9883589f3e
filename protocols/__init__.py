"""Bytes of one direction and decisions in, operations asked for and bytes to release out; no I/O, no clock, no policy."""
