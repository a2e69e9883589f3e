"""Reads secrets in HashiCorp Vault or OpenBao by hvac, logged in by a token's file or by AppRole."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from ...policy.credential_sections import Vault
from ..authority.bundle import system_bundle
from .unreadable import Unreadable

TIMEOUT_S = 5


class VaultReader:
    """One server."""

    def __init__(self, section: Vault) -> None:
        self._section = section
        self._client: Any = None
        self._one_at_a_time = threading.Lock()

    def read(self, path: str, field: str) -> bytes:
        """A field of what is at the path: of version 2's ``data`` below ``data`` where that is what comes. Raises Unreadable."""
        try:
            import hvac.exceptions
            import requests
        except ImportError:
            raise Unreadable("vault: needs hvac (pip install 'hostguard[vault]')") from None
        try:
            with self._one_at_a_time:
                answer = self._ask(path)
        except hvac.exceptions.VaultError as error:
            self._client = None
            raise Unreadable(f"Vault refused: {type(error).__name__}") from None
        except requests.RequestException as error:
            raise Unreadable(f"Vault at {self._section.address} could not be asked: {type(error).__name__}") from None
        except OSError as error:
            raise Unreadable(f"{error.filename}: {error.strerror}") from None
        except ValueError:
            raise Unreadable("the file that Vault's login takes is not text") from None
        if answer is None:
            raise Unreadable(f"nothing is at {path} in Vault")
        return _field(answer, path, field)

    def _ask(self, path: str) -> Any:
        import hvac.exceptions

        try:
            return self._logged_in().read(path)
        except hvac.exceptions.Forbidden:
            # A token ends, or its file was replaced: once more with a fresh one.
            self._client = None
            return self._logged_in().read(path)

    def _logged_in(self) -> Any:
        if self._client is not None:
            return self._client
        import hvac

        section = self._section
        roots = section.ca or str(system_bundle() or "") or True
        client = hvac.Client(url=section.address, verify=roots, namespace=section.namespace or None, timeout=TIMEOUT_S)
        if section.token_file:
            client.token = Path(section.token_file).read_text(encoding="utf-8").strip()
        else:
            secret = Path(section.secret_id_file).read_text(encoding="utf-8").strip()
            client.auth.approle.login(section.role_id, secret, mount_point=section.approle_mount)
        self._client = client
        return client


def _field(answer: Any, path: str, field: str) -> bytes:
    data = answer.get("data") if isinstance(answer, dict) else None
    # KV version 2 wraps what was written: {"data": {"data": {…}, "metadata": {…}}}.
    if isinstance(data, dict) and isinstance(data.get("data"), dict) and "metadata" in data:
        data = data["data"]
    value = data.get(field) if isinstance(data, dict) else None
    if not isinstance(value, str):
        raise Unreadable(f"what is at {path} in Vault has no text field {field}")
    return value.encode()
