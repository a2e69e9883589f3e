"""``hostguard restart``: have the daemon execute the code that is installed now, in its own place."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path
from typing import Any

import click

from ..client import Client, DaemonDown
from ..failures import Failure
from .options import config_option, json_option, places
from .output import err, out, print_json

LIMIT_S = 60.0
CHECK_S = 90.0
"""How long the check of the installed code may take."""


@click.command("restart")
@click.option("--end-flows", is_flag=True, help="Also if the installed version can't take over the open flows: they end.")
@json_option
@config_option
def command(config: Path, as_json: bool, end_flows: bool) -> None:
    """Upgrade or reconfigure the running daemon: open flows go on, no connection is refused.

    The daemon first has the installed code read its configuration; when that fails everything stays as it is. Then it executes
    that code in its own place, as the same process. Connections that come in meanwhile wait, some seconds at most. Open flows
    stay with the workers that carry them, which end with their last flow; new ones go to new workers.

    What the kernel's maps and open flows were set up by can't change this way: [workloads], resources that are there, the
    daemon's folders, log.durability.
    """
    client = Client(places(config).control)
    before = client.get("/v1/status")
    try:
        process = os.pidfd_open(before["pid"])
    except OSError as error:
        raise Failure(f"process {before['pid']}, which should be the daemon, can't be watched: {error.strerror}") from None
    answer = client.post(f"/v1/restart?end_flows={int(end_flows)}", timeout_s=CHECK_S)
    if answer["refused"]:
        raise Failure(f"nothing was changed: {answer['refused']}")
    began = time.monotonic()
    after = _successor(client, process, before["started_at"])
    took_s = time.monotonic() - began
    if after["taken_over"] is None:
        raise Failure("the new daemon could not take over, so that all open flows ended; it guards, its output says why")
    if as_json:
        print_json({**answer, "pid": after["pid"], "took_s": round(took_s, 3), "state": after["state"]})
    else:
        ended = "ended" if answer["flows_end"] else "went on"
        out.print(
            f"the daemon is now {after['version']} (was {answer['from']}), process {after['pid']}; "
            f"{answer['flows']} open flows {ended}; it took {took_s:.1f} s",
            markup=False,
        )
        carried = answer.get("carried", 0)  # a daemon of before does not tell
        if carried and not answer["flows_end"]:
            err.print(f"! {carried} of them ended, since the broker carried their links to servers", markup=False)
        for problem in after["problems"]:
            err.print(f"! {problem}", markup=False)


def _successor(client: Client, process: int, started_at: float) -> dict[str, Any]:
    """The status of the daemon that took over, as the same process. Raises Failure when none does in time."""
    until = time.monotonic() + LIMIT_S
    while True:
        try:
            status: dict[str, Any] = client.get("/v1/status")
            if status["started_at"] != started_at:
                return status
        except DaemonDown as error:
            # A call that came in at the last moment may be cut off; further ones wait in the socket.
            if time.monotonic() > until:
                raise Failure(f"the daemon did not come back: {error}") from None
        if time.monotonic() > until:
            raise Failure("the daemon still runs as it did before")
        # A pidfd is readable once its process has ended (pidfd_open(2)).
        if select.select([process], [], [], 0.05)[0]:
            raise Failure("the daemon ended on the way, and all flows with it; its output says why")
