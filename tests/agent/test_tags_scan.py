"""``hostguard tags scan``: what it proposes of a real database, and that no value gets out."""

from __future__ import annotations

import json
import os
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import servers
from documents import SMALL, write
from guard import HOSTGUARD
from psycopg.conninfo import conninfo_to_dict

from hostguard.agent.failures import Failure
from hostguard.agent.scan import connection_string
from hostguard.policy.discover import Column, proposals, snake
from hostguard.policy.document import load

SCRIPT = """
CREATE TABLE customers
  (id int, "customerEmail" text, contact text, note text, dob date, email_verified boolean, x text, plain text);
COMMENT ON COLUMN customers.x IS 'Social security number';
INSERT INTO customers SELECT i, 'secret' || i || '@example.com', '+4420794600' || (10 + i),
  CASE WHEN i = 3 THEN 'call alice3@example.com' ELSE 'nothing' END, '1990-01-01', true, 'x', 'plain ' || i
  FROM generate_series(1, 20) i;
CREATE TABLE empty_one (iban text);
CREATE TABLE ledger (id int, what text);
CREATE FUNCTION copies() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN INSERT INTO ledger (what) VALUES (NEW.dob); RETURN NULL; END $$;
CREATE TRIGGER copies AFTER INSERT ON customers FOR EACH ROW EXECUTE FUNCTION copies();
CREATE FUNCTION hides() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'TABLE customers'; RETURN NULL; END $$;
CREATE TRIGGER hides AFTER INSERT ON empty_one FOR EACH ROW EXECUTE FUNCTION hides();
"""


@pytest.fixture
def database(postgres18: servers.Server) -> Iterator[servers.Server]:
    with postgres18.database("scanned", SCRIPT):
        yield postgres18


def scan(folder: Path, server: servers.Server, *more: str, dsn: str | None = None) -> subprocess.CompletedProcess[str]:
    text = SMALL + '[tags."pii.birth"]\ncolumns = ["shop/scanned/public/customers/dob"]\n'
    environment = {
        **os.environ,
        "HOSTGUARD_SCAN_DSN": dsn or f"host={server.host} port={server.port} dbname=scanned user=postgres",
    }
    command = [HOSTGUARD, "tags", "scan", "--config", str(write(folder, text)), *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_names_comments_and_values_speak_for_tags(database: servers.Server, tmp_path: Path) -> None:
    done = scan(tmp_path, database, "shop", "--json")
    assert done.returncode == 0, done.stderr
    found = {
        (each["tag"], each["column"].removeprefix("shop/scanned/public/")): each for each in json.loads(done.stdout)["proposals"]
    }
    assert set(found) == {
        ("pii.email", "customers/customerEmail"),
        ("pii.phone", "customers/contact"),
        ("pii.national_id", "customers/x"),
        ("pii.email", "customers/note"),
        ("pii.iban", "empty_one/iban"),
    }
    assert found["pii.email", "customers/customerEmail"]["reasons"] == ["its name", "20 of 20 values"]
    assert found["pii.email", "customers/note"]["within"]
    told = json.loads(done.stdout)
    assert told["filled"] == {"shop/scanned/public/ledger/what": ["shop/scanned/public/customers/dob"]}
    assert told["unfollowed"] == ["shop/scanned/public/empty_one: trigger function public.hides"]


def test_what_is_proposed_is_configuration_without_any_value(database: servers.Server, tmp_path: Path) -> None:
    done = scan(tmp_path, database, "shop")
    assert done.returncode == 0, done.stderr
    assert "@example.com" not in done.stdout
    assert "# hidden as well, as it is filled from shop/scanned/public/customers/dob: shop/scanned/public/ledger/" in done.stdout
    assert "79460" not in done.stdout
    tags = tomllib.loads(done.stdout)["tags"]
    assert tags["pii.email"]["detect"] == ["email"]
    assert load(write(tmp_path, SMALL + done.stdout)).tags["pii.phone"].columns == ("shop/scanned/public/customers/contact",)


def test_without_rows_only_names_speak(database: servers.Server, tmp_path: Path) -> None:
    assert "contact" not in scan(tmp_path, database, "shop", "--rows", "0").stdout


@pytest.mark.parametrize(("arguments", "dsn", "said"), [
    (["shopp"], None, "the configuration has no resource shopp"),
    (["shop", "--dsn-file", "/nowhere/dsn"], None, "/nowhere/dsn: No such file or directory"),
    (["shop", "--dsn-env", "NOT_SET_ANYWHERE"], None, "no connection string"),
    (["shop"], "host=127.0.0.1 port=1 dbname=x user=x", "the database can't be read"),
])  # fmt: skip
def test_what_goes_wrong_is_said(
    database: servers.Server, tmp_path: Path, arguments: list[str], dsn: str | None, said: str
) -> None:
    done = scan(tmp_path, database, *arguments, dsn=dsn)
    assert (done.returncode, said in done.stderr) == (1, True)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:5432", {"host": "127.0.0.1", "port": "5432"}),
        ("[::1]:5433", {"host": "::1", "port": "5433"}),
        ("unix:/run/pg/.s.PGSQL.5432", {"host": "/run/pg", "port": "5432"}),
    ],
)
def test_a_resources_address_is_said_in_libpqs_words(address: str, expected: dict[str, str]) -> None:
    said = conninfo_to_dict(connection_string(address, "it's \\ odd", "word"))
    assert said == {**expected, "dbname": "it's \\ odd", "user": "hostguard", "password": "word"}


def test_a_socket_that_libpq_would_not_find_is_said() -> None:
    with pytest.raises(Failure, match="libpq"):
        connection_string("unix:/run/odd", "shop")


def test_values_of_a_resource_whose_replies_are_kept_are_not_read(tmp_path: Path) -> None:
    config = write(tmp_path, SMALL + "capture_replies = true\n")
    command = [HOSTGUARD, "tags", "scan", "--config", str(config), "--workload", "bot", "shop"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "scan with --rows 0" in done.stderr) == (1, True)


def test_a_word_within_another_does_not_count() -> None:
    columns = [
        Column("s", "t", name, "text") for name in ("company", "span", "zipped", "shipping", "pinned", "mailbox", "expand")
    ]
    assert proposals("r", "d", columns, (), ()) == []
    assert snake("customerEmail") == "customer_email"
