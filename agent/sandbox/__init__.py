"""The cage of a worker: privileges, system calls and files that it gives up before it sees the first byte of anybody.

In: what the supervisor found this host to offer (`Cage`). Out: what was given up and what could not be (`Applied`). Nothing
here can be undone by the process that did it. `privileges` is required; `seccomp` and `landlock` are taken where the host has
them, and what is missing is told, never silent.
"""
