"""``hostguard recordings`` over a real log, as somebody types it."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from recorded import DELETE, DROP, SELECT, START_NS, log_in, opened, record

from hostguard.agent.cli.main import main
from hostguard.policy.document import load
from hostguard.recorder.entry import Decision, Operation, PolicyLoad
from hostguard.recorder.log import Log
from hostguard.recorder.reader import Reader

SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"


class Host:
    """A configuration with a log that has three flows."""

    def __init__(self, folder: Path) -> None:
        text = (SHOP / "hostguard.toml").read_text().replace("/var/lib/hostguard", str(folder / "state"))
        self.config = folder / "hostguard.toml"
        self.config.write_text(text.replace('"policies/', f'"{SHOP}/policies/'))
        (folder / "state" / "log").mkdir(parents=True)
        self.log = folder / "state" / "log"
        self.first, self.second, self.refused = record(self.log)

    def run(self, *words: object) -> Result:
        return CliRunner().invoke(main, ["recordings", *map(str, words), "--config", str(self.config)])

    def json(self, *words: object) -> Any:
        return json.loads(self.run(*words, "--json").stdout)


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("", "first second refused"),
        ("--user app", "first"),
        ("--user bob", "first"),
        ("--user fraud", "second"),
        ("--user nobody", ""),
        ("--table orders", "first second"),
        ("--table public.orders", "first second"),
        ("--table customers", "first"),
        ("--table rders", ""),
        ("--tag pii.email", "first"),
        ("--tag pii", "first"),
        ("--tag pii.e", ""),
        ("--tag pii --verdict hold", "first"),
        ("--verdict deny --table orders", "second"),
        ("--agent fraud-bot", "second"),
        ("--verdict refused", "refused"),
        ("--since 1h", "second"),
        ("--until 2020-01-01", ""),
        ("--table orders --limit 1", "second"),
    ],
)
def test_flows_are_chosen_by_what_happened_in_them(host: Host, words: str, expected: str) -> None:
    # The clock of the log is in 2026-09; a flow that is still open lasts until now.
    assert [f["flow"] for f in host.json("list", *words.split())] == [getattr(host, name) for name in expected.split()]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["orders"], [DELETE, DROP, "DELETE FROM orders"]),
        (["DELETE orders"], [DELETE, "DELETE FROM orders"]),
        (['"delete from orders where"'], [DELETE]),
        (['"orders delete"'], []),
        (["custom*"], [SELECT, SELECT]),
        (["custom"], []),
        (["orders OR customers"], []),
        (["", "--table", "orders"], [DELETE, DROP, "DELETE FROM orders"]),
        (["orders", "--verdict", "allow"], [DELETE]),
        (["orders", "--verdict", "hold"], [DELETE, "DELETE FROM orders"]),
        (["orders", "--user", "bob"], [DELETE]),
        (["orders", "--user", "fraud"], [DROP, "DELETE FROM orders"]),
        (["--tag", "pii"], [SELECT]),
        (["orders", "--limit", "1"], ["DELETE FROM orders"]),
        (["needle"], ["SELECT 'xyyy"]),
    ],
)
def test_operations_are_found_by_words_and_filters(host: Host, words: list[str], expected: list[str]) -> None:
    found = host.json("search", *words)["found"]
    assert [each["text"][:12] for each in found] == [" ".join(text.split())[:12] for text in expected]
    assert len(found) == len(expected)


def test_a_search_says_up_to_where_it_is_fresh_and_goes_on_from_there(host: Host) -> None:
    before = host.json("search", "orders")
    assert before["fresh_to"] == len(list(Reader(host.log).entries()))
    log = Log(host.log, lambda: (1, 1))
    number = log.open_flow(opened())
    log.append(number, Operation(1, "query", "SELECT later"), Decision(1, "allow"))
    log.close()
    after = host.json("search", "later")
    assert after["fresh_to"] == before["fresh_to"] + 3
    assert [each["entry"] for each in after["found"]] == [before["fresh_to"] + 1]
    assert host.json("search", "orders")["found"] == before["found"]
    assert host.json("search", "orders", "--rebuild")["found"] == before["found"]


def test_an_index_of_another_log_or_of_rubbish_is_told_or_made_anew(host: Host, tmp_path: Path) -> None:
    host.json("search", "orders")
    index = tmp_path / "state" / "search.sqlite"
    assert index.stat().st_mode & 0o777 == 0o600
    (tmp_path / "other").mkdir()
    other = Host(tmp_path / "other")
    other.log.rename(tmp_path / "kept")
    log = Log(other.log, lambda: (START_NS + 5, 9))
    log.close()
    (tmp_path / "other" / "state" / "search.sqlite").write_bytes(index.read_bytes())
    assert other.json("search", "orders") == {"fresh_to": 1, "found": []}
    index.write_bytes(b"rubbish" * 1000)
    for suffix in ("-wal", "-shm"):
        index.with_name(index.name + suffix).unlink(missing_ok=True)
    result = host.run("search", "orders")
    assert result.exit_code == 1
    assert "may be deleted" in result.stderr


def test_what_is_no_word_is_a_usage_error(host: Host) -> None:
    assert host.run("search", '"').exit_code == 2


@pytest.mark.parametrize("layout", ["jsonl", "ocsf", "pcapng", "asciicast"])
def test_a_flow_is_exported_to_a_file_that_only_its_owner_reads(host: Host, tmp_path: Path, layout: str) -> None:
    output = tmp_path / "out"
    result = host.run("export", host.first, "--format", layout, "-o", output)
    assert (result.exit_code, output.stat().st_mode & 0o777) == (0, 0o600)
    assert f"{output.stat().st_size} bytes of {layout}" in result.stderr
    assert host.run("export", 10**6, "--format", layout, "-o", tmp_path / "none").exit_code == 1
    assert not (tmp_path / "none").exists()


def test_all_flows_that_the_filters_choose_are_exported(host: Host) -> None:
    lines = host.run("export", "--all", "--table", "customers", "--format", "jsonl").stdout.splitlines()
    assert {json.loads(line)["flow"] for line in lines} == {host.first}
    lines = host.run("export", "--all", "--format", "jsonl").stdout.splitlines()
    assert [json.loads(line)["index"] for line in lines] == list(range(len(lines)))
    lines = host.run("export", "--all", "--agent", "fraud-bot", "--format", "ocsf").stdout.splitlines()
    assert {json.loads(line)["metadata"]["correlation_uid"] for line in lines} == {f"flow {host.second}"}


@pytest.mark.parametrize("words", ["", "1 --all", "--all --format asciicast", "1 --agent x"])
def test_what_makes_no_sense_together_is_a_usage_error(host: Host, words: str) -> None:
    layout = [] if "--format" in words else ["--format", "jsonl"]
    assert host.run("export", *words.split(), *layout).exit_code == 2


def test_rerun_tells_what_todays_policy_would_decide_otherwise(host: Host) -> None:
    result = host.run("rerun", host.first, "--json")
    again = json.loads(result.stdout)
    # The record has no approval for the delete to be held without; everything else is decided as it was.
    assert [(each["then"], each["now"]) for each in again] == [
        ("allow", "allow"),
        ("allow", "allow"),
        ("hold", "hold"),
        ("allow", "allow"),
    ]
    assert result.exit_code == 0
    policies = host.config.read_text().replace(f'"{SHOP}/policies/*.cedar"', '"strict.cedar"')
    host.config.write_text(policies)
    host.config.with_name("strict.cedar").write_text(
        '@id("only reads")\npermit (principal, action in Action::"read", resource);\n'
        '@id("no customers")\nforbid (principal, action, resource == Table::"shop/shop/public/customers");\n'
    )
    result = host.run("rerun", host.first, "--changed", "--json")
    changed = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [(each["operation"], each["then"], each["now"]) for each in changed] == [
        (1, "allow", "deny"),
        (2, "allow", "deny"),
        (3, "hold", "deny"),
    ]
    assert changed[0]["policies"] == ["no customers"]
    assert "3 of 4 operations" in host.run("rerun", host.first).stdout


def test_rerun_as_of_then_takes_the_policy_on_record_or_says_that_there_is_none(host: Host) -> None:
    early = host.run("rerun", host.first, "--as-of", "2026-09-25")
    assert early.exit_code == 1
    assert "no load of a policy" in early.output
    document = load(host.config)
    texts = ((document.file, document.text), ("p.cedar", '@id("nothing")\nforbid (principal, action, resource);\n'))
    log = log_in(host.log)
    # The base policy was off then.
    text = document.text.replace("[policy]", "[policy]\nbase = false")
    log.append(0, PolicyLoad(1, True, texts=((document.file, text), *texts[1:])))
    log.close()
    result = host.run("rerun", host.first, "--as-of", "2026-09-25", "--json")
    assert result.exit_code == 1, result.output
    # What needs no policy is allowed all the same.
    assert {(each["now"], *each["policies"]) for each in json.loads(result.stdout)} == {("deny", "nothing"), ("allow",)}
    assert host.run("rerun", host.first).exit_code == 0


def test_replay_obeys_its_keys(host: Host) -> None:
    code = "from hostguard.agent.cli.main import main; main()"
    words = [sys.executable, "-c", code, "recordings", "replay", str(host.first), "--speed", "0.001", "--max-pause", "60"]
    words += ["--config", str(host.config)]
    leader, follower = pty.openpty()
    process = subprocess.Popen(words, stdin=follower, stdout=follower, stderr=follower, start_new_session=True)
    os.close(follower)
    try:
        seen = _until(leader, "session")
        os.write(leader, b" ")
        seen += _until(leader, "paused")
        # Paused: nothing comes, although the next item is a second away.
        assert "SELECT" not in seen + _within(leader, 1.5)
        os.write(leader, b"\x1b[C")
        assert "SELECT name" in _until(leader, "reply")
        assert "reply" not in _within(leader, 0.4)
        os.write(leader, b"+")
        assert "speed 0.002" in _until(leader, "speed 0.002")
        os.write(leader, b"q")
        assert "replay stopped" in _until(leader, "stopped")
        assert process.wait(10) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(leader)


def _within(descriptor: int, seconds: float) -> str:
    """All that comes within this time."""
    seen = ""
    deadline = time.monotonic() + seconds
    while select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0]:
        seen += os.read(descriptor, 4096).decode()
    return seen


def _until(descriptor: int, text: str) -> str:
    seen = ""
    deadline = time.monotonic() + 20
    while text not in seen:
        assert select.select([descriptor], [], [], max(0, deadline - time.monotonic()))[0], f"no {text!r} in {seen!r}"
        seen += os.read(descriptor, 4096).decode()
    return seen


def test_a_long_statement_is_shown_by_its_beginning_unless_it_is_wanted_whole(host: Host) -> None:
    shown = host.run("show", host.first).stdout
    whole = host.run("show", host.first, "--full").stdout
    assert len(shown) < 6000 < 60_000 < len(whole)
    assert "more characters" in shown
    assert "more characters" not in whole
    assert "DELETE FROM orders" in shown
