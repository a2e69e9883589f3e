"""``hostguard report`` over a real log: the same facts as page, JSON and table."""

from __future__ import annotations

import csv
import html.parser
import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from recorded import DELETE, START_NS, log_in, opened, record

from hostguard.agent.cli.main import main
from hostguard.policy.document import load
from hostguard.recorder.entry import Approval, Decision, FlowClose, Operation, PolicyLoad, Request
from hostguard.recorder.reader import Reader
from hostguard.recorder.stored import Stored

SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"
ATTACK = "<script>alert(1)</script> =cmd"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A host with the three flows, and one more whose agent's owner approves it."""
    text = (SHOP / "hostguard.toml").read_text().replace("/var/lib/hostguard", str(tmp_path / "state"))
    config = tmp_path / "hostguard.toml"
    config.write_text(text.replace('"policies/', f'"{SHOP}/policies/'))
    folder = tmp_path / "state" / "log"
    folder.mkdir(parents=True)
    record(folder)
    log = log_in(folder)
    log.append(0, PolicyLoad(1, True, (("shop.cedar", "ab" * 32),)))
    log.append(0, PolicyLoad(2, False, errors=("no",)))
    number = log.open_flow(opened())
    log.append(number, Operation(1, "query", ATTACK), Decision(1, "hold"), Request("R-9", 1, b""))
    log.append(number, Approval("R-9", "denied", "alice", 1001, 1, "<b>no</b>"))
    log.append(number, Decision(1, "deny", "alice denied it"))
    gone = log.open_flow(opened("gone-bot"))
    log.append(gone, Operation(1, "query", "=1+1"), Decision(1, "deny", "-x"))
    log.close()
    return config


def run(config: Path, *words: str) -> Result:
    # The log's clock stands at 2026-09-21.
    return CliRunner().invoke(main, ["report", "--since", "2026-09-01", "--until", "2026-10-01", *words, "--config", str(config)])


def facts(config: Path, *words: str) -> Any:
    return json.loads(run(config, "--format", "json", *words).stdout)


def test_each_agent_is_told_by_what_it_could_and_what_it_did(config: Path) -> None:
    report = facts(config)
    agents = {agent["agent"]: agent for agent in report["agents"]}
    assert list(agents) == ["", "fraud-bot", "gone-bot", "support-bot"]
    support, fraud = agents["support-bot"], agents["fraud-bot"]
    assert (support["owner"], support["flows"], support["operations"]) == ("alice", 2, 5)
    (stance,) = support["stances"]
    assert (stance["roles"], stance["entry"] >= 0) == (["support"], True)
    named = {policy["id"]: policy["effect"] for policy in stance["policies"]}
    assert named["support reads the shop"] == "permit"
    assert "fraud sees cards" not in named
    assert [(d["action"], d["object"], d["allowed"], d["approved"]) for d in support["did"]] == [
        ("delete", "shop/shop/public/orders", 0, 1),
        ("select", "shop/shop/public/customers", 3, 0),
    ]
    assert [(s["outcome"], s["request"]) for s in support["held"]] == [("approved", "R-1"), ("denied", "R-9")]
    assert support["tags"] == {"pii.email": 1}
    assert [m["column"] for m in support["masked"]] == ["email"]
    assert [(s["text"], s["outcome"]) for s in fraud["denied"]] == [("DROP TABLE orders", "denied")]
    assert [s["outcome"] for s in fraud["held"]] == ["withdrawn"]
    assert agents[""]["refused"][0]["reason"] == "no resource"
    assert (agents["gone-bot"]["owner"], agents["gone-bot"]["stances"]) == ("", [])
    assert "not on record" in report["gaps"][1]


def test_every_statement_stands_at_the_position_that_the_report_says(config: Path, tmp_path: Path) -> None:
    reader = Reader(tmp_path / "state" / "log")
    entries = dict(reader.entries())
    report = facts(config)
    assert report["entries"] == len(entries)
    for agent in report["agents"]:
        for statement in (*agent["denied"], *agent["held"]):
            entry = entries[statement["entry"]]
            assert isinstance(entry, Operation)
            assert (entry.flow, entry.operation) == (statement["flow"], statement["operation"])
            assert " ".join(str(entry.text).split()) == statement["text"]
    for answer in report["answers"]:
        entry = entries[answer["entry"]]
        assert isinstance(entry, Approval)
        assert entry.request == answer["request"]
        assert isinstance(entries[answer["asked_entry"]], Operation)


def test_segregation_of_duties_says_who_asked_who_answered_and_whether_they_are_one(config: Path) -> None:
    answers = facts(config)["answers"]
    assert [(a["request"], a["agent"], a["owner"], a["user"], a["verdict"], a["same_person"]) for a in answers] == [
        ("R-1", "support-bot", "alice", "bob", "approved", False),
        ("R-9", "support-bot", "alice", "alice", "denied", True),
    ]
    assert answers[0]["waited_ns"] == 10**6


def test_a_period_has_what_happened_in_it_and_the_policy_that_was_in_force(config: Path) -> None:
    report = json.loads(
        CliRunner()
        .invoke(main, ["report", "--since", "2026-10-01", "--until", "2026-10-02", "--format", "json", "--config", str(config)])
        .stdout
    )
    assert all(agent["operations"] == 0 and agent["flows"] == 0 for agent in report["agents"])
    assert report["answers"] == []
    # A load that was refused changes nothing, but it is told.
    assert [load["epoch"] for load in report["policy_loads"]] == [1, 2]
    assert report["since_ns"] > START_NS


class Page(html.parser.HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_self_contained_and_agents_text_stays_text(config: Path, tmp_path: Path) -> None:
    output = tmp_path / "report.html"
    assert run(config, "-o", str(output)).exit_code == 0
    page = Page(output.read_text())
    assert "script" not in page.tags
    assert not {"src", "href"} & {name for name, _ in page.attributes}
    assert ATTACK in page.text
    assert "<b>no</b>" in page.text
    assert "1 by the owner of the agent that asked" in page.text
    assert "@media print" in page.text
    assert " ".join(DELETE.split()) in page.text
    assert page.tags.count("section") == 4


def test_the_table_has_no_formula_of_an_agent(config: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(run(config, "--format", "csv").stdout)))
    assert {row["kind"] for row in rows} == {"policy", "did", "denied", "held", "answer", "masked", "refused"}
    (formula,) = [row for row in rows if row["agent"] == "gone-bot"]
    assert (formula["statement"], formula["reason"]) == ("'=1+1", "'-x")
    assert [row["same_person"] for row in rows if row["kind"] == "answer"] == ["no", "yes"]


def test_a_period_that_ends_before_it_begins_is_a_usage_error(config: Path) -> None:
    words = ["report", "--since", "2026-10-02", "--until", "2026-10-01", "--config", str(config)]
    assert CliRunner().invoke(main, words).exit_code == 2


def texts_of(config: Path, **changes: str) -> PolicyLoad:
    """What a daemon with that configuration puts on record, with some words of it exchanged."""
    document = load(config)
    texts = [(document.file, document.text), *((source.file, source.text) for source in document.sources)]
    for word, other in changes.items():
        texts = [(file, text.replace(word, other)) for file, text in texts]
    return PolicyLoad(7, True, tuple((file, "ab" * 32) for file, _ in texts), texts=tuple(texts))


def test_owners_and_policies_are_those_of_then(config: Path, tmp_path: Path) -> None:
    """An approval by the owner of then is one, whoever owns the agent today; what it could do is told for each time."""
    log = log_in(tmp_path / "state" / "log")
    for load_ in (texts_of(config, alice="dave", reads="browses"), texts_of(config)):
        log.append(0, load_)
        number = log.open_flow(opened())
        log.append(number, Operation(1, "query", "x"), Decision(1, "hold"), Request("R-20", 1, b""))
        log.append(number, Approval("R-20", "approved", "dave", 1001, 1))
        log.append(number, Decision(1, "allow"), FlowClose("over"))
    log.append(0, texts_of(config, agents="nonsense"))
    log.close()
    report = facts(config)
    assert [(a["owner"], a["same_person"]) for a in report["answers"][-2:]] == [("dave", True), ("alice", False)]
    stances = next(agent["stances"] for agent in report["agents"] if agent["agent"] == "support-bot")
    assert [stance["owner"] for stance in stances] == ["alice", "dave", "alice"]
    assert "support browses the shop" in {policy["id"] for policy in stances[1]["policies"]}
    assert "support browses the shop" not in {policy["id"] for policy in stances[2]["policies"]}
    assert len(report["gaps"]) == 3
    assert "does not understand it" in report["gaps"][2]
    page = run(config).stdout
    assert "support browses the shop" in page
    assert page.count("What it could do from") >= 3


def test_texts_too_long_for_an_entry_are_read_from_the_payload(config: Path, tmp_path: Path) -> None:
    log = log_in(tmp_path / "state" / "log")
    long = texts_of(config, alice="dave")
    assert not isinstance(long.texts, Stored)
    (file, text), *rest = long.texts
    long.texts = ((file, text + "# " + "x" * 70_000 + "\n"), *rest)
    log.append(0, long)
    log.close()
    report = facts(config)
    assert next(agent["owner"] for agent in report["agents"] if agent["agent"] == "support-bot") == "dave"
