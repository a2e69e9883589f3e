"""Roles that log in to a running server by each method, for as long as a context lives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import servers
from certificates import Certificate

SECRET = "correct horse battery staple"
ROLES = {"scrammer": "scram-sha-256", "digester": "md5", "plain": "password", "trusted": "trust", "barred": "reject"}
"""Role to the method by which it must log in."""


@contextmanager
def roles(server: servers.Server) -> Iterator[None]:
    """`ROLES` with the password `SECRET`, and a database ``anyone``."""
    rules = server.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    try:
        with server.connect() as connection:
            for role, method in ROLES.items():
                encryption = "md5" if method == "md5" else "scram-sha-256"
                connection.execute(
                    f"SET password_encryption = '{encryption}'; CREATE ROLE {role} LOGIN PASSWORD '{SECRET}'".encode()
                )
            connection.execute("CREATE DATABASE anyone")
        rules.write_text("".join(f"host all {role} 127.0.0.1/32 {method}\n" for role, method in ROLES.items()) + before)
        reload(server)
        yield
    finally:
        rules.write_text(before)
        reload(server)
        with server.connect() as connection:
            connection.execute("DROP DATABASE anyone WITH (FORCE)")
            for role in ROLES:
                connection.execute(psycopg.sql.SQL("DROP ROLE {}").format(psycopg.sql.Identifier(role)))


def reload(server: servers.Server) -> None:
    """Have the server read its configuration again: the answer to a new connection's first statement is by it."""
    with server.connect(sslmode="disable") as connection:
        connection.execute("SELECT pg_reload_conf()")


def show(server: servers.Server, certificate: Certificate) -> None:
    """Have the server speak TLS with this certificate, from some moment soon."""
    servers.show(server.folder / "data", certificate)
    with server.connect(sslmode="disable") as connection:
        connection.execute("ALTER SYSTEM SET ssl = on")
    reload(server)
