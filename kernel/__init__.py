"""Sockets of guarded processes in, flows with their origin out.

The only room with C for the kernel, and the only one that talks to it about sockets, cgroups, namespaces. It decides nothing:
what a flow may do is not its business, and it never sees a byte of one.
"""
