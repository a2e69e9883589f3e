"""The daemon's log as evidence: sealed while it works, witnessed, whole after kill -9, proven with nothing but a key."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import guard
import pytest
from servers import Server
from witness_server import Answers, TestWitness, hooked, witnessing

from hostguard.recorder.note import Signer

POLICY = """
@id("workers read")
permit (principal in Role::"worker", action, resource);
"""
ASK = "import psycopg\nfor n in range(20): psycopg.connect('').execute(f'SELECT {n}').fetchall()"


@pytest.fixture
def witness() -> Iterator[TestWitness]:
    with witnessing("witness.example/w1") as running:
        yield running


class Watched(guard.Setup):
    """A setup with witnesses, sealing each second."""

    def files(self, place: guard.Place) -> dict[str, str]:
        files = dict(super().files(place))
        files["hostguard.toml"] = files["hostguard.toml"].replace("[log]\n", "[log]\nseal_s = 1\nwitness_s = 1\n")
        return files


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it comes to hold within a minute."""
    deadline = time.monotonic() + 60
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return held


def setup(postgres18: Server, tables: str) -> Watched:
    resources = {"pg": f"{postgres18.host}:{postgres18.port}"}
    return Watched(agents={"one": guard.Agent(("worker",))}, resources=resources, policies=POLICY, tags=tables)


def work(guarded: guard.Guard, server: Server) -> None:
    result = guarded.run("one", [sys.executable, "-c", ASK], server.environment())
    assert result.returncode == 0, result.stderr


def test_a_log_is_sealed_witnessed_and_verified_also_after_kill_9(
    postgres18: Server, witness: TestWitness, tmp_path: Path
) -> None:
    with hooked(Answers(200)) as hook:
        tables = (
            f'[witnesses.w1]\nurl = "{witness.url}"\nkey = "{witness.key}"\n'
            f'[witnesses.elsewhere]\nfile = "{tmp_path}/head"\n[witnesses.chat]\nwebhook = "{hook.url}"\n'
        )
        with guard.prepared(setup(postgres18, tables)) as guarded:
            signer = Signer("test/hostguard", b"s" * 32)
            witness.trust(str(signer.verifier))
            (guarded.folder / "state").mkdir()
            (guarded.folder / "state" / "log.key").write_text(f"{signer}\n")
            guarded.start()
            assert guarded.ask("log", "key")["key"] == str(signer.verifier)
            work(guarded, postgres18)
            assert eventually(lambda: min(w["size"] for w in guarded.status()["log"]["witnesses"]) > 60)
            guarded.kill()
            verified = guarded.ask("log", "verify")
            assert verified["verified"]
            assert {w["name"].split()[0] for w in verified["witnesses"]} == {"w1", "elsewhere", "chat"}
            remembered = tmp_path / "remembered"
            remembered.write_text(guarded.cli("log", "checkpoint").stdout)
            guarded.start()
            work(guarded, postgres18)
            assert guarded.stop() == 0
            verified = guarded.ask("log", "verify", "--from", str(remembered))
            assert verified["sealed"] == verified["entries"] > int(remembered.read_text().split("\n")[1])
            shown = guarded.cli("log", "verify").stdout
            assert "exactly those that were sealed" in shown
            assert "witness w1 cosigned on" in shown
            proof = tmp_path / "proof"
            proof.write_text(guarded.cli("log", "prove", "5").stdout)
            assert "witness.example/w1" in proof.read_text()
            assert guarded.ask("log", "check-proof", str(proof))["entry"] == 5
            segment = next((guarded.folder / "state" / "log" / "entries").iterdir())
            data = bytearray(segment.read_bytes())
            data[300] ^= 1
            segment.write_bytes(data)
            result = guarded.cli("log", "verify")
            assert result.returncode == 1
            assert "expected" in result.stdout
            assert "not what was sealed" in result.stdout


def test_a_new_key_goes_on_with_the_same_log_and_the_same_witnesses(
    postgres18: Server, witness: TestWitness, tmp_path: Path
) -> None:
    tables = f'[witnesses.w1]\nurl = "{witness.url}"\nkey = "{witness.key}"\n[witnesses.elsewhere]\nfile = "{tmp_path}/head"\n'
    with guard.prepared(setup(postgres18, tables)) as guarded:
        old = Signer("test/hostguard", b"s" * 32)
        witness.trust(str(old.verifier))
        (guarded.folder / "state").mkdir()
        (guarded.folder / "state" / "log.key").write_text(f"{old}\n")
        guarded.start()
        work(guarded, postgres18)
        assert eventually(lambda: min(w["size"] for w in guarded.status()["log"]["witnesses"]) > 60)
        refused = guarded.cli("log", "rotate-key")
        assert refused.returncode == 1
        assert "daemon" in refused.stderr
        unfinished = guarded.folder / "state" / "log.key.next"
        unfinished.write_text("")
        assert "broke off" in guarded.cli("status").stdout
        unfinished.unlink()
        assert guarded.stop() == 0
        remembered = tmp_path / "remembered"
        remembered.write_text(guarded.cli("log", "checkpoint").stdout)
        told = guarded.ask("log", "rotate-key")
        assert (told["old"], told["key"]) == (str(old.verifier), guarded.ask("log", "key")["key"])
        witness.trust(told["key"])
        guarded.start()
        before = guarded.ask("status")["log"]["sealed"]
        work(guarded, postgres18)
        assert eventually(lambda: min(w["size"] for w in guarded.status()["log"]["witnesses"]) > before + 60)
        assert guarded.is_guarding()
        assert guarded.stop() == 0
        assert guarded.ask("log", "verify")["verified"]
        by_old = guarded.ask("log", "verify", "--key", str(old.verifier), "--from", str(remembered))
        assert (by_old["verified"], by_old["keys"]) == (True, [told["old"], told["key"]])


def test_a_log_that_was_exchanged_under_its_checkpoint_is_not_written_on(postgres18: Server) -> None:
    with guard.prepared(setup(postgres18, "")) as guarded:
        guarded.start()
        assert guarded.stop() == 0
        folder = guarded.folder / "state" / "log"
        segment = next((folder / "entries").iterdir())
        segment.write_bytes(segment.read_bytes()[:100])
        with pytest.raises(RuntimeError, match="not the one that was sealed"):
            guarded.start()


def test_a_witness_that_fails_is_a_problem_and_stops_nothing(postgres18: Server) -> None:
    with hooked(Answers(200)) as hook, guard.guarding(setup(postgres18, f'[witnesses.w]\nwebhook = "{hook.url}"\n')) as guarded:
        work(guarded, postgres18)
        assert eventually(lambda: guarded.status()["log"]["witnessed"] > 0)
        hook.answers.status = 500
        work(guarded, postgres18)
        assert eventually(lambda: not guarded.is_guarding())
        facts = json.loads(guarded.cli("status", "--json").stdout)
        assert facts["state"] == "degraded"
        assert any("witness w did not take" in problem and "500" in problem for problem in facts["problems"])
        hook.answers.status = 200
        assert eventually(guarded.is_guarding)
