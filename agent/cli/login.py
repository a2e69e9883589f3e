"""``hostguard login``: be a user of hostguard by what an identity provider says, not by the UNIX user alone."""

from __future__ import annotations

import hashlib
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import click

from .. import session_file
from ..client import Client, Refused
from ..failures import Failure
from .options import config_option, json_option, places
from .output import clock, err, out, print_json


@click.command("login")
@click.argument("provider", default="")
@config_option
def command(config: Path, provider: str) -> None:
    """Sign in at PROVIDER, an identity provider of the configuration; its name may be left out where there is one.

    You get a URL and a code for a browser, on this machine or another. What you then do on this command line is done as the user
    whom the provider vouches for, until the sign-in is over; only processes of your UNIX user can use it.
    """
    control = places(config).control
    client = Client(control, signed_in=False)
    begun = client.post("/v1/sign-in", {"provider": provider}, timeout_s=40.0)
    err.print("Open this in a browser, and see that it shows the same code:")
    err.print(f"  {begun['direct'] or begun['place']}", markup=False, highlight=False)
    err.print(f"  code {begun['code']}", markup=False, highlight=False)
    secret = secrets.token_urlsafe(32)
    session = _wait(client, begun, hashlib.sha256(secret.encode()).hexdigest())
    kept = session_file.Kept(secret, session["user"], session["provider"], session["until"])
    try:
        session_file.keep(control, kept)
    except OSError as error:
        raise Failure(f"the sign-in can't be kept in {session_file.place(control)}: {error.strerror}") from None
    out.print(f"You are {session['user']} until {clock(session['until'])}.", highlight=False)


def _wait(client: Client, begun: dict[str, Any], key: str) -> dict[str, Any]:
    """Until the user has said yes there. Raises Refused, Failure."""
    while time.time() < begun["until"]:
        time.sleep(max(0.2, min(begun["interval_s"], 60.0)))
        session = client.post(f"/v1/sign-in/{begun['handle']}", {"key": key}, timeout_s=40.0)["session"]
        if session is not None:
            found: dict[str, Any] = session
            return found
    raise Failure("nobody signed in in time")


@click.command("logout")
@config_option
def logout(config: Path) -> None:
    """End the sign-in: you are your UNIX user again."""
    control = places(config).control
    kept = session_file.kept(control)
    if kept is not None:
        try:
            Client(control).post("/v1/sign-out")
        except Refused:
            pass  # it is over there already
        finally:
            session_file.forget(control)
    out.print(f"You are not {kept.user} any more." if kept else "You were not signed in.", highlight=False)


@click.command("whoami")
@json_option
@config_option
def whoami(config: Path, as_json: bool) -> None:
    """Show which user you are to hostguard, and by what. Exit code 1 when you are none."""
    facts = Client(places(config).control).get("/v1/who")
    if as_json:
        print_json(facts)
    elif facts["provider"]:
        out.print(f"{facts['user']}, signed in at {facts['provider']} until {clock(facts['until'])}", highlight=False)
    else:
        out.print(f"{facts['user'] or 'no user'}, as UNIX user {facts['unix']}", highlight=False)
    sys.exit(0 if facts["user"] else 1)
