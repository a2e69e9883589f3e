"""What guarded processes tried past the loop, as ``hostguard status`` shows it."""

from __future__ import annotations

import time
from typing import Any

from rich.markup import escape

from ...recorder.visible import visible
from .output import ago, out

SHOWN = 5
ROADS = {
    "refused_no_listener": "connects while nobody listened",
    "refused_stale_heartbeat": "connects while the daemon hung",
    "refused_ip_options": "connects with IP options",
    "refused_depth": "from cgroups that lie too deep",
    "refused_helper_failed": "connects that the kernel could not redirect",
    "refused_pending": "from cgroups not yet classified",
    "refused_no_resolver": "DNS queries while no resolver ran",
    "denied_datagram": "UDP",
    "denied_protocol": "connects of other protocols",
    "denied_socket": "raw sockets and other protocols",
    "denied_option": "socket options that lead elsewhere",
    "denied_unix": "UNIX sockets",
    "dropped": "packets that the fence stopped",
    "killed_family": "processes ended for a socket of another family",
    "killed_uring": "processes ended for such a socket by io_uring",
    "killed_send": "processes ended for sending on such a socket",
    "tainted": "sockets from outside",
}
"""In words; a road that a later version has is shown by its name."""
GRAVE = frozenset(("killed_family", "killed_uring", "killed_send", "tainted", "dropped"))
"""No program comes there by accident, or hardly any."""


def show_denied(denied: dict[str, Any]) -> None:
    """A line for all roads, then the latest that went on record."""
    roads = denied["roads"]
    if not roads:
        out.print("denied     [green]nothing[/] by hooks and fence")
        return
    words = [
        f"[{'red' if road in GRAVE else 'yellow'}]{times}[/] {escape(ROADS.get(road, road))}" for road, times in roads.items()
    ]
    out.print("denied     " + ", ".join(words))
    for latest in denied["latest"][-SHOWN:]:
        out.print("           ", end="")
        out.print(visible(_sentence(latest)), markup=False, style="dim")
    if denied["unrecorded"]:
        out.print(f"           [red]{denied['unrecorded']} of these could not be put on record[/]")


def _sentence(latest: dict[str, Any]) -> str:
    who = latest["agent"] or latest["workload"] or "somebody"
    process = f" pid {latest['pid']} ({latest['exe'] or latest['comm']})" if latest["pid"] else ""
    what = latest["destination"] or latest["family"]
    observed = ", let pass" if latest["observed"] else ""
    words = ROADS.get(latest["road"], latest["road"])
    return f"{ago(time.time() - latest['at'])} ago  {who}{process}: {words}{' ' + what if what else ''}{observed}"
