"""What ``hostguard status`` shows of TLS with credentials."""

from __future__ import annotations

import time
from typing import Any

from rich.markup import escape

from .output import ago, out

SURE = ("verify-full",)


def links(resource: dict[str, Any], broker: dict[str, Any]) -> str:
    """A resource's two links: agents' to hostguard, hostguard's to the server, with whose login it sees."""
    if resource["protocol"] == "tls":
        return "TLS passes unread, from agents to the server"
    shown = _leaf(resource["name"], broker) if resource["client_tls"] != "off" else ""
    parts = [f"TLS with agents: {resource['client_tls']}{shown}"]
    mode = resource["server_tls"]
    parts.append(f"with the server: {mode if mode in SURE else f'[yellow]{mode}[/]'}")
    if resource["credential"]:
        parts.append(f"credential {escape(resource['credential'])}")
    return ", ".join(parts)


def _leaf(resource: str, broker: dict[str, Any]) -> str:
    until = broker["leaves"].get(resource)
    return "" if until is None else f" (certificate for another {ago(max(0.0, until - time.time()))})"


def show_broker(broker: dict[str, Any], trust: dict[str, Any], resources: list[dict[str, Any]]) -> None:
    """The process that holds secrets, each secret's age, the authority; whether the system trusts it, where agents are to."""
    if not broker["running"]:
        out.print("broker     [red]not running[/]")
        return
    out.print(f"broker     caged: {escape(broker['cage'])}  [dim]pid {broker['pid']}[/]")
    for what in broker["missing"]:
        out.print(f"           [yellow]![/] without {escape(what)}")
    for secret in broker["secrets"]:
        age = f"read {ago(time.time() - secret['read_at'])} ago" if secret["read_at"] else "never read"
        failed = f", [red]{escape(secret['failure'])}[/]" if secret["failure"] else ""
        out.print(f"           secret of {escape(secret['variant'])} ({secret['source']}): {age}{failed}")
    for number, authority in enumerate(broker["authorities"], 1):
        state = "signs" if authority["signs"] else "does not sign (any more, or yet)"
        out.print(f"           authority {number} {state}, for another {ago(max(0.0, authority['ends_at'] - time.time()))}")
    if trust["not_in_system"] and any(each["protocol"] != "tls" and each["client_tls"] != "off" for each in resources):
        out.print("           [yellow]![/] the system does not trust hostguard's authority: hostguard ca trust")


def show_vouched(identity: dict[str, Any]) -> None:
    """The verifier, with the issuers that it knows keys of; nothing where nobody has to be vouched for."""
    if not identity["needed"]:
        return
    if not identity["running"]:
        out.print("identity   [red]the verifier is not running[/]")
        return
    tokens = "1 token counts" if len(identity["tokens"]) == 1 else f"{len(identity['tokens'])} tokens count"
    out.print(f"identity   {tokens}  [dim]verifier {identity['pid']}, {identity['cage']}[/]")
    for issuer in identity["issuers"]:
        keys = "1 key" if issuer["keys"] == 1 else f"{issuer['keys']} keys"
        fault = f"  [red]{escape(issuer['fault'])}[/]" if issuer["fault"] else ""
        out.print(f"           {issuer['source']}: {keys}{fault}")
