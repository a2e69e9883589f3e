"""What the running daemon tells ``hostguard doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..kernel.features import Feature
from ..policy.document import ConfigErrors, load_daemon
from ..policy.sections import Daemon
from .client import Client, DaemonDown
from .paths import Paths

START = "systemctl start hostguard, or hostguard daemon"


def running(config: Path) -> list[Feature]:
    """All of them; without a daemon none is known. Changes nothing."""
    try:
        daemon = load_daemon(config) if config.exists() else Daemon()
        facts: dict[str, Any] = Client(Paths.in_section(daemon).control).get("/v1/status")
    except (ConfigErrors, DaemonDown):
        unknown = "not known while no daemon runs"
        return [
            Feature("daemon", False, "does not run", START, required=False),
            *(Feature(name, False, unknown, START, required=False) for name in ("names", "agents' powers")),
        ]
    return [_daemon(facts), names(facts["names"]), powers(facts["powers"])]


def _daemon(facts: dict[str, Any]) -> Feature:
    if facts["state"] == "guarding":
        return Feature("daemon", True, "guards", "")
    return Feature("daemon", False, f"{facts['state']}: {'; '.join(facts['problems'])}", "hostguard status")


def names(facts: dict[str, Any]) -> Feature:
    """The resolver runs, the kernel sends queries to it, and a name server answered the last question that was passed on."""
    if not facts["running"]:
        return Feature("names", False, "the resolver does not run", "hostguard status says why; systemctl restart hostguard")
    if not facts["redirected"]:
        return Feature("names", False, "port 53 is not redirected to the resolver", "systemctl restart hostguard")
    upstreams = ", ".join(facts.get("upstreams", ()))
    if facts.get("failure"):
        remedy = "see that the name servers can be reached, or set others: dns.upstreams"
        return Feature("names", False, f"no name server answers ({upstreams}): {facts['failure']}", remedy)
    return Feature("names", True, f"port 53 goes to the resolver, which asks {upstreams}", "")


def powers(facts: dict[str, Any]) -> Feature:
    """Agents hold nothing that could undo the guard."""
    title = "agents' powers"
    if facts["failure"]:
        return Feature(title, False, f"not known: {facts['failure']}", "hostguard status", required=False)
    if not facts["count"]:
        return Feature(title, True, "no guarded process is root or holds a capability that could undo the guard", "")
    first = facts["shown"][0]
    what = ", ".join(first["capabilities"]) or "root"
    detail = f"{facts['count']} guarded processes could undo the guard, first pid {first['pid']} ({first['workload']}): {what}"
    return Feature(title, False, detail, first["remedy"], required=False)
