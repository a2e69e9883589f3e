"""Reads secrets where they are: files, the daemon's first environment, what a command prints, Vault, AWS.

No failure's text holds what was read.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ...policy.credential_sections import Aws, Vault
from ...policy.credentials import Reference
from .unreadable import Unreadable
from .vault import VaultReader

MAX_SECRET_BYTES = 1 << 16
TIMEOUT_S = 15.0
"""For one secret from wherever; a Vault that does not answer is given up sooner."""


class Sources:
    """All of them, under one roof."""

    def __init__(self, environment: Mapping[str, str], vault: Vault, aws: Aws, run: Callable[[str], Awaitable[bytes]]) -> None:
        """`run`: what a configured command prints; raises Unreadable."""
        self._environment = environment
        self._vault = VaultReader(vault) if vault.address else None
        self._aws = aws
        self._aws_client: Any = None
        self._run = run

    async def read(self, place: Reference) -> bytes:
        """The secret that is there now, without the line's end that editors put behind it. Raises Unreadable."""
        try:
            async with asyncio.timeout(TIMEOUT_S):
                secret = await self._read(place)
        except TimeoutError:
            raise Unreadable(f"no answer within {TIMEOUT_S:.0f} s") from None
        if not secret:
            raise Unreadable("it is empty")
        if len(secret) > MAX_SECRET_BYTES:
            raise Unreadable(f"it has more than {MAX_SECRET_BYTES} bytes")
        return secret

    async def _read(self, place: Reference) -> bytes:
        match place.kind:
            case "file":
                return _line(await asyncio.to_thread(_file, place.place))
            case "env":
                return self._variable(place.place)
            case "command":
                return _line(await self._run(place.place))
            case "vault":
                assert self._vault is not None
                return await asyncio.to_thread(self._vault.read, place.place, place.field)
            case "aws":
                return await asyncio.to_thread(self._from_aws, place.place, place.field)

    def _variable(self, name: str) -> bytes:
        value = self._environment.get(name)
        if value is None:
            raise Unreadable(f"the daemon was started without {name} in its environment")
        return os.fsencode(value)

    def _from_aws(self, identifier: str, field: str) -> bytes:
        try:
            from botocore.exceptions import BotoCoreError, ClientError
        except ImportError:
            raise Unreadable("aws: needs boto3 (pip install 'hostguard[aws]')") from None
        try:
            if self._aws_client is None:
                self._aws_client = _aws_client(self._aws, self._environment)
            found = self._aws_client.get_secret_value(SecretId=identifier)
        except ClientError as error:
            raise Unreadable(f"AWS refused: {error.response.get('Error', {}).get('Code', 'no code')}") from None
        except (BotoCoreError, ValueError) as error:
            raise Unreadable(f"AWS could not be asked: {type(error).__name__}") from None
        if field:
            return field_of(found.get("SecretString") or "", field)
        text = found.get("SecretString")
        return text.encode() if text is not None else bytes(found.get("SecretBinary") or b"")


def field_of(text: str, field: str) -> bytes:
    """A field of a secret that is a JSON object. Raises Unreadable."""
    try:
        value = json.loads(text)[field]
    except (ValueError, KeyError, TypeError, IndexError):
        raise Unreadable(f"it is no JSON object with a field {field}") from None
    if not isinstance(value, str):
        raise Unreadable(f"its field {field} is no text")
    return value.encode()


def _file(place: str) -> bytes:
    try:
        with open(place, "rb") as file:
            return file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        hint = ": the broker reads as root without capabilities, so the file must be root's" if error.errno == 13 else ""
        raise Unreadable(f"{place}: {error.strerror}{hint}") from None


def _line(data: bytes) -> bytes:
    return data.removesuffix(b"\n").removesuffix(b"\r")


def _aws_client(section: Aws, environment: Mapping[str, str]) -> Any:
    import boto3  # not every host has it, and it takes a second
    from botocore.config import Config

    # What the daemon had in its environment; the broker's own is empty.
    os.environ.update({name: value for name, value in environment.items() if name.startswith("AWS_")})
    session = boto3.Session(profile_name=section.profile or None, region_name=section.region or None)
    config = Config(connect_timeout=3, read_timeout=5, retries={"mode": "standard", "max_attempts": 2})
    return session.client("secretsmanager", endpoint_url=section.endpoint or None, config=config)
