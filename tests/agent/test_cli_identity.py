"""Encrypted recordings as an auditor reads them: with a key everything, without one no crash and no pretence."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import msgspec
import pyrage
import pytest
import wire
from click.testing import CliRunner, Result
from recorded import START_NS, opened

from hostguard.agent.cli.main import main
from hostguard.identity.auditors import Recipients
from hostguard.recorder.entry import Captured, Decision, FlowClose, Operation, Reply, Session
from hostguard.recorder.log import Log

SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"
SECRET = "SELECT mail FROM customers WHERE name = 'needle'"
ROWS = wire.row_description(wire.column("mail")) + wire.data_row(b"n****@example.com") + wire.complete("SELECT 1")


class Host:
    """A configuration with a log of one flow, all words of which are encrypted to one auditor."""

    def __init__(self, folder: Path) -> None:
        text = (SHOP / "hostguard.toml").read_text().replace("/var/lib/hostguard", str(folder / "state"))
        self.config = folder / "hostguard.toml"
        self.config.write_text(text.replace('"policies/', f'"{SHOP}/policies/'))
        self.state = folder / "state"
        key = pyrage.x25519.Identity.generate()
        self.identity = folder / "auditor.key"
        self.identity.write_text(f"{key}\n")
        log = Log(self.state / "log", lambda: (START_NS, 5), encrypt=Recipients([str(key.to_public())]).encrypt, payload_above=0)
        self.flow = log.open_flow(opened())
        log.append(self.flow, Session("shop", "app"))
        log.append(self.flow, Operation(1, "query", SECRET), Decision(1, "allow", policies=("p",)))
        kept = log.store(msgspec.msgpack.encode(ROWS))
        log.append(self.flow, Captured(1, kept, 17), Reply(1, "ok", "SELECT 1", 1, 17, ("mail",)))
        log.append(self.flow, FlowClose("the agent closed the connection"))
        log.close()

    def run(self, *words: object, key: Path | None = None, env: dict[str, str] | None = None) -> Result:
        identity = ["--identity", str(key)] if key else []
        return CliRunner().invoke(main, [*map(str, words), *identity, "--config", str(self.config)], env=env)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize("words", [("show",), ("replay", "--max-pause", "0")])
def test_a_flow_is_shown_whole_with_a_key_and_says_what_is_missing_without(host: Host, words: tuple[str, ...]) -> None:
    command = ("recordings", words[0], host.flow, *words[1:])
    without = host.run(*command)
    assert without.exit_code == 0
    assert "encrypted and not opened" in without.stdout
    assert "2 payloads are encrypted and not shown: give an auditor's key with --identity FILE" in without.stderr
    assert "needle" not in without.output
    assert "reply   ok SELECT 1, 1 rows" in without.stdout, "the summary is no payload"
    opened = host.run(*command, key=host.identity)
    assert (opened.exit_code, opened.stderr) == (0, "")
    assert SECRET in opened.stdout
    assert "'n****@example.com'" in opened.stdout
    assert "the agent got 17 bytes more, which were not kept" in opened.stdout
    assert host.run(*command, env={"HOSTGUARD_IDENTITY": str(host.identity)}).stdout == opened.stdout


def test_a_key_of_somebody_else_opens_nothing_and_is_told(host: Host, tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    other.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    found = host.run("recordings", "show", host.flow, key=other)
    assert found.exit_code == 0
    assert "none of the identities given opens them" in found.stderr
    assert "needle" not in found.output


@pytest.mark.parametrize(
    "command", ["recordings show 1", "recordings replay 1", "recordings rerun 1", "recordings search x", "report", "log verify"]
)
def test_a_file_that_is_no_key_is_an_error_that_names_it(host: Host, tmp_path: Path, command: str) -> None:
    (tmp_path / "bad.key").write_text("hello")
    found = host.run(*command.split(), key=tmp_path / "bad.key")
    assert found.exit_code == 1
    assert f"--identity {tmp_path}/bad.key: no age identity" in found.stderr.replace("\n", " ")


@pytest.mark.parametrize("layout", ["jsonl", "ocsf", "pcapng", "asciicast"])
def test_exports_hold_the_words_with_a_key_only(host: Host, layout: str, tmp_path: Path) -> None:
    words = ("recordings", "export", host.flow, "--format", layout, "-o", tmp_path / "out")
    without = host.run(*words)
    assert without.exit_code == 0, without.output
    assert "give an auditor's key" in without.stderr
    assert b"needle" not in (tmp_path / "out").read_bytes()
    opened = host.run(*words, key=host.identity)
    assert (opened.exit_code, "encrypted" in opened.stderr) == (0, False)
    data = (tmp_path / "out").read_bytes()
    assert b"needle" in data
    if layout == "pcapng":
        assert wire.data_row(b"n****@example.com") in data
    elif layout == "asciicast":
        assert b"n****@example.com" in data


def test_search_finds_words_with_a_key_and_writes_none_of_them(host: Host) -> None:
    without = host.run("recordings", "search", "needle", "--json")
    assert json.loads(without.stdout)["found"] == []
    assert "1 payload is encrypted" in without.stderr
    assert "encrypted and not opened" in host.run("recordings", "search", "", "--agent", "support-bot").stdout
    (found,) = json.loads(host.run("recordings", "search", "needle", "--json", key=host.identity).stdout)["found"]
    assert found["text"] == SECRET
    assert not any(b"needle" in path.read_bytes() for path in host.state.rglob("*") if path.is_file())
    # The index on disk does not remember what a search with a key has seen.
    assert json.loads(host.run("recordings", "search", "needle", "--json").stdout)["found"] == []


def test_rerun_judges_the_statement_with_a_key(host: Host) -> None:
    without = json.loads(host.run("recordings", "rerun", host.flow, "--json").stdout)
    assert without[0]["text"] == ""
    (opened,) = json.loads(host.run("recordings", "rerun", host.flow, "--json", key=host.identity).stdout)
    assert (opened["text"], opened["then"]) == (SECRET, "allow")
    assert opened["policies"] or opened["reason"]


def test_everything_else_works_on_an_encrypted_log(host: Host) -> None:
    for words in ("recordings list", "recordings list --table orders", "report --format json --since 2020-01-01"):
        found = host.run(*words.split())
        assert found.exit_code == 0, found.output
    report = host.run("report", "--format", "json", "--since", "2020-01-01", key=host.identity)
    assert report.exit_code == 0


def test_the_identity_file_of_age_keygen_works(host: Host, tmp_path: Path) -> None:
    subprocess.run(["age-keygen", "-o", tmp_path / "fresh.key"], check=True, capture_output=True)
    found = host.run("recordings", "show", host.flow, "--identity", host.identity, key=tmp_path / "fresh.key")
    assert (found.exit_code, found.stderr) == (0, "")
    assert SECRET in found.stdout
