"""Reply capture against a real server: on record is what the agent saw, masked, encrypted to the auditor, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import guard
import pyrage
import pytest
import zstandard
from servers import Server

from hostguard.recorder.payloads import payload_paths

EMAIL = "amelie.capture@example.com"
NOTE = "unmasked-note-4711"
SECRET_WORDS = "seldom-heard-needle"
POLICY = """
@id("workers read and write")
permit (principal in Role::"worker", action, resource);
@id("nobody sees e-mails")
forbid (principal in Role::"worker", action == Action::"reveal", resource in Tag::"pii.email");
"""
TAGS = """
[tags."pii.email"]
columns = ["pg/capture/public/people/email"]
mask = { kind = "partial" }
"""
AGENT = f"""
import asyncio, asyncpg, psycopg
with psycopg.connect(autocommit=True) as connection:
    print(connection.execute("SELECT id, email, note FROM people WHERE note <> '{SECRET_WORDS}' ORDER BY id").fetchall())
    print(connection.execute("SELECT email FROM people WHERE id = %s", (1,)).fetchall())
    print(connection.execute("SELECT g, repeat('x', 1000) FROM generate_series(1, 3000) g").fetchall()[-1][0])
    print(len(connection.execute("SELECT repeat('y', 3000000)").fetchone()[0]))
async def main():
    connection = await asyncpg.connect()
    print([tuple(row) for row in await connection.fetch("SELECT id, email, note FROM people WHERE id = $1", 2)])
    await connection.close()
asyncio.run(main())
"""


@dataclass(frozen=True)
class Captured(guard.Setup):
    """A setup whose resource asks for reply capture, and whose log is encrypted to one auditor."""

    recipient: str = ""

    def files(self, place: guard.Place) -> Mapping[str, str]:
        files = dict(super().files(place))
        log = f'[log]\npayload_recipients = ["{self.recipient}"]\npayload_above_bytes = 0\n'
        text = files["hostguard.toml"].replace("[log]\n", log)
        files["hostguard.toml"] = text.replace("[resources.pg]\n", "[resources.pg]\ncapture_replies = true\n")
        return files


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("auditor") / "key.txt"
    subprocess.run(["age-keygen", "-o", path], check=True, capture_output=True)
    return path


@pytest.fixture(scope="module")
def said(postgres18: Server, identity: Path) -> Iterator[tuple[guard.Guard, str]]:
    """A guard that was stopped in order after its agent's work, and what the agent saw."""
    recipient = subprocess.run(["age-keygen", "-y", identity], check=True, capture_output=True, text=True).stdout.strip()
    script = (
        "CREATE TABLE people (id int, email text, note text);"
        f"INSERT INTO people VALUES (1, '{EMAIL}', '{NOTE}'), (2, 'bob.capture@example.org', NULL)"
    )
    setup = Captured(
        agents={"one": guard.Agent(("worker",))},
        resources={"pg": f"{postgres18.host}:{postgres18.port}"},
        policies=POLICY,
        tags=TAGS,
        recipient=recipient,
    )
    with postgres18.database("capture", script), guard.guarding(setup) as running:
        status = running.ask("status")
        assert status["log"]["payload_recipients"] == 1
        assert "payloads encrypted to 1 key" in running.cli("status").stdout
        done = running.run("one", [sys.executable, "-"], postgres18.environment("capture"), AGENT)
        assert done.returncode == 0, done.stderr
        assert running.stop() == 0
        yield running, done.stdout


def plaintexts(folder: Path, identity: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below the folder, and what is in those that are compressed or encrypted."""
    (key,) = [line for line in identity.read_text().splitlines() if not line.startswith("#")]
    for path in folder.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            yield path, data
            if path.name.endswith(".zst.age"):
                opened = pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(key)])
                # Behind the skippable frame with the salt.
                yield path, zstandard.ZstdDecompressor().decompressobj().decompress(opened[40:])


def test_the_agent_saw_masks_and_the_record_is_what_it_saw(said: tuple[guard.Guard, str], identity: Path) -> None:
    running, seen = said
    assert EMAIL not in seen
    assert NOTE in seen
    (flow, second) = [found["flow"] for found in running.ask("recordings", "list")]
    shown = json.loads(running.cli("recordings", "show", str(flow), "--identity", identity, "--json").stdout)
    steps = [item for item in shown["items"] if item.get("rows")]
    masked = [row for step in steps for result in step["rows"]["results"] for row in result["rows"] if "example.com" in str(row)]
    assert [row[-2 if len(row) > 1 else -1] for row in masked] == ["'a*************@example.com'"] * 2
    cut = next(step for step in steps if "generate_series" in step["text"])
    assert cut["rows"]["left_out"] > 1_000_000
    rows = cut["rows"]["results"][0]["rows"]
    assert [row[0].strip("'") for row in rows] == [str(number) for number in range(1, len(rows) + 1)]
    assert 900 < len(rows) < 1100
    long = next(step for step in shown["items"] if "repeat('y'" in step.get("text", ""))
    assert (long["rows"]["results"][0]["rows"], long["rows"]["left_out"]) == ([], 3_000_000 + 11 + 14)
    prepared = json.loads(running.cli("recordings", "show", str(second), "--identity", identity, "--json").stdout)
    (row,) = [
        row
        for item in prepared["items"]
        if item.get("rows")
        for result in item["rows"]["results"]
        for row in result["rows"]
        if "example.org" in str(row)
    ]
    assert row == ["2", "'b**********@example.org'", "NULL"]


def test_nothing_that_the_agent_was_not_shown_is_anywhere(said: tuple[guard.Guard, str], identity: Path) -> None:
    running, _ = said
    state = running.folder / "state"
    found = list(plaintexts(state, identity))
    assert any(NOTE.encode() in data for _, data in found), "the search would not find what is there"
    assert any(b"a*************@example.com" in data for _, data in found)
    assert [path for path, data in found if EMAIL.encode() in data or b"amelie" in data] == []


def test_without_the_key_words_and_rows_are_nowhere_in_the_clear(said: tuple[guard.Guard, str], identity: Path) -> None:
    running, _ = said
    state = running.folder / "state"
    clear = [path.read_bytes() for path in state.rglob("*") if path.is_file()]
    assert not any(word.encode() in data for data in clear for word in (NOTE, SECRET_WORDS))
    assert all(path.name.endswith(".zst.age") for path in payload_paths(state / "log"))
    flow = str(running.ask("recordings", "list")[0]["flow"])
    shown = running.cli("recordings", "show", flow)
    assert shown.returncode == 0
    assert "encrypted and not opened" in shown.stdout
    assert "give an auditor's key with --identity FILE" in shown.stderr
    opened = running.cli("recordings", "show", flow, "--identity", identity)
    assert (opened.returncode, opened.stderr) == (0, "")
    assert "a*************@example.com" in opened.stdout
    assert running.cli("recordings", "search", SECRET_WORDS).stdout == ""
    assert SECRET_WORDS in running.cli("recordings", "search", SECRET_WORDS, "--identity", identity).stdout
    assert not any(SECRET_WORDS.encode() in path.read_bytes() for path in state.rglob("*") if path.is_file())


def test_the_log_verifies_with_and_without_the_key(said: tuple[guard.Guard, str], identity: Path) -> None:
    running, _ = said
    without = running.ask("log", "verify")
    assert without["encrypted"] == without["payloads"] > 8
    assert without["opened"] == 0
    facts = json.loads(running.cli("log", "verify", "--json", "--identity", identity).stdout)
    assert facts["verified"]
    assert facts["opened"] == facts["encrypted"] == facts["payloads"]


def test_wireshark_decodes_the_rows_that_the_agent_saw(said: tuple[guard.Guard, str], identity: Path, tmp_path: Path) -> None:
    running, _ = said
    file = tmp_path / "flow.pcapng"
    flow = str(running.ask("recordings", "list")[0]["flow"])
    done = running.cli("recordings", "export", flow, "--format", "pcapng", "-o", file, "--identity", identity)
    assert done.returncode == 0, done.stderr
    fields = ["-T", "fields", "-e", "pgsql.type", "-e", "pgsql.val.data"]
    decoded = subprocess.run(
        ["tshark", "-r", file, "-d", "tcp.port==1-65535,pgsql", "-Y", "pgsql", *fields],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Data row" in decoded
    assert b"a*************@example.com".hex() in decoded
    assert "Malformed" not in decoded
