"""``hostguard ca``: this host's certificate authority."""

from __future__ import annotations

import datetime
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from cryptography.hazmat.primitives import hashes

from ...policy.document import Document
from ..authority.installed import not_in_system
from ..authority.issue import permitted
from ..authority.names import Names, names_of_all
from ..authority.store import BadStore, Held, Store, Terms
from ..authority.system import trust
from ..failures import Failure
from ..install.place import Step
from ..paths import Paths
from .install import show as show_steps
from .options import config_option, configured, json_option
from .output import out, print_json, table

Result = TypeVar("Result")


@click.group("ca")
def command() -> None:
    """This host's certificate authority: what vouches to agents for hostguard, for the resources' names and nothing else.

    Its key is root's alone. The daemon makes the first one at its start, and the next one in time before it ends.
    """


@command.command("show")
@json_option
@config_option
def show(config: Path, as_json: bool) -> None:
    """List the authorities: until when, for which names, whether the system trusts them. Exit code 1 when it does not."""
    document = configured(config)
    store, names = opened(document)
    found = [_facts(held, store, names) for held in _all(store)]
    if as_json:
        print_json({"authorities": found, "bundle": str(Paths.of(document).bundle)})
    else:
        _print(found)
    sys.exit(0 if found and all(each["in_system"] for each in found) else 1)


def _print(found: list[dict[str, Any]]) -> None:
    shown = table("NUMBER", "STATE", "ENDS", "SYSTEM", "SHA-256", "NAMES")
    for each in found:
        system = "trusts it" if each["in_system"] else "[yellow]does not trust it[/]: hostguard ca trust"
        names = ", ".join(each["names"]) or "none"
        shown.add_row(str(each["number"]), each["state"], each["ends_at"][:10], system, each["sha256"][:16], names)
    out.print(shown if found else "there is none yet; the daemon makes it at its start, or `hostguard ca trust`")


@command.command("rotate")
@click.option("--now", "at_once", is_flag=True, help="It signs at once, the others are trusted no more: their keys are not safe.")
@config_option
def rotate(config: Path, at_once: bool) -> None:
    """Make another authority, and have the system trust it.

    Both are in the bundles from now on. The new one signs after tls.overlap_hours, so that programs which run for long have time
    to read the bundle again; the old one leaves when the last certificate that it signed has ended. A running daemon notices by
    itself.
    """
    document = configured(config)
    store, names = opened(document)
    made = _try(lambda: store.rotate(names, _now(), at_once=at_once))
    when = "from now on" if at_once else f"from {_said(made.made_at + store.terms.overlap)} on"
    out.print(f"authority {made.number} signs {when}; it ends {_said(made.ends_at)}")
    show_steps(trusted(store))


@command.command("export")
@click.option("--bundle", is_flag=True, help="With the system's roots: what agents are told to trust.")
@config_option
def export(config: Path, bundle: bool) -> None:
    """Print the authorities' certificates as PEM; for stores that hostguard can't reach, such as those of containers."""
    document = configured(config)
    if bundle:
        place = Paths.of(document).bundle
        try:
            sys.stdout.write(place.read_text(encoding="ascii", errors="replace"))
        except OSError as error:
            raise Failure(f"{place}: {error.strerror}; the daemon makes it") from None
        return
    store, _ = opened(document)
    sys.stdout.write("".join(held.pem.decode("ascii") for held in _all(store)))


@command.command("trust")
@config_option
def trust_command(config: Path) -> None:
    """Have the system's trust store hold exactly the authorities that there are, making the first one if need be.

    The unit runs it before each start; without systemd it is run by hand, after each change of the resources' names.
    """
    show_steps(ensured(configured(config)))


def ensured(document: Document, *, dry_run: bool = False) -> list[Step]:
    """Make an authority if none can vouch for all resources, then have the system trust what there is. Raises Failure."""
    store, names = opened(document)
    if not dry_run:
        _try(store.make_folder)
        _try(lambda: store.ensure(names, _now()))
    return trusted(store, dry_run=dry_run)


def trusted(store: Store, *, dry_run: bool = False) -> list[Step]:
    """Bring the system's store in line with ours. Raises Failure."""
    return trust(Path("/"), {held.number: held.pem for held in _all(store)}, dry_run=dry_run)


def opened(document: Document) -> tuple[Store, Names]:
    """The authorities of a configuration, and the names that they have to vouch for."""
    tls = document.tls
    terms = Terms(tls.ca_days, tls.leaf_hours, tls.overlap_hours)
    names = names_of_all(document)
    return Store(Paths.of(document).authority(document), terms, socket.gethostname()), names


def _facts(held: Held, store: Store, names: Names) -> dict[str, Any]:
    signing = store.signing(names, _now())
    if signing is not None and signing.number == held.number:
        state = "signs"
    elif held.key is None:
        state = "leaves"
    else:
        state = f"signs from {_said(held.made_at + store.terms.overlap)}"
    own = permitted(held.certificate)
    return {
        "number": held.number,
        "state": state,
        "made_at": _said(held.made_at),
        "ends_at": _said(held.ends_at),
        "sha256": held.certificate.fingerprint(hashes.SHA256()).hex(),
        "names": [*own.dns, *own.ips],
        "in_system": not not_in_system([held.pem]),
    }


def _all(store: Store) -> list[Held]:
    return _try(store.authorities)


def _try(call: Callable[[], Result]) -> Result:
    try:
        return call()
    except BadStore as error:
        raise Failure(str(error)) from None


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def _said(when: datetime.datetime) -> str:
    return when.strftime("%Y-%m-%d %H:%M UTC")
