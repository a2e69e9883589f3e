"""``hostguard ship``: the sealed log to an S3 bucket."""

from __future__ import annotations

import datetime
import socket
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import click

from ..failures import Failure
from ..paths import Paths
from ..s3 import S3
from ..shipping import Ledger, Shipped, Shipper
from .options import config_option, configured
from .output import err, fail


@click.command("ship")
@click.option("--once", is_flag=True, help="One pass, then end; exit code 1 when it fails.")
@config_option
def command(config: Path, once: bool) -> None:
    """Copy entries, payloads and checkpoints to the bucket of [ship], every `every_s` seconds until stopped.

    Only what is under a signed checkpoint goes out, each piece is verified on arrival, and a pass goes on where the last one
    ended. Nothing local is deleted; the daemon's retention removes only what has arrived. Runs beside the daemon.
    """
    document = configured(config)
    section, paths = document.ship, Paths.of(document)
    if not section.bucket:
        raise click.UsageError(f"{document.file} has no ship.bucket")
    store = S3(section, socket.gethostname(), lambda: datetime.datetime.now(datetime.UTC))
    try:
        with closing(Ledger(paths.ledger)) as ledger:
            ledger.begin(store.place)
            shipper = Shipper(paths.log, paths.log_verifier(), store, ledger, tiles=section.tiles)
            while True:
                try:
                    _print(shipper.run())
                    ledger.try_ended(time.time())
                except Failure as error:
                    ledger.try_ended(time.time(), str(error))
                    if once:
                        raise
                    # The bucket will be there again; until then the log waits here.
                    fail(str(error))
                if once:
                    return
                time.sleep(section.every_s)
    except sqlite3.Error as error:
        raise Failure(f"the ledger {paths.ledger}: {error}; it may be deleted") from None


def _print(done: Shipped) -> None:
    sent = f"{done.objects} objects sent, {done.bytes} bytes"
    if done.missed:
        fail(f"{done.missed} entries were removed from this host before they were shipped: the bucket does not have them")
    err.print(f"{sent}; the bucket has all entries before {done.size}", markup=False)
