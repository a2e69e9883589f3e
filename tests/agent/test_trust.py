"""What workers are told of roots: those of the files that the configuration names, as they are now."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from certificates import Authority

from hostguard.agent import messages, trust
from hostguard.agent.broker.keeper import Keeper
from hostguard.agent.faults import Faults
from hostguard.agent.paths import Paths
from hostguard.policy.document import load

CONFIG = """
[daemon]
state_dir = "FOLDER/state"
run_dir = "FOLDER/run"
[policy]
files = ["none.cedar"]
[resources.one]
protocol = "postgres"
addresses = ["db.example:5432"]
server_roots = "FOLDER/one.pem"
[resources.two]
protocol = "postgres"
addresses = ["db.example:5433"]
server_roots = "FOLDER/two.pem"
"""


def roots(told: messages.Tls) -> dict[str, str]:
    return {name: each.pem for each in told.roots for name in each.resources}


def test_a_renewed_roots_file_is_told_for_its_resource_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that takes its place and is empty changes nothing, but is told."""
    monkeypatch.setattr(trust, "LOOK_S", 0.01)
    pems = [Authority().pem for _ in range(4)]
    one, two = tmp_path / "one.pem", tmp_path / "two.pem"
    one.write_text(pems[0])
    two.write_text(pems[1])
    (tmp_path / "none.cedar").write_text("")
    (tmp_path / "hostguard.toml").write_text(CONFIG.replace("FOLDER", str(tmp_path)))
    document = load(tmp_path / "hostguard.toml")

    async def follow() -> None:
        told: asyncio.Queue[messages.Tls] = asyncio.Queue()
        paths = Paths.of(document)
        followed = trust.Trust(document, paths.bundle, paths.authorities)
        followed.serve(Keeper(document, paths, "host", Faults(), lambda: None), told.put_nowait)
        assert roots(followed.tls) == {"one": pems[0], "two": pems[1]}
        running = asyncio.create_task(followed.run())
        try:
            (tmp_path / "new.pem").write_text(pems[2])
            (tmp_path / "new.pem").rename(one)
            assert roots(await told.get()) == {"one": pems[2], "two": pems[1]}
            (tmp_path / "empty.pem").write_text("")
            (tmp_path / "empty.pem").rename(two)
            assert roots(await told.get()) == {"one": pems[2], "two": pems[1]}
            assert "holds no certificate" in followed.failure
            (tmp_path / "new.pem").write_text(pems[3])
            os.utime(tmp_path / "new.pem", ns=(0, 1))
            (tmp_path / "new.pem").rename(two)
            assert roots(await told.get()) == {"one": pems[2], "two": pems[3]}
            assert followed.failure == ""
        finally:
            running.cancel()

    asyncio.run(asyncio.wait_for(follow(), 10))
