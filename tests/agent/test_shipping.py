"""The log in a bucket: whole, verified, kept, and what is there is enough to verify the log from it alone."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer
from sealed_log import SIGNER, SealedLog, assert_whole

from hostguard.agent.failures import Failure
from hostguard.agent.s3 import S3
from hostguard.agent.shipping import Arrived, Ledger, Shipped, Shipper, arrived
from hostguard.policy.outlet_sections import Ship
from hostguard.recorder.reader import Reader

BUCKET = "evidence"
NOW = datetime.datetime(2026, 11, 23, 8, tzinfo=datetime.UTC)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """An S3 of moto's on the loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "y"), ("AWS_DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)


class Bucket:
    """A bucket with Object Lock, and what is shipped into it."""

    def __init__(self, endpoint: str, folder: Path, bucket: str = BUCKET, lock: bool = True) -> None:
        self.section = Ship(bucket=bucket, prefix="runners/{host}", endpoint=endpoint, retain_days=30, tiles=True)
        self.store = S3(self.section, "one", lambda: NOW)
        self.ledger_path = folder / "ship.sqlite"
        self.client: Any = boto3.client("s3", endpoint_url=endpoint)
        self.client.create_bucket(Bucket=bucket, ObjectLockEnabledForBucket=lock)

    def ship(self, folder: Path) -> Shipped:
        with closing(Ledger(self.ledger_path)) as ledger:
            ledger.begin(self.store.place)
            return Shipper(folder, SIGNER.verifier, self.store, ledger, tiles=True).run()

    def reached(self) -> int:
        with closing(Ledger(self.ledger_path)) as ledger:
            return ledger.reached

    def objects(self) -> dict[str, bytes]:
        """Every key with its newest bytes."""
        return {
            key: self.client.get_object(Bucket=self.section.bucket, Key=f"runners/one/{key}")["Body"].read()
            for key in self.store.sizes("")
        }

    def restore(self, folder: Path) -> Path:
        """A log's folder, made of nothing but the bucket."""
        for key, data in sorted(self.objects().items()):
            name = key.rpartition("/")[0] if key.startswith("entries/") else key
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            with (folder / name).open("ab") as file:
                file.write(data)
        return folder


@pytest.fixture
def bucket(endpoint: str, tmp_path: Path, request: pytest.FixtureRequest) -> Bucket:
    return Bucket(endpoint, tmp_path, f"b{abs(hash(request.node.name))}")


@pytest.fixture
def sealed(tmp_path: Path) -> Iterator[SealedLog]:
    log = SealedLog(tmp_path / "log")
    yield log
    log.close()


def test_the_log_verifies_from_the_bucket_alone(bucket: Bucket, sealed: SealedLog, tmp_path: Path) -> None:
    sealed.fill(1000).seal()
    done = bucket.ship(sealed.folder)
    assert done.size == bucket.reached() == sealed.log.position
    assert len(list((sealed.folder / "entries").iterdir())) > 1
    assert_whole(bucket.restore(tmp_path / "restored"))


def test_only_what_is_sealed_goes_out_and_a_growing_segment_goes_in_parts(
    bucket: Bucket, sealed: SealedLog, tmp_path: Path
) -> None:
    sealed.fill(30).seal().fill(7)
    first = bucket.ship(sealed.folder)
    assert first.size == 31
    assert_whole(bucket.restore(tmp_path / "first"))
    assert len(list(Reader(tmp_path / "first").entries())) == 31
    sealed.fill(30).seal()
    second = bucket.ship(sealed.folder)
    assert second.size == 68
    parts = [key for key in bucket.objects() if key.startswith("entries/00000000000000000000.seg/")]
    assert len(parts) == 2
    assert_whole(bucket.restore(tmp_path / "second"))
    assert len(list(Reader(tmp_path / "second").entries())) == 68
    assert bucket.ship(sealed.folder).objects == 0
    heads = [key for key in bucket.objects() if key.startswith("checkpoints/")]
    assert heads == [f"checkpoints/{size:020d}" for size in (31, 68)]


def test_every_object_is_under_the_retention(bucket: Bucket, sealed: SealedLog) -> None:
    sealed.fill(60).seal()
    bucket.ship(sealed.folder)
    for key in bucket.objects():
        head = bucket.client.head_object(Bucket=bucket.section.bucket, Key=f"runners/one/{key}")
        assert head["ObjectLockMode"] == "COMPLIANCE"
        assert head["ObjectLockRetainUntilDate"] == NOW + datetime.timedelta(days=30)


def test_a_pass_that_broke_off_goes_on_where_it_was(bucket: Bucket, sealed: SealedLog, tmp_path: Path) -> None:
    sealed.fill(400).seal()
    sent: list[str] = []

    def breaks(params: dict[str, Any], **_: object) -> None:
        if len(sent) == 5:
            raise ValueError("the network is gone")
        sent.append(params["url_path"])

    bucket.store.client.meta.events.register("before-call.s3.PutObject", breaks)
    with pytest.raises(Failure, match="the network is gone"):
        bucket.ship(sealed.folder)
    assert bucket.reached() == 0
    assert "checkpoint" not in bucket.objects()
    bucket.store.client.meta.events.unregister("before-call.s3.PutObject", breaks)
    before = bucket.objects()
    done = bucket.ship(sealed.folder)
    assert len(before) == 5
    assert done.objects == len(bucket.objects()) - 5
    assert_whole(bucket.restore(tmp_path / "restored"))


def test_a_lost_ledger_sends_nothing_twice(bucket: Bucket, sealed: SealedLog) -> None:
    sealed.fill(120).seal()
    first = bucket.ship(sealed.folder)
    bucket.ledger_path.unlink()
    second = bucket.ship(sealed.folder)
    assert (second.objects, second.bytes) == (0, 0)
    # Entries are known by the parts' sizes, everything else by its checksum.
    assert second.known == first.objects - sum(key.startswith("entries/") for key in bucket.objects())
    assert bucket.reached() == first.size


def test_what_did_not_arrive_as_it_was_sent_is_a_failure(bucket: Bucket, sealed: SealedLog) -> None:
    sealed.fill(10).seal()
    other: Any = boto3.client("s3", endpoint_url=bucket.section.endpoint)

    def tampers(params: dict[str, Any], **_: object) -> None:
        key = params["url_path"].partition("?")[0].removeprefix(f"/{bucket.section.bucket}/").lstrip("/")
        listed = other.list_objects_v2(Bucket=bucket.section.bucket, Prefix=key).get("Contents", ())
        if listed:
            other.put_object(Bucket=bucket.section.bucket, Key=key, Body=b"forged", ChecksumAlgorithm="SHA256")

    bucket.store.client.meta.events.register("before-call.s3.HeadObject", tampers)
    with pytest.raises(Failure, match=r"does not have .* as it was sent"):
        bucket.ship(sealed.folder)
    assert bucket.reached() == 0


def test_what_retention_removed_before_it_was_shipped_is_told(bucket: Bucket, sealed: SealedLog) -> None:
    sealed.fill(1000).seal()
    first, second, *_ = sorted((sealed.folder / "entries").iterdir())
    first.unlink()
    assert bucket.ship(sealed.folder).missed == int(second.stem)
    assert bucket.ship(sealed.folder).missed == 0


def test_how_far_the_bucket_has_come_is_asked_of_the_ledger(bucket: Bucket, sealed: SealedLog, tmp_path: Path) -> None:
    assert arrived(tmp_path / "none", bucket.store.place) == Arrived()
    sealed.fill(30).seal()
    bucket.ship(sealed.folder)
    assert arrived(bucket.ledger_path, bucket.store.place) == Arrived(31)
    assert arrived(bucket.ledger_path, "another bucket") == Arrived()
    with closing(Ledger(bucket.ledger_path)) as ledger:
        ledger.try_ended(7.0, "the bucket is gone")
        assert arrived(bucket.ledger_path, bucket.store.place) == Arrived(31, 7.0, "the bucket is gone")
        ledger.try_ended(8.0)
    assert arrived(bucket.ledger_path, bucket.store.place) == Arrived(31, 8.0)


def test_a_checkpoint_of_another_key_is_not_shipped(bucket: Bucket, sealed: SealedLog) -> None:
    sealed.fill(10).seal()
    path = sealed.folder / "checkpoint"
    path.write_text(path.read_text().replace("example.com/log", "example.com/lag"))
    with pytest.raises(Failure, match="is not shipped"):
        bucket.ship(sealed.folder)
    assert bucket.objects() == {}


def test_a_log_that_is_not_sealed_yet_is_nothing_to_ship(bucket: Bucket, tmp_path: Path) -> None:
    assert bucket.ship(tmp_path / "none") == Shipped()


def test_the_command_ships_once_and_says_how_far(endpoint: str, tmp_path: Path) -> None:
    boto3.client("s3", endpoint_url=endpoint).create_bucket(Bucket="commanded")
    shop = Path(__file__).resolve().parents[2] / "examples" / "shop"
    text = (shop / "hostguard.toml").read_text().replace("/var/lib/hostguard", str(tmp_path / "state"))
    config = tmp_path / "hostguard.toml"
    config.write_text(
        text.replace('"policies/', f'"{shop}/policies/')
        + f'\n[ship]\nbucket = "commanded"\nendpoint = "{endpoint}"\nprefix = "x"\n'
    )
    state = tmp_path / "state"
    state.mkdir()
    (state / "log.key").write_text(f"{SIGNER}\n")
    log = SealedLog(state / "log").fill(20).seal()
    log.close()
    words = [str(Path(sys.executable).with_name("hostguard")), "ship", "--once", "--config", str(config)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "the bucket has all entries before 21" in done.stderr
    config.write_text(config.read_text().replace('"commanded"', '"absent"'))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "NoSuchBucket" in done.stderr
    assert "Traceback" not in done.stderr
    assert json.dumps(sorted(path.name for path in state.glob("ship*"))) == '["ship.sqlite"]'
