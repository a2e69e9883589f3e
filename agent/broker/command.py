"""Becomes a command that prints a secret: ``python -I -m hostguard.agent.broker.command PROGRAM ARGUMENTS…``.

It is root, since the files that such programs read are root's, but without a single capability, for good; what it prints goes to
the broker.
"""

from __future__ import annotations

import os
import resource
import signal
import sys

from ..sandbox.privileges import renounce

CANNOT_RUN = 126


def main() -> None:
    """Give up, then become it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_DFL)
    try:
        renounce()
        os.execv(sys.argv[1], sys.argv[1:])
    except OSError:
        os._exit(CANNOT_RUN)


if __name__ == "__main__":
    main()
