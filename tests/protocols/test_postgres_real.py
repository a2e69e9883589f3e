"""A refusal by poison against a refusal by the server itself, on real servers: nothing but the words may differ.

Each script runs twice. Direct: as a role from which the table ``secret`` was revoked. Through a conversation: as a role that may
do everything, with an owner that denies what names ``secret``. Errors, rows, tags, transaction states and what is in the table
afterwards must be the same.
"""

from __future__ import annotations

import socket
import struct
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
import servers
import wire
from relay import ALLOW, Relay, allow_all

from hostguard.protocols.disclosure import Mask, ReplyPlan
from hostguard.protocols.events import Decision, Operation, OperationKind, Probed, Verdict

SCRIPT = """
CREATE TABLE t (x int PRIMARY KEY);
CREATE TABLE secret (x int);
CREATE TABLE customers (id int, email text, card text);
INSERT INTO customers SELECT i, 'user' || i || '@example.com', '411111111111' || (1000 + i) FROM generate_series(1, 100) i;
DO $$ BEGIN CREATE ROLE full_role LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;
DO $$ BEGIN CREATE ROLE poor_role LOGIN; EXCEPTION WHEN duplicate_object THEN END $$;
GRANT ALL ON ALL TABLES IN SCHEMA public TO full_role, poor_role;
REVOKE ALL ON secret FROM poor_role;
"""
DENIED = Decision(Verdict.DENY, "policy says no", "ask alice")


@pytest.fixture(scope="module", params=["postgres18", "postgres15"])
def postgres(request: pytest.FixtureRequest) -> Iterator[servers.Server]:
    running: servers.Server = request.getfixturevalue(request.param)
    with running.database("conversation", SCRIPT):
        yield running


def deny_secret(operation: Operation) -> Decision:
    return DENIED if operation.text is None or "secret" in operation.text else ALLOW


def deny_secret_when_run(operation: Operation) -> Decision:
    return ALLOW if operation.kind is OperationKind.PREPARE else deny_secret(operation)


class Raw:
    """A client that speaks in messages."""

    def __init__(self, address: tuple[str, int], user: str) -> None:
        self.socket = socket.create_connection(address, timeout=30)
        self._late = b""
        self.socket.sendall(wire.packet(0x30000, f"user\0{user}\0database\0conversation\0\0".encode()))
        self.replies(1)

    def replies(self, ends: int) -> list[bytes]:
        """Messages up to the `ends`-th ReadyForQuery, or to the end of the connection."""
        found: list[bytes] = []
        while ends:
            while len(self._late) < 5 or len(self._late) < 1 + struct.unpack(">I", self._late[1:5])[0]:
                data = self.socket.recv(65536)
                if not data:
                    return found
                self._late += data
            size = 1 + struct.unpack(">I", self._late[1:5])[0]
            found.append(self._late[:size])
            self._late = self._late[size:]
            ends -= found[-1][:1] == b"Z"
        return found


@contextmanager
def raw(address: tuple[str, int], user: str) -> Iterator[Raw]:
    client = Raw(address, user)
    try:
        yield client
    finally:
        client.socket.close()


def essence(message: bytes) -> bytes | None:
    """What must be the same: of an error its severity and code. None for what tells only how far preparing came."""
    if message[:1] in b"12nTtN":
        return None
    if message[:1] == b"E":
        fields = {field[:1]: field[1:] for field in message[5:].split(b"\0") if field}
        return b"error " + fields[b"V"] + b" " + fields[b"C"]
    return message


def run(text: str) -> bytes:
    """One statement in the extended protocol, without Sync."""
    return wire.parse(text) + wire.bind() + wire.describe() + wire.execute()


SECRET = "SELECT * FROM secret"
Q = wire.query

SCRIPTS: dict[str, list[tuple[bytes, int]]] = {
    "alone": [(Q(SECRET), 1)],
    "between others": [(Q("INSERT INTO t VALUES (1)"), 1), (Q(SECRET), 1), (Q("INSERT INTO t VALUES (2)"), 1)],
    "in a transaction whose COMMIT becomes ROLLBACK": [
        (Q("BEGIN"), 1), (Q("INSERT INTO t VALUES (1)"), 1), (Q(SECRET), 1), (Q("SELECT 1"), 1), (Q("COMMIT"), 1),
    ],
    "the same in one segment": [
        (Q("BEGIN") + Q("INSERT INTO t VALUES (1)") + Q(SECRET) + Q("SELECT 1") + Q(SECRET) + Q("COMMIT"), 6),
    ],
    "after a savepoint": [
        (Q("BEGIN; INSERT INTO t VALUES (1); SAVEPOINT a"), 1), (Q(SECRET), 1), (Q("ROLLBACK TO a"), 1),
        (Q("INSERT INTO t VALUES (2)"), 1), (Q("COMMIT"), 1),
    ],
    "extended, alone": [(run(SECRET) + wire.SYNC, 1)],
    "extended, in a pipeline": [
        (run("INSERT INTO t VALUES (1)") + run(SECRET) + run("INSERT INTO t VALUES (2)") + wire.SYNC, 1),
        (run("INSERT INTO t VALUES (3)") + wire.SYNC, 1),
    ],
    "extended, sections in one segment": [
        (run("INSERT INTO t VALUES (1)") + wire.SYNC + run(SECRET) + wire.SYNC + run("INSERT INTO t VALUES (2)") + wire.SYNC, 3),
    ],
    "extended, in a transaction over sections": [
        (run("BEGIN") + wire.SYNC + run("INSERT INTO t VALUES (1)") + wire.SYNC + run(SECRET) + wire.SYNC + run("SELECT 1")
         + wire.SYNC + run("COMMIT") + wire.SYNC, 5),
    ],
    "a query among the skipped": [
        (run(SECRET) + Q("INSERT INTO t VALUES (1)") + wire.function_call(89) + wire.SYNC + Q("INSERT INTO t VALUES (2)"), 2),
    ],
    "COPY in": [(Q("COPY secret FROM STDIN") + wire.copy_data(b"1\n") + wire.COPY_DONE + Q("SELECT 1"), 2)],
    "extended COPY in": [(run("COPY secret FROM STDIN") + wire.SYNC, 1), (Q("SELECT 1"), 1)],
    "COPY out": [(Q("COPY secret TO STDOUT"), 1), (Q("SELECT 1"), 1)],
}  # fmt: skip


def outcome(postgres: servers.Server, address: tuple[str, int], user: str, name: str) -> list[object]:
    with postgres.connect("conversation") as connection:
        connection.execute("TRUNCATE t")
    said: list[object] = []
    with raw(address, user) as client:
        for data, ends in SCRIPTS[name]:
            client.socket.sendall(data)
            said += [kept for message in client.replies(ends) if (kept := essence(message)) is not None]
    with postgres.connect("conversation") as connection:
        said.append(connection.execute("SELECT x FROM t ORDER BY x").fetchall())
    return said


@pytest.mark.parametrize("read_bytes", [1, 65536], ids=["byte by byte", "as it comes"])
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_poisoned_statement_is_to_the_client_what_a_revoked_one_is(
    postgres: servers.Server, name: str, read_bytes: int
) -> None:
    direct = outcome(postgres, (postgres.host, postgres.port), "poor_role", name)
    with Relay((postgres.host, postgres.port), deny_secret, read_bytes) as relay:
        guarded = outcome(postgres, relay.address, "full_role", name)
    assert guarded == direct


@pytest.mark.parametrize("name", [name for name in SCRIPTS if "extended" in name])
def test_the_same_when_the_refusal_comes_at_execute(postgres: servers.Server, name: str) -> None:
    direct = outcome(postgres, (postgres.host, postgres.port), "poor_role", name)
    with Relay((postgres.host, postgres.port), deny_secret_when_run) as relay:
        guarded = outcome(postgres, relay.address, "full_role", name)
    assert guarded == direct


@pytest.mark.parametrize("name", SCRIPTS)
def test_allowed_statements_pass_byte_for_byte(postgres: servers.Server, name: str) -> None:
    def everything(address: tuple[str, int]) -> list[bytes]:
        with postgres.connect("conversation") as connection:
            connection.execute("TRUNCATE t; TRUNCATE secret")
        with raw(address, "full_role") as client:
            if "COPY in" in name and "extended" in name:
                client.socket.sendall(
                    run("COPY secret FROM STDIN") + wire.SYNC + wire.copy_data(b"1\n") + wire.COPY_DONE + wire.SYNC
                )
                return client.replies(1)
            said = []
            for data, ends in SCRIPTS[name]:
                client.socket.sendall(data)
                said += client.replies(ends)
            return said

    direct = everything((postgres.host, postgres.port))
    with Relay((postgres.host, postgres.port)) as relay:
        assert everything(relay.address) == direct


def test_the_refusal_is_told_in_our_words_and_the_server_never_sees_the_text(postgres: servers.Server) -> None:
    with Relay((postgres.host, postgres.port), deny_secret) as relay, raw(relay.address, "full_role") as client:
        client.socket.sendall(wire.query("SELECT 'canary' FROM secret"))
        refused = client.replies(1)[0]
    assert refused == wire.message(b"E", b"SERROR\0VERROR\0C42501\0Mpolicy says no\0Hask alice\0\0")
    assert "canary" not in postgres.log()
    assert "hostguard: a refused statement stood here" in postgres.log()


def test_a_text_of_several_statements_is_refused_as_a_whole(postgres: servers.Server) -> None:
    # The server itself would run the first and roll it back; here the text never gets there. What stays is the same: nothing.
    with Relay((postgres.host, postgres.port), deny_secret) as relay, raw(relay.address, "full_role") as client:
        client.socket.sendall(wire.query(f"INSERT INTO t VALUES (1); {SECRET}"))
        assert [essence(message) for message in client.replies(1)] == [b"error ERROR 42501", wire.ready()]
    with postgres.connect("conversation") as connection:
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (0,)


def test_a_refused_function_call_is_an_error_like_any(postgres: servers.Server) -> None:
    with Relay((postgres.host, postgres.port), deny_secret) as relay, raw(relay.address, "full_role") as client:
        client.socket.sendall(wire.function_call(1598))
        assert [essence(message) for message in client.replies(1)] == [b"error ERROR 42501", wire.ready()]


def test_a_poisoned_execute_in_an_aborted_transaction_changes_nothing(postgres: servers.Server) -> None:
    with Relay((postgres.host, postgres.port), deny_secret_when_run) as relay, raw(relay.address, "full_role") as client:
        client.socket.sendall(wire.parse(SECRET, "s") + wire.SYNC + wire.query("BEGIN") + wire.query("SELECT 1/0"))
        client.replies(3)
        client.socket.sendall(wire.bind("s") + wire.execute() + wire.SYNC + wire.query("COMMIT"))
        assert [essence(message) for message in client.replies(2)] == [
            b"error ERROR 25P02", wire.ready("E"), wire.complete("ROLLBACK"), wire.ready(),
        ]  # fmt: skip


def test_long_names_alias_on_the_server_as_the_table_of_names_assumes(postgres: servers.Server) -> None:
    asked: list[str | None] = []

    def note(operation: Operation) -> Decision:
        if operation.kind is OperationKind.EXECUTE:
            asked.append(operation.text)
        return ALLOW

    long = "n" * 63
    with Relay((postgres.host, postgres.port), note) as relay, raw(relay.address, "full_role") as client:
        client.socket.sendall(wire.parse("SELECT 'old'", long + "a") + wire.SYNC)
        client.socket.sendall(wire.close(long + "b", b"S") + wire.parse("SELECT 'new'", long + "c") + wire.SYNC)
        client.socket.sendall(wire.bind(long + "a") + wire.execute() + wire.SYNC)
        assert wire.data_row(b"new") in client.replies(3)
    assert asked == ["SELECT 'new'"]


def test_probes_stay_unseen_and_keep_the_unnamed_statement(postgres: servers.Server) -> None:
    with Relay((postgres.host, postgres.port)) as relay, raw(relay.address, "full_role") as client:
        relay.probe_on_ask = ("again", "SELECT 1/0")
        client.socket.sendall(wire.parse("SELECT 'kept'") + wire.SYNC)
        client.replies(1)
        client.socket.sendall(wire.bind() + wire.execute() + wire.SYNC)
        said = client.replies(1)
        assert said == [wire.BIND_COMPLETE, wire.data_row(b"kept"), wire.complete("SELECT 1"), wire.ready()]
        client.socket.sendall(wire.query("SELECT count(*) FROM pg_prepared_statements"))
        assert wire.data_row(b"0") in client.replies(1)
    probes = [effect for effect in relay.effects if isinstance(effect, Probed)]
    assert probes[0] == Probed("path", [(b"{pg_catalog,public}",)])
    assert probes[1].error.startswith("22012")


HIDDEN = ("email", "card")


def mask_plan(postgres: servers.Server) -> ReplyPlan:
    with postgres.connect("conversation") as connection:
        rows = connection.execute(
            "SELECT attrelid, attnum, attname FROM pg_attribute WHERE attrelid = 'customers'::regclass AND attnum > 0"
        ).fetchall()
    masks = {(table, number): Mask("partial", keep=4) for table, number, name in rows if name in HIDDEN}
    clean = frozenset((table, number) for table, number, name in rows if name not in HIDDEN)
    return ReplyPlan(masks=masks, clean_columns=clean, computed=Mask("null"), scrub_errors=True)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("prepare", [False, True])
def test_psycopg_gets_masked_rows_in_both_formats(postgres: servers.Server, binary: bool, prepare: bool) -> None:
    decision = Decision(Verdict.ALLOW, plan=mask_plan(postgres))
    with (
        Relay((postgres.host, postgres.port), lambda _operation: decision) as relay,
        psycopg.connect(host=relay.address[0], port=relay.address[1], dbname="conversation", user="full_role") as connection,
        connection.cursor(binary=binary) as cursor,
    ):
        for _ in range(3):
            cursor.execute(
                "SELECT id, email AS e, card, reverse(email), customers FROM customers WHERE id < %s ORDER BY id",
                (3,),
                prepare=prepare,
            )
            assert cursor.fetchall() == [
                (1, "u****@example.com", "************1001", None, None),
                (2, "u****@example.com", "************1002", None, None),
            ]


def test_errors_of_masked_statements_carry_no_values(postgres: servers.Server) -> None:
    decision = Decision(Verdict.ALLOW, plan=mask_plan(postgres))
    with Relay((postgres.host, postgres.port), lambda _operation: decision) as relay, raw(relay.address, "full_role") as client:
        client.socket.sendall(wire.query("SELECT email::int FROM customers"))
        said = b"".join(client.replies(1))
    assert b"22P02" in said
    assert b"user" not in said


def test_pgbench_and_psql_run_as_ever(postgres: servers.Server) -> None:
    with Relay((postgres.host, postgres.port), allow_all) as relay:
        environment = {
            "PGHOST": relay.address[0], "PGPORT": str(relay.address[1]), "PGUSER": "postgres", "PGDATABASE": "conversation",
        }  # fmt: skip
        for command in (
            ["pgbench", "-i", "-q", "-s", "1"],
            ["pgbench", "-n", "-S", "-M", "simple", "-t", "50", "-c", "2"],
            ["pgbench", "-n", "-M", "extended", "-t", "50"],
            ["pgbench", "-n", "-M", "prepared", "-t", "50", "-c", "2"],
            ["psql", "-c", "\\copy customers to /dev/null", "-c", "\\d customers"],
        ):
            finished = subprocess.run(
                [postgres.bin / command[0], *command[1:]],
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            assert finished.returncode == 0, finished.stderr


def test_a_cancel_reaches_the_query_it_is_for(postgres: servers.Server) -> None:
    with (
        Relay((postgres.host, postgres.port)) as relay,
        postgres.connect("conversation") as watcher,
        psycopg.connect(host=relay.address[0], port=relay.address[1], dbname="conversation", user="full_role") as connection,
        ThreadPoolExecutor(1) as pool,
    ):
        sleeping = pool.submit(connection.execute, "SELECT pg_sleep(30)")
        # The server itself says when the query runs: a cancel that came before would hit nothing.
        while not watcher.execute(
            "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(30)' AND wait_event = 'PgSleep'"
        ).fetchone():
            watcher.execute("SELECT pg_sleep(0.01)")
        connection.cancel_safe(timeout=10)
        with pytest.raises(psycopg.errors.QueryCanceled):
            sleeping.result(20)


def test_scram_passes_through(postgres: servers.Server) -> None:
    rules = postgres.folder / "data" / "pg_hba.conf"
    before = rules.read_text()
    try:
        with postgres.connect() as connection:
            connection.execute("DROP ROLE IF EXISTS scrammer")
            connection.execute("SET password_encryption = 'scram-sha-256'; CREATE ROLE scrammer LOGIN PASSWORD 'secret'")
            rules.write_text("host all scrammer 127.0.0.1/32 scram-sha-256\n" + before)
            connection.execute("SELECT pg_reload_conf()")
        with Relay((postgres.host, postgres.port)) as relay:
            place = f"host={relay.address[0]} port={relay.address[1]} dbname=conversation user=scrammer"
            with psycopg.connect(place, password="secret") as connection:
                assert connection.execute("SELECT current_user").fetchone() == ("scrammer",)
            with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
                psycopg.connect(place, password="wrong")
    finally:
        rules.write_text(before)
        with postgres.connect() as connection:
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("DROP ROLE IF EXISTS scrammer")
