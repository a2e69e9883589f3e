"""Finds what in a configuration points to nothing, twice to the same, or in a form that nothing could match."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..identity.auditors import recipient_fault
from .addresses import UNIX_SCHEME, parse_address
from .credential_checks import credential_mistakes
from .detect import plugins
from .detect.found import ENTITIES
from .duty_checks import duty_mistakes
from .issuers import issuer_mistakes
from .paths import split
from .sections import Tables
from .strict import Mistake, suggest
from .web_checks import web_mistakes
from .workloads import workload_mistakes

RESERVED_TAG = "catalog"
"""Tags in here are hostguard's own; see `catalogs.py`."""


def dangling(tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    """The mistakes between the sections. `raw` has the names that were declared, also where their tables have mistakes."""
    yield from _pointers(tables, raw)
    yield from workload_mistakes(tables, raw)
    yield from _unix_users(tables)
    yield from _addresses(tables)
    yield from _unix_allow(tables)
    yield from _tags(tables, raw)
    yield from _unread(tables)
    yield from _skipped(tables)
    yield from _witnesses(tables)
    yield from _channels(tables)
    yield from _recipients(tables)
    yield from credential_mistakes(tables, raw)
    yield from duty_mistakes(tables, raw)
    yield from issuer_mistakes(tables, raw)
    yield from web_mistakes(tables, raw)


def _skipped(tables: Tables) -> Iterator[Mistake]:
    for name, resource in tables.resources.items():
        for path in resource.detect_skip:
            if len(split(path)) != 4 or not all(split(path)):
                said = f'"{path}" is not a column of the resource; expected database/schema/table/column'
                yield Mistake(("resources", name, "detect_skip"), said)


def _channels(tables: Tables) -> Iterator[Mistake]:
    for name, channel in tables.channels.items():
        if sum(map(bool, (channel.url, channel.url_file, channel.command))) != 1:
            yield Mistake(("channels", name), "a channel has exactly one of url, url_file, command")
        if channel.command and not channel.command[0].startswith("/"):
            yield Mistake(("channels", name, "command"), "the program must be named by its absolute path")
        for key in ("secret_file", "run_as"):
            if getattr(channel, key) and bool(channel.command) is not (key == "run_as"):
                yield Mistake(("channels", name, key), f"it belongs to a {'command' if key == 'run_as' else 'url'}")


def _recipients(tables: Tables) -> Iterator[Mistake]:
    for number, recipient in enumerate(tables.log.payload_recipients, 1):
        if fault := recipient_fault(recipient):
            yield Mistake(("log", "payload_recipients"), f"number {number}: {fault}")


def _names(raw: Mapping[str, Any], section: str) -> list[str]:
    table = raw.get(section)
    return list(table) if isinstance(table, Mapping) else []


def _pointers(tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    agents, users = _names(raw, "agents"), _names(raw, "users")
    for name, workload in tables.workloads.items():
        if workload.agent not in agents:
            yield Mistake(("workloads", name, "agent"), f'there is no agent "{workload.agent}"' + suggest(workload.agent, agents))
    for name, agent in tables.agents.items():
        if agent.owner not in users:
            yield Mistake(("agents", name, "owner"), f'there is no user "{agent.owner}"' + suggest(agent.owner, users))


def _unix_users(tables: Tables) -> Iterator[Mistake]:
    seen: dict[str, str] = {}
    for name, user in tables.users.items():
        for unix in user.unix:
            other = seen.setdefault(unix, name)
            if other != name:
                yield Mistake(("users", name, "unix"), f'UNIX user "{unix}" is user "{other}" already')


def _addresses(tables: Tables) -> Iterator[Mistake]:
    seen: dict[tuple[str, int], tuple[str, str]] = {}
    for name, resource in tables.resources.items():
        for text in resource.addresses:
            place = ("resources", name, "addresses")
            try:
                address = parse_address(text)
            except ValueError as error:
                yield Mistake(place, str(error))
                continue
            other, written = seen.setdefault(address, (name, text))
            # The same text twice in one list is told of by the reader of lists.
            if (other, written) != (name, text):
                yield Mistake(place, f'"{text}" is an address of resource "{other}" already')


def _unix_allow(tables: Tables) -> Iterator[Mistake]:
    """An address can't be both open and a resource's."""
    owners = {text: name for name, resource in tables.resources.items() for text in resource.addresses}
    for where in tables.daemon.unix_allow:
        if owner := owners.get(UNIX_SCHEME + where):
            what = f'"{where}" is an address of resource "{owner}" (resources.{owner}.addresses): it can\'t be open as well'
            yield Mistake(("daemon", "unix_allow"), what)


def _tags(tables: Tables, raw: Mapping[str, Any]) -> Iterator[Mistake]:
    resources = _names(raw, "resources")
    for name, tag in tables.tags.items():
        if "" in name.split("."):
            yield Mistake(("tags", name), "a tag's name is parts with single dots between them, such as pci.card")
        if name.split(".")[0] == RESERVED_TAG:
            yield Mistake(("tags", name), f"tags in {RESERVED_TAG} are hostguard's own")
        for kind in tag.detect:
            if kind not in ENTITIES and kind not in plugins.installed():
                known = ", ".join((*ENTITIES, *sorted(plugins.installed())))
                yield Mistake(("tags", name, "detect"), f'"{kind}" is nothing that is detected; expected one of {known}')
        for column in tag.columns:
            place = ("tags", name, "columns")
            parts = split(column)
            if len(parts) != 5 or "" in parts:
                yield Mistake(place, f'"{column}" is not a column; expected resource/database/schema/table/column')
            elif parts[0] not in resources:
                yield Mistake(place, f'"{column}": there is no resource "{parts[0]}"' + suggest(parts[0], resources))


def _unread(tables: Tables) -> Iterator[Mistake]:
    """What only a protocol that is read has, and the other way round."""
    for name, resource in tables.resources.items():
        tls = resource.protocol == "tls"
        for key in ("names", "ech"):
            if getattr(resource, key) and not tls:
                yield Mistake(
                    ("resources", name, key), f'only a resource of protocol "tls" has it, this one speaks {resource.protocol}'
                )
        for key in (
            "capture_replies",
            "client_tls",
            "server_tls",
            "server_roots",
            "server_name",
            "credential",
            "client_password",
        ):
            if getattr(resource, key) and tls:
                yield Mistake(("resources", name, key), 'nothing that passes can be read with protocol "tls"')
    for name, tag in tables.tags.items():
        for column in tag.columns:
            held = tables.resources.get(column.partition("/")[0])
            if held is not None and held.protocol == "tls":
                yield Mistake(
                    ("tags", name, "columns"), f'"{column}": a resource of protocol "tls" has no columns that could be seen'
                )


def _witnesses(tables: Tables) -> Iterator[Mistake]:
    for name, witness in tables.witnesses.items():
        if sum(map(bool, (witness.url, witness.file, witness.webhook))) != 1:
            yield Mistake(("witnesses", name), "a witness has exactly one of url, file, webhook")
        if bool(witness.url) != bool(witness.key):
            yield Mistake(("witnesses", name, "key"), "the verifier key belongs to a url, and a url needs it")
