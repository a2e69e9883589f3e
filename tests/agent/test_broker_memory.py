"""What a login works out from a secret is the broker's alone as well: its supervisor, that passes all on, has none of it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import subprocess
import sys
from pathlib import Path

import memory
from servers import Server

PASSWORD = "-".join(("in", "the", "brokers", "memory", "51ee"))
USER = "app_memory"
SUPERVISOR = """
import asyncio, sys
from pathlib import Path
import brokering
from servers import Server
folder, version, binaries, host, port = sys.argv[1:]
server = Server(int(version), Path(binaries), host, int(port), Path(folder))
toml = brokering.SHOP + f'credential = "c"\\n[credentials.c]\\nuser = "app_memory"\\nsecret = "file:{folder}/secrets/shop"\\n'

async def play():
    async with brokering.broker(Path(folder), toml) as keeper:
        print(await brokering.log_in(keeper, server, "c", "app_memory"), keeper.pid, flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(play())
"""


def test_what_is_derived_from_a_secret_is_the_brokers_alone(tmp_path: Path, postgres15: Server) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "shop").write_text(PASSWORD)
    with postgres15.connect() as connection:
        connection.execute(f"DROP ROLE IF EXISTS {USER}")
        connection.execute(f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'")
        row = connection.execute(f"SELECT rolpassword FROM pg_authid WHERE rolname = '{USER}'").fetchone()
    assert row is not None
    hba = postgres15.folder / "data" / "pg_hba.conf"
    before = hba.read_text()
    hba.write_text(f"host all {USER} all scram-sha-256\n{before}")
    server: list[str | Path] = [str(postgres15.version), postgres15.bin, postgres15.host, str(postgres15.port)]
    command: list[str | Path] = [sys.executable, "-c", SUPERVISOR, tmp_path, *server]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
    try:
        with postgres15.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as supervisor:
            assert supervisor.stdout is not None
            said, broker = supervisor.stdout.readline().split()
            assert said == "ok"
            wanted = {"password": PASSWORD.encode(), **derived(row[0])}
            assert {"password", "salted password"} <= memory.found_in(int(broker), wanted), "or the search would find nothing"
            assert memory.found_in(supervisor.pid, wanted) == set()
            supervisor.communicate("")
    finally:
        hba.write_text(before)
        with postgres15.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
            connection.execute(f"DROP ROLE {USER}")


def derived(verifier: str) -> dict[str, bytes]:
    """What SCRAM works out (RFC 5802 §3), for ``SCRAM-SHA-256$<iterations>:<salt>$…`` of pg_authid."""
    iterations, salt = verifier.split("$")[1].split(":")
    salted = hashlib.pbkdf2_hmac("sha256", PASSWORD.encode(), base64.b64decode(salt), int(iterations))
    key = hmac.digest(salted, b"Client Key", "sha256")
    return {"salted password": salted, "client key": key}
