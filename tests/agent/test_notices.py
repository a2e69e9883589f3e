"""Channels are told what happens to requests: by a caged process that POSTs, by commands; nothing waits for them."""

from __future__ import annotations

import asyncio
import json
import pwd
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import holding
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.agent import announcing
from hostguard.agent.announcing import Announcer
from hostguard.agent.failures import Failure
from hostguard.agent.faults import Faults
from hostguard.agent.ledger import Ledger, LedgerUnavailable
from hostguard.agent.notices.bodies import body, facts, slack, teams
from hostguard.agent.notices.keeper import Keeper
from hostguard.agent.notices.signing import BadSecret, headers, secret_of
from hostguard.agent.outbox import Notice, Outbox
from hostguard.agent.store import Store
from hostguard.policy.channel_sections import Channel

NOBODY = pwd.getpwnam("nobody")
IDS = NOBODY.pw_uid, NOBODY.pw_gid
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
EVIL = "DELETE FROM public.notes WHERE text = '<https://evil|approved> *bold* [x](http://evil) \u202e'"


class Hook:
    """A web hook on loopback; `answers` are the statuses that it gives, in order, then 204."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.heard: list[tuple[dict[str, str], bytes]] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                data = self.rfile.read(int(self.headers["Content-Length"]))
                hook.heard.append(({name.lower(): value for name, value in self.headers.items()}, data))
                status = hook.answers.pop(0) if hook.answers else 204
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", f"{hook.url}elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self) -> None:
                hook.heard.append(({}, b"GET"))
                self.send_error(500)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def hook() -> Iterator[Hook]:
    made = Hook()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def request_facts(tmp_path: Path) -> dict[str, Any]:
    """A real request of an agent that tries to mislead whoever reads about it."""
    with holding.House(tmp_path) as house:
        shown: dict[str, Any] = house.holds.show(house.ask(EVIL).request)
        return shown


def told(
    channels: dict[str, Channel],
    request: dict[str, Any],
    until: Callable[[Announcer], bool],
    *events: str,
    store: Path | None = None,
    waits: Sequence[str] = (),
) -> Announcer:
    """Tell real channels of these events; returns once `until` holds. `store`: of notices; `waits`: requests that still do."""

    async def play(file: Path) -> Announcer:
        posts = any(not channel.command for channel in channels.values())
        async with AsyncExitStack() as undo:
            outbox = await Outbox.open(file, undo)
            faults = Faults()
            messenger = Keeper(IDS, faults) if posts else None
            announcer = Announcer(channels, dict.fromkeys(channels, IDS), messenger, outbox, waits.__contains__, faults)
            announcer.start()
            try:
                for event in events:
                    announcer.tell(event, request)
                async with asyncio.timeout(60):
                    while not until(announcer):
                        await asyncio.sleep(0.02)
            finally:
                await announcer.stop()
                if (left := announcer.leave()) is not None:
                    await left.wait()
            assert faults.stopped == []
        return announcer

    with tempfile.TemporaryDirectory() as folder:
        return uvloop.run(play(store or Path(folder) / "notices.sqlite"))


def done(count: int) -> Callable[[Announcer], bool]:
    return lambda announcer: sum(line["sent"] + line["lost"] for line in announcer.facts()) >= count


def test_a_signature_is_the_one_that_the_specification_has() -> None:
    """The example of the libraries at github.com/standard-webhooks."""
    found = dict(headers(secret_of(SECRET), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'))
    assert found["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!", "whsec_" + "QQ==", "whsec_" + "QUFB" * 30])
def test_what_is_no_secret_is_not_signed_with(text: str) -> None:
    with pytest.raises(BadSecret):
        secret_of(text)


def test_a_web_hook_is_told_again_until_it_takes_it(
    hook: Hook, tmp_path: Path, request_facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "AGAIN_S", (0.01, 1.1))
    (tmp_path / "secret").write_text(SECRET + "\n")
    (tmp_path / "url").write_text(hook.url + "\n")
    hook.answers = [500, 302]
    channel = Channel(url_file=str(tmp_path / "url"), secret_file=str(tmp_path / "secret"), link="https://hg.example/{id}")
    announcer = told({"ops": channel}, request_facts, done(1), "filed")
    assert announcer.facts() == [{"name": "ops", "sent": 1, "lost": 0, "waiting": 0, "failure": ""}]
    assert len(hook.heard) == 3
    assert len({told["webhook-id"] for told, _ in hook.heard}) == 1
    assert len({told["webhook-timestamp"] for told, _ in hook.heard}) > 1
    for head, data in hook.heard:
        signed = headers(secret_of(SECRET), head["webhook-id"], int(head["webhook-timestamp"]), data)
        assert dict(signed)["webhook-signature"] == head["webhook-signature"]
        assert abs(int(head["webhook-timestamp"]) - time.time()) < 60
    payload = json.loads(hook.heard[0][1])
    assert payload["type"] == "request.filed"
    data = payload["data"]
    assert (data["id"], data["digest"]) == (request_facts["id"], request_facts["digest"])
    assert data["link"] == f"https://hg.example/{data['id']}"
    assert {"statement", "parameters", "prepared", "process"} & set(data) == set()


def test_one_that_never_takes_it_is_given_up_and_keeps_nobody_waiting(
    hook: Hook, request_facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(announcing, "AGAIN_S", (0.01,))
    channels = {
        "down": Channel(url="http://127.0.0.1:1/", timeout_s=5),
        "up": Channel(url=hook.url),
        "wrong": Channel(url="https://127.0.0.1:1/", timeout_s=5),
    }
    announcer = told(channels, request_facts, done(3), "filed")
    found = {line["name"]: line for line in announcer.facts()}
    assert (found["up"]["sent"], found["down"]["lost"], found["wrong"]["lost"]) == (1, 1, 1)
    assert "Connect call failed" in found["down"]["failure"]


def test_what_no_channel_took_is_told_by_the_next_daemon(hook: Hook, tmp_path: Path, request_facts: dict[str, Any]) -> None:
    hook.answers = [500]
    store, name, channels = tmp_path / "notices.sqlite", request_facts["id"], {"ops": Channel(url=hook.url)}
    told(channels, request_facts, lambda _: bool(hook.heard), "filed", store=store)
    announcer = told(channels, request_facts, done(1), store=store, waits=(name,))
    assert (announcer.facts()[0]["sent"], announcer.failure) == (1, "")
    (first, data), (second, again) = hook.heard
    assert (first["webhook-id"], data) == (second["webhook-id"], again)
    told(channels, request_facts, done(1), "approved", store=store, waits=(name,))
    assert [json.loads(data)["type"] for _, data in hook.heard[2:]] == ["request.approved"]


def test_of_a_request_that_is_over_nobody_hears_afterwards_that_it_waits(
    hook: Hook, tmp_path: Path, request_facts: dict[str, Any]
) -> None:
    store, events = tmp_path / "notices.sqlite", ("filed", "escalated", "denied", "filed")
    nowhere = {name: Channel(url="http://127.0.0.1:1/") for name in ("ops", "gone")}
    told(nowhere, request_facts, lambda made: all(line["failure"] for line in made.facts()), *events, store=store)
    told({"ops": Channel(url=hook.url)}, request_facts, done(1), store=store)
    assert [json.loads(data)["type"] for _, data in hook.heard] == ["request.denied"]
    assert left(store) == []


def left(store: Path) -> list[Notice]:
    """What the next daemon would find."""

    async def play() -> list[Notice]:
        async with AsyncExitStack() as undo:
            return (await Outbox.open(store, undo)).left

    return asyncio.run(play())


def notice(name: str) -> Notice:
    return Notice(name, "ops", "filed", {"data": {"id": "R-1", "agent": "\u202e"}})


STEP = st.tuples(st.sampled_from(["put", "over", "pause", "settle"]), st.sampled_from("abcdef"))


@settings(max_examples=25, deadline=None)
@given(st.lists(STEP, max_size=30))
def test_what_is_kept_is_what_was_put_and_is_not_over(steps: list[tuple[str, str]]) -> None:
    kept: list[str] = []
    seen: set[str] = set()

    async def play(store: Path) -> None:
        async with AsyncExitStack() as undo:
            outbox = await Outbox.open(store, undo)
            for step, name in steps:
                if step == "put" and name not in seen:
                    kept.append(name)
                    seen.add(name)
                    outbox.put(notice(name))
                elif step == "over" and name in kept:
                    kept.remove(name)
                    outbox.over(notice(name))
                elif step == "pause":
                    await asyncio.sleep(0)
                elif step == "settle":
                    await outbox.settle()
            await outbox.settle()
            assert outbox.failure == ""

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder) / "notices.sqlite"))
        assert left(Path(folder) / "notices.sqlite") == [notice(name) for name in kept]


def test_a_disk_that_takes_nothing_keeps_no_channel_waiting(
    hook: Hook, request_facts: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: Store, _work: Callable[[Ledger], Any]) -> Any:
        raise LedgerUnavailable("the disk is full")

    def told_twice(announcer: Announcer) -> bool:
        monkeypatch.setattr(Store, "do", full)
        if not hook.heard:
            announcer.tell("approved", request_facts)
        return done(1)(announcer) and bool(announcer.failure)

    announcer = told({"ops": Channel(url=hook.url, events=("approved",))}, request_facts, told_twice)
    assert (announcer.facts()[0]["failure"], announcer.failure) == ("", "the disk is full")


def test_channels_hear_what_they_asked_for(hook: Hook, request_facts: dict[str, Any]) -> None:
    channels = {
        "denials": Channel(url=hook.url.replace("127.0.0.1", "localhost"), events=("denied",)),
        "late": Channel(url=hook.url, escalation=1),
    }
    told(channels, request_facts, done(1), "filed", "approved", "denied")
    assert [json.loads(data)["type"] for _, data in hook.heard] == ["request.denied"]


def test_shapes_of_others_render_no_markup_of_an_agents(request_facts: dict[str, Any]) -> None:
    payload = facts("filed", request_facts, 0, statement=True, link="")
    assert "⟦U+202E⟧" in payload["data"]["statement"]
    sent = slack(payload)
    assert {block["text"]["type"] for block in sent["blocks"]} == {"plain_text"}
    assert EVIL[:60] in sent["blocks"][2]["text"]["text"]
    assert "<" not in sent["text"]
    card = teams(payload)["attachments"][0]["content"]
    assert {row["type"] for row in card["body"]} == {"RichTextBlock"}
    assert {run["type"] for row in card["body"] for run in row["inlines"]} == {"TextRun"}
    assert EVIL[:60] in card["body"][-1]["inlines"][0]["text"]
    assert json.loads(body("slack", payload)) == sent


def test_a_long_statement_fits_what_others_take(request_facts: dict[str, Any]) -> None:
    payload = facts("filed", {**request_facts, "statement": "x" * 100_000}, 0, statement=True, link="")
    assert max(len(block["text"]["text"]) for block in slack(payload)["blocks"]) <= 3000
    assert len(body("teams", payload)) < 28_000


def test_a_command_gets_the_notice_as_somebody_else(tmp_path: Path, request_facts: dict[str, Any]) -> None:
    tmp_path.chmod(0o777)
    script = tmp_path / "hook"
    script.write_text(f"#!/bin/sh\ncat > {tmp_path}/notice\nid -u >> {tmp_path}/notice\nenv >> {tmp_path}/notice\n")
    script.chmod(0o755)
    announcer = told({"script": Channel(command=(str(script),))}, request_facts, done(1), "filed")
    assert announcer.facts()[0]["failure"] == ""
    notice, uid, *environment = (tmp_path / "notice").read_text().replace("}}", "}}\n", 1).splitlines()
    assert json.loads(notice)["data"]["id"] == request_facts["id"]
    assert uid == str(NOBODY.pw_uid)
    assert {line.partition("=")[0] for line in environment} <= {"LANG", "PATH", "PWD", "OLDPWD", "_", "SHLVL"}


def test_a_command_that_takes_too_long_ends_with_all_that_it_started(tmp_path: Path, request_facts: dict[str, Any]) -> None:
    tmp_path.chmod(0o777)
    script = tmp_path / "hook"
    script.write_text(f"#!/bin/sh\nsleep 1000 &\necho $! > {tmp_path}/pid\nwait\n")
    script.chmod(0o755)
    channels = {
        "slow": Channel(command=(str(script),), timeout_s=2),
        "failing": Channel(command=("/bin/false",)),
        "none": Channel(command=("/nowhere",)),
    }
    announcer = told(channels, request_facts, done(3), "filed")
    found = {line["name"]: line["failure"] for line in announcer.facts()}
    assert found == {
        "slow": "it took longer than 2 s",
        "failing": "it ended with code 1",
        "none": "/nowhere can't be started: No such file or directory",
    }
    stat = Path("/proc") / (tmp_path / "pid").read_text().strip() / "stat"
    # Whoever adopted it may be slow to notice its end.
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


@pytest.mark.parametrize(("key", "text"), [("secret_file", "plain"), ("secret_file", None), ("url_file", None)])
def test_a_file_that_can_not_be_used_stops_the_start(tmp_path: Path, key: str, text: str | None) -> None:
    if text is not None:
        (tmp_path / "file").write_text(text)
    url = {} if key == "url_file" else {"url": "http://127.0.0.1/"}
    with pytest.raises(Failure, match=rf"channels\.ops\.{key}: "):
        Announcer({"ops": Channel(**url, **{key: str(tmp_path / "file")})}, {"ops": IDS}, None, Outbox(None, []), bool, Faults())  # type: ignore[arg-type]
