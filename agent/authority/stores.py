"""Which programs' trust stores hostguard reaches on this host, with what is left to do by hand."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ...kernel.features import Feature
from .bundle import system_bundle
from .system import anchors

JAVA_STORE = "/etc/ssl/certs/java/cacerts"
"""Kept by Debian's ca-certificates-java, whose hook update-ca-certificates runs."""
RED_HAT_JAVA_STORE = "/etc/pki/java/cacerts"
_IMPORT = "keytool -importcert -noprompt -alias hostguard -file <(hostguard ca export) -cacerts -storepass changeit"


def stores() -> list[Feature]:
    """For `hostguard doctor`; nothing here keeps hostguard from guarding."""
    return [_system(), _java(), _node()]


def _system() -> Feature:
    bundle, found = system_bundle(), anchors(Path("/"))
    if bundle is None:
        remedy = "apt-get install ca-certificates; or server_roots in each resource, and variables for agents by hand"
        return Feature("trust store", False, "no bundle of roots in a place that is known", remedy, required=False)
    if found is None:
        return Feature("trust store", False, f"{bundle}, made in a way that is not known", "hostguard ca export", required=False)
    return Feature("trust store", True, f"{bundle}, by {found.command[0]}", "", required=False)


def _java() -> Feature:
    """The store of the java that is found first, if any."""
    program = shutil.which("java")
    if program is None:
        return Feature("trust: Java", True, "no java here", "", required=False)
    home = Path(os.path.realpath(program)).parent.parent
    place = next((path for path in (home / "lib/security/cacerts", home / "jre/lib/security/cacerts") if path.exists()), None)
    if place is None:
        return Feature("trust: Java", False, f"{home} has no cacerts in a place that is known", _IMPORT, required=False)
    real = os.path.realpath(place)
    if real in (JAVA_STORE, RED_HAT_JAVA_STORE):
        return Feature("trust: Java", True, f"{place} is the system's, {real}", "", required=False)
    return Feature("trust: Java", False, f"{place} does not follow the system's store", _IMPORT, required=False)


def _node() -> Feature:
    if shutil.which("node") is None:
        return Feature("trust: Node", True, "no node here", "", required=False)
    return Feature("trust: Node", True, "by NODE_EXTRA_CA_CERTS, which hostguard exec and agent.conf set", "", required=False)
