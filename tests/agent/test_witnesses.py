"""Sealing, witnesses, retention of a daemon, without the daemon: real logs, real HTTP, stand-in witnesses on loopback."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import pytest
from sealed_log import SIGNER, assert_whole, ticking
from witness_server import Answers, TestWitness, hooked, witnessing

from hostguard.agent.failures import Failure
from hostguard.agent.retention import Retention
from hostguard.agent.sealing import Sealing
from hostguard.agent.shipping import Arrived
from hostguard.agent.witnesses import Witnesses
from hostguard.policy.outlet_sections import Witness
from hostguard.policy.sections import Log as LogSection
from hostguard.recorder.checkpoint import Checkpoint
from hostguard.recorder.durable import segment_names
from hostguard.recorder.entry import Cancel, LogRemoved
from hostguard.recorder.handover import Keys
from hostguard.recorder.log import Log
from hostguard.recorder.note import Signature
from hostguard.recorder.reader import Reader
from hostguard.recorder.treefiles import TreeFiles
from hostguard.recorder.witnessed import kept


class Sealed:
    """A log with its sealing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = Log(folder, ticking, segment_bytes=4000)
        self.sealing = Sealing.open(folder, SIGNER, self.log, 1.0)

    async def grow(self, count: int) -> None:
        for _ in range(count):
            self.log.append(0, Cancel(self.log.position))
        await self.sealing.seal()
        assert self.sealing.failure == ""

    def witnesses(self, **to: Witness) -> Witnesses:
        return Witnesses(self.folder, Keys(SIGNER.verifier), self.sealing, to, 1.0)


@pytest.fixture
def witness() -> Iterator[TestWitness]:
    with witnessing("witness.example/w1") as running:
        running.trust(str(SIGNER.verifier))
        yield running


Story = Callable[[Sealed], Coroutine[None, None, None]]


def told(folder: Path, story: Story) -> None:
    """Run a story about one log."""

    async def run() -> None:
        sealed = Sealed(folder)
        try:
            await story(sealed)
            await sealed.sealing.stop()
        finally:
            sealed.log.close()

    asyncio.run(run())


def test_a_witness_cosigns_each_head_from_the_one_before(tmp_path: Path, witness: TestWitness) -> None:
    async def story(sealed: Sealed) -> None:
        witnesses = sealed.witnesses(w1=Witness(url=witness.url, key=witness.key))
        for count in (1, 300, 5, 700):
            await sealed.grow(count)
            await witnesses.show()
            (shown,) = witnesses.shown
            assert (shown.size, shown.failure) == (sealed.log.position, "")
            assert witness.seen == sealed.sealing.checkpoint
        asked = len(witness.requests)
        await witnesses.show()
        assert len(witness.requests) == asked, "a head that it has is not shown again"
        found = kept(tmp_path, "w1", Keys(SIGNER.verifier), witness.key)
        assert found is not None
        assert found.cosigned_s is not None
        assert "stranger" not in found.note

    told(tmp_path, story)


def test_a_witness_whose_answer_was_lost_is_asked_what_it_has(tmp_path: Path, witness: TestWitness) -> None:
    async def story(sealed: Sealed) -> None:
        await sealed.grow(10)
        await sealed.witnesses(w1=Witness(url=witness.url, key=witness.key)).show()
        await sealed.grow(300)
        (tmp_path / "witness" / "w1").unlink()
        witnesses = sealed.witnesses(w1=Witness(url=witness.url, key=witness.key))
        assert witnesses.shown[0].size == 0
        await witnesses.show()
        assert witnesses.shown[0].failure == ""
        assert [body.split("\n")[0] for body in witness.requests] == ["old 0", "old 0", "old 11"]

    told(tmp_path, story)


@pytest.mark.parametrize(
    ("seen", "problem"),
    [
        (Checkpoint(SIGNER.name, 5000, bytes(32)), "it has seen 5000"),
        (Checkpoint(SIGNER.name, 5, bytes(32)), "other entries"),
    ],
)
def test_a_witness_that_has_seen_another_log_is_heard(
    tmp_path: Path, witness: TestWitness, seen: Checkpoint, problem: str
) -> None:
    async def story(sealed: Sealed) -> None:
        witness.seen = seen
        witnesses = sealed.witnesses(w1=Witness(url=witness.url, key=witness.key))
        await sealed.grow(10)
        await witnesses.show()
        assert problem in witnesses.shown[0].failure
        assert kept(tmp_path, "w1", Keys(SIGNER.verifier), witness.key) is None

    told(tmp_path, story)


class Forger(TestWitness):
    """Signs something else."""

    def cosigned(self, text: str) -> str:
        line = super().cosigned(text + "more\n").split("\n")[0]
        return line + "\n"


class Stranger(TestWitness):
    """Answers with the signature of somebody else only."""

    def cosigned(self, text: str) -> str:
        return Signature("stranger.example", b"\1\2\3\4", bytes(72)).line()


class Babbler(TestWitness):
    """Answers with no signature at all."""

    def cosigned(self, text: str) -> str:
        return "thank you\n"


@pytest.mark.parametrize(("kind", "problem"), [(Forger, "wrong"), (Stranger, "not cosigned by"), (Babbler, "no signature line")])
def test_an_answer_that_is_no_cosignature_counts_for_nothing(tmp_path: Path, kind: type[TestWitness], problem: str) -> None:
    async def story(sealed: Sealed) -> None:
        with witnessing("witness.example/w1", kind) as witness:
            witness.trust(str(SIGNER.verifier))
            witnesses = sealed.witnesses(w1=Witness(url=witness.url, key=witness.key))
            await sealed.grow(10)
            await witnesses.show()
            assert problem in witnesses.shown[0].failure
            assert witnesses.shown[0].size == 0

    told(tmp_path, story)


def test_nobody_listening_is_a_failure_that_is_told(tmp_path: Path) -> None:
    async def story(sealed: Sealed) -> None:
        witnesses = sealed.witnesses(w=Witness(webhook="http://127.0.0.1:1/x"))
        await sealed.grow(1)
        await witnesses.show()
        assert "127.0.0.1" in witnesses.shown[0].failure
        assert sealed.sealing.failure == ""

    told(tmp_path, story)


def test_a_web_hook_gets_each_head(tmp_path: Path) -> None:
    async def story(sealed: Sealed) -> None:
        with hooked(Answers(202)) as hook:
            witnesses = sealed.witnesses(w=Witness(webhook=hook.url))
            await sealed.grow(1)
            await witnesses.show()
            assert witnesses.shown[0].failure == ""
            assert hook.requests == [(tmp_path / "checkpoint").read_text(encoding="utf-8")]
            hook.answers.status = 503
            await sealed.grow(1)
            await witnesses.show()
            assert "503" in witnesses.shown[0].failure
            assert witnesses.shown[0].size == 2

    told(tmp_path, story)


def test_a_file_elsewhere_that_knows_better_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere"

    async def story(sealed: Sealed) -> None:
        witnesses = sealed.witnesses(f=Witness(file=str(path)))
        await sealed.grow(10)
        await witnesses.show()
        assert path.read_text(encoding="utf-8") == (sealed.folder / "checkpoint").read_text(encoding="utf-8")
        for other, problem in (
            (Checkpoint(SIGNER.name, 5000, bytes(32)), "5000 entries"),
            (Checkpoint(SIGNER.name, 5, bytes(32)), "other entries"),
        ):
            text = str(other.signed(SIGNER))
            path.write_text(text, encoding="utf-8")
            await sealed.grow(1)
            await witnesses.show()
            assert problem in witnesses.shown[0].failure
            assert path.read_text(encoding="utf-8") == text

    told(tmp_path / "log", story)


def test_a_witness_without_a_key_for_cosignatures_is_a_mistake(tmp_path: Path) -> None:
    async def story(sealed: Sealed) -> None:
        for key in (str(SIGNER.verifier), "w+00000000+" + "A" * 44):
            with pytest.raises(Failure, match=r"witnesses\.w\.key"):
                sealed.witnesses(w=Witness(url="http://127.0.0.1:1", key=key))

    told(tmp_path, story)


def test_a_seal_that_fails_is_told_and_made_up_for(tmp_path: Path) -> None:
    async def story(sealed: Sealed) -> None:
        await sealed.grow(3)
        (tmp_path / "checkpoint.new").mkdir()
        sealed.log.append(0, Cancel(1))
        await sealed.sealing.seal()
        assert "publish" in sealed.sealing.failure
        assert sealed.log.available
        (tmp_path / "checkpoint.new").rmdir()
        await sealed.sealing.seal()
        assert (sealed.sealing.failure, sealed.sealing.checkpoint.size) == ("", 5)

    told(tmp_path, story)


def test_retention_records_before_it_removes(tmp_path: Path) -> None:
    async def story(sealed: Sealed) -> None:
        await sealed.grow(700)
        retention = Retention(tmp_path, sealed.log, sealed.sealing, LogSection(keep_days=1))
        await retention.apply()
        assert retention.failure == ""
        assert segment_names(tmp_path)[0] > 0

    told(tmp_path, story)
    (record,) = (entry for _, entry in Reader(tmp_path).entries() if isinstance(entry, LogRemoved))
    assert record.reason == "keep 1 days"
    assert assert_whole(tmp_path).removed == record.before == segment_names(tmp_path)[0]


def test_retention_that_can_not_be_sealed_removes_nothing(tmp_path: Path) -> None:
    async def story(sealed: Sealed) -> None:
        await sealed.grow(700)
        (tmp_path / "checkpoint.new").mkdir()
        await Retention(tmp_path, sealed.log, sealed.sealing, LogSection(keep_days=1)).apply()
        assert segment_names(tmp_path)[0] == 0
        (tmp_path / "checkpoint.new").rmdir()

    told(tmp_path, story)


def test_what_is_kept_of_a_witness_survives_a_restart(tmp_path: Path, witness: TestWitness) -> None:
    async def first(sealed: Sealed) -> None:
        await sealed.grow(10)
        await sealed.witnesses(w1=Witness(url=witness.url, key=witness.key)).show()

    async def second(sealed: Sealed) -> None:
        (shown,) = sealed.witnesses(w1=Witness(url=witness.url, key=witness.key)).shown
        assert shown.size == 11
        assert shown.at > 0
        TreeFiles(tmp_path).replace("witness/w1", b"nonsense")
        with pytest.raises(Failure, match="w1"):
            sealed.witnesses(w1=Witness(url=witness.url, key=witness.key))

    told(tmp_path, first)
    told(tmp_path, second)


def test_retention_keeps_what_has_not_arrived(tmp_path: Path) -> None:
    """With shipping the rule alone removes nothing: only what the ledger says was verified in the bucket goes."""
    state = {"has": Arrived()}

    async def story(sealed: Sealed) -> None:
        await sealed.grow(1500)
        retention = Retention(tmp_path, sealed.log, sealed.sealing, LogSection(keep_days=1), lambda: state["has"])
        await retention.apply()
        assert segment_names(tmp_path)[0] == 0
        assert "has never run" in str(retention.waiting)
        assert retention.stuck
        state["has"] = Arrived(700, time.time())
        await retention.apply()
        first = segment_names(tmp_path)[0]
        assert 0 < first <= 512
        assert "those before 700 have arrived" in str(retention.waiting)
        assert not retention.stuck
        state["has"] = Arrived(700, time.time(), "S3 could not store it")
        await retention.apply()
        assert (segment_names(tmp_path)[0], retention.stuck) == (first, True)
        assert "S3 could not store it" in str(retention.waiting)
        state["has"] = Arrived(10_000, time.time())
        await retention.apply()
        assert segment_names(tmp_path)[0] > first
        assert retention.waiting is None

    told(tmp_path, story)
    assert assert_whole(tmp_path).removed == segment_names(tmp_path)[0]


def test_a_ledger_that_can_not_be_read_removes_nothing(tmp_path: Path) -> None:
    def unreadable() -> Arrived:
        raise sqlite3.DatabaseError("file is not a database")

    async def story(sealed: Sealed) -> None:
        await sealed.grow(700)
        retention = Retention(tmp_path, sealed.log, sealed.sealing, LogSection(keep_days=1), unreadable)
        await retention.apply()
        assert segment_names(tmp_path)[0] == 0
        assert "not a database" in retention.failure

    told(tmp_path, story)
