"""Run one escape by its name, or list them all as JSON: ``perform.py [NAME]``."""

from __future__ import annotations

import errno
import json
import sys
from pathlib import Path

# Started with -I, so that nothing of the tests' environment is in the way.
sys.path.insert(0, str(Path(__file__).parent))

import inherited  # noqa: F401 (each registers its escapes)
import local  # noqa: F401
import namespace  # noqa: F401
import raw  # noqa: F401
import tcp  # noqa: F401
import udp  # noqa: F401
import uring  # noqa: F401
from road import ESCAPES, begin, say


def main() -> None:
    """An OSError is what the program saw."""
    if len(sys.argv) < 2:
        print(json.dumps([[e.name, e.road, e.needs, e.heard, e.outside] for e in ESCAPES.values()]))
        return
    begin()
    try:
        ESCAPES[sys.argv[1]].run()
    except TimeoutError:
        say("no answer")
    except OSError as error:
        say(errno.errorcode.get(error.errno or 0, str(error)))


if __name__ == "__main__":
    main()
