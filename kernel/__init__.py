"""Sockets of guarded processes in, flows with their original destination and process out; the only room that talks to the kernel."""
