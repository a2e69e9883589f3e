"""Objects in an S3 bucket: stored under a retention, checked by their SHA-256.

boto3 takes credentials from its usual places (environment, profile, role of the machine); none are in our configuration.
"""

from __future__ import annotations

import datetime
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from ..policy.document import Document
from ..policy.outlet_sections import Ship
from .failures import Failure
from .paths import Paths
from .shipping import Arrived, arrived

TIMEOUT_S = 30


def place_of(section: Ship, host: str) -> str:
    """What tells this bucket and prefix from others."""
    return f"{section.endpoint}|{section.bucket}|{prefix_of(section, host)}"


def prefix_of(section: Ship, host: str) -> str:
    """With which all keys begin; `host` stands in for ``{host}``."""
    prefix = section.prefix.replace("{host}", host).strip("/")
    return f"{prefix}/" if prefix else ""


class S3:
    """A bucket with a prefix, as `shipping.Store`."""

    def __init__(self, section: Ship, host: str, now: Callable[[], datetime.datetime]) -> None:
        """`host` stands in for ``{host}`` in the prefix; `now`: UTC. Raises Failure without boto3, or with a wrong endpoint."""
        try:
            import boto3  # not every host ships
            from botocore.config import Config
        except ImportError as error:
            raise Failure(f"shipping needs boto3 (pip install 'hostguard[ship]'): {error}") from None
        self._section = section
        self._now = now
        self._prefix = prefix_of(section, host)
        self.place = place_of(section, host)
        config = Config(connect_timeout=TIMEOUT_S, read_timeout=TIMEOUT_S, retries={"mode": "standard", "max_attempts": 4})
        with _told("open the endpoint"):
            self.client: Any = boto3.client(
                "s3", endpoint_url=section.endpoint or None, region_name=section.region or None, config=config
            )

    def put(self, key: str, data: bytes, checksum: str) -> None:
        """Store under the configured retention. S3 refuses what does not have the checksum; then it is asked what it has."""
        retain_until = None
        lock: dict[str, Any] = {}
        if self._section.retain_days:
            retain_until = self._now() + datetime.timedelta(days=self._section.retain_days)
            lock = {"ObjectLockMode": self._section.lock.upper(), "ObjectLockRetainUntilDate": retain_until}
        with _told(f"store {key}"):
            self.client.put_object(
                Bucket=self._section.bucket,
                Key=self._prefix + key,
                Body=data,
                ChecksumAlgorithm="SHA256",
                ChecksumSHA256=checksum,
                **lock,
            )
        found = self._head(key)
        if found is None or found.get("ChecksumSHA256") != checksum or found["ContentLength"] != len(data):
            raise Failure(f"the bucket does not have {key} as it was sent")
        if retain_until is not None and not _is_kept(found, retain_until, self._section.lock.upper()):
            raise Failure(f"the bucket took {key} without its retention: does it have Object Lock?")

    def checksum(self, key: str) -> str | None:
        """What S3 computed on arrival; None also where the retention ends too soon, so that it is stored anew."""
        found = self._head(key)
        if found is None or (self._section.retain_days and "ObjectLockRetainUntilDate" not in found):
            return None
        checksum = found.get("ChecksumSHA256")
        return str(checksum) if checksum else None

    def sizes(self, prefix: str) -> dict[str, int]:
        """Keys below our own prefix."""
        with _told(f"list {prefix}"):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self._section.bucket, Prefix=self._prefix + prefix
            )
            return {each["Key"][len(self._prefix) :]: int(each["Size"]) for page in pages for each in page.get("Contents", ())}

    def _head(self, key: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        with _told(f"look at {key}"):
            try:
                found = self.client.head_object(Bucket=self._section.bucket, Key=self._prefix + key, ChecksumMode="ENABLED")
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") == 404:
                    return None
                raise
        assert isinstance(found, dict)
        return found


def _is_kept(found: dict[str, Any], until: datetime.datetime, mode: str) -> bool:
    """S3 keeps seconds, so up to one of them is cut off."""
    kept = found.get("ObjectLockRetainUntilDate")
    return found.get("ObjectLockMode") == mode and kept is not None and until - kept < datetime.timedelta(seconds=2)


@contextmanager
def _told(step: str) -> Iterator[None]:
    """boto's errors as one sentence."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except (BotoCoreError, ClientError, ValueError) as error:
        raise Failure(f"S3 could not {step}: {error}") from None


def shipped(document: Document, paths: Paths) -> Callable[[], Arrived] | None:
    """How far the configured bucket has come; None where none is configured."""
    if not document.ship.bucket:
        return None
    place = place_of(document.ship, socket.gethostname())
    return lambda: arrived(paths.ledger, place)
