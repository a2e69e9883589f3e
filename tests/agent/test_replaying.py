"""Recordings through the daemon: nothing is shown that is not on record, and reading has its bounds."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from recorded import record

from hostguard.agent import replaying
from hostguard.agent.control import Control
from hostguard.agent.paths import Paths
from hostguard.agent.records import Records
from hostguard.agent.replaying import MODULE, Replaying
from hostguard.agent.rights import Rights
from hostguard.agent.routes import Routes
from hostguard.agent.waiting import By
from hostguard.policy.decide import Decider, Policy
from hostguard.policy.document import load
from hostguard.policy.requests import NotAllowed
from hostguard.recorder import entry
from hostguard.recorder.log import Log

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="what reads the log gives up what root has")
SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"
ROOT_USER = By("", 0)


class Full(Records):
    """Of a log that takes nothing."""

    def note(self, flow: int, *entries: entry.Entry) -> bool:
        self.failure = "the disk is full"
        return False


class Place:
    """A configuration with a log that has three flows, and the calls on it."""

    def __init__(self, folder: Path) -> None:
        text = (SHOP / "hostguard.toml").read_text().replace("/var/lib/hostguard", str(folder / "state"))
        self.config = folder / "conf" / "hostguard.toml"
        self.config.parent.mkdir()
        self.config.write_text(text.replace('"policies/', f'"{SHOP}/policies/'))
        (folder / "state" / "log").mkdir(parents=True)
        self.paths = Paths.of(load(self.config))
        self.first = record(self.paths.log)[0]
        self.log = Log(self.paths.log, lambda: (1, 1))
        self.records = Records(self.log)
        self.rights = Rights(Decider(Policy(load(self.config))))

    def ask(self, *paths: str, by: By = ROOT_USER) -> list[tuple[int, str]]:
        """What calls on these paths, all at once, are answered."""

        async def play() -> list[tuple[int, str]]:
            app = web.Application(middlewares=[refusals])
            Replaying(str(self.config), self.paths, self.records).add(Routes(app.router, self.rights, lambda _: by))
            async with TestClient(TestServer(app)) as client:

                async def call(path: str) -> tuple[int, str]:
                    async with client.get(path) as answer:
                        return answer.status, await answer.text()

                return list(await asyncio.gather(*map(call, paths)))

        return asyncio.run(play())


@web.middleware
async def refusals(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    control: Any = Control
    answer: web.StreamResponse = await control._refusals(None, request, handler)
    return answer


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_what_can_not_be_put_on_record_is_not_shown(place: Place) -> None:
    ((status, text),) = place.ask(f"/v1/recordings/{place.first}?payloads=1")
    assert (status, "DELETE" in text) == (200, True)
    place.records = Full(place.log)
    for path in (f"/v1/recordings/{place.first}?payloads=1", "/v1/recordings"):
        ((status, text),) = place.ask(path)
        assert (status, json.loads(text)) == (
            503,
            {"error": "It can't be put on record, so it is not shown: the disk is full"},
        )


@pytest.mark.parametrize(
    ("name", "value", "status", "said"),
    [
        ("MAX_BYTES", 100, 413, "longer than"),
        ("LIMIT_S", 0.05, 504, "could not be read within"),
        ("MAX_WAITING", 0, 503, "too many recordings"),
    ],
)
def test_reading_has_its_bounds(
    place: Place, monkeypatch: pytest.MonkeyPatch, name: str, value: float, status: int, said: str
) -> None:
    monkeypatch.setattr(replaying, name, value)
    ((found, text),) = place.ask("/v1/recordings")
    assert (found, said in text) == (status, True), text


def test_what_waits_is_counted_and_let_go(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replaying, "MAX_WAITING", 1)
    assert sorted(status for status, _ in place.ask("/v1/recordings", "/v1/recordings")) == [200, 503]
    assert [status for status, _ in place.ask("/v1/recordings")] == [200]


def test_a_damaged_log_is_told_and_ends_nothing(place: Place) -> None:
    place.log.close()
    (segment,) = (place.paths.log / "entries").iterdir()
    whole = segment.read_bytes()
    segment.write_bytes(whole[:300] + b"\xff" * 20 + whole[320:])
    ((status, text),) = place.ask("/v1/recordings")
    assert (status, "the log is damaged" in text) == (500, True), text


def test_what_reads_reaches_nothing_else_and_has_no_power(place: Place, tmp_path: Path) -> None:
    secret = tmp_path / "secret.toml"
    secret.write_text("[secret]")
    folders = json.dumps({"reads": [str(place.paths.log), str(place.config.parent)], "writes": []})

    def run(config: Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-I", "-m", MODULE, folders, "--", "list", "--json", "--config", str(config)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={}, cwd="/")

    assert len(json.loads(run(place.config).stdout)) == 3
    refused = run(secret)
    assert (refused.returncode, "Permission denied" in refused.stderr) == (2, True), refused.stderr
    # PR_GET_NO_NEW_PRIVS, PR_CAPBSET_READ of CAP_CHOWN and CAP_SYS_ADMIN, PR_GET_SECCOMP (include/uapi/linux/prctl.h).
    code = f"""
import os
from hostguard.agent import reading
from hostguard.agent.sandbox.libc import prctl
reading.confine({folders})
print(os.nice(0), prctl(39), prctl(23, 0), prctl(23, 21), prctl(21))
"""
    told = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert told.stdout == "15 1 0 0 2\n", told.stderr


def test_a_user_who_is_none_any_more_may_nothing(place: Place) -> None:
    assert place.rights.sees(By("gone", 1000), "support-bot", "requests") is False
    assert place.rights.could(By("gone", 1000), "replay") is False
    with pytest.raises(NotAllowed, match="is no user of hostguard"):
        place.rights.insist(By("", 1000), "look", None, "look", what="status")
    assert [status for status, _ in place.ask("/v1/recordings", by=By("gone", 1000, "corp"))] == [403]
