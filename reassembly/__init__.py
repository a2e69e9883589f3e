"""Segments or a stream in, bytes in order and frames out; never any I/O."""
