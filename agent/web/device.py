"""Signing in without a browser at hand: the device authorization grant (RFC 8628)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from .oidc import OidcProvider
from .signing import NotSignedIn, Person, token

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
MAX_BEGUN = 256
"""Sign-ins under way; the one that began first is forgotten."""
MAX_LIFE_S = 1800.0
INTERVAL_S, SLOWER_S, MAX_INTERVAL_S = 5.0, 5.0, 60.0
"""RFC 8628 §3.2, §3.5."""


@dataclass(frozen=True, slots=True)
class Begun:
    """What the user is to do, and how long there is for it."""

    handle: str
    """By which the sign-in is asked after."""
    code: str
    place: str
    """URL where the code is to be entered."""
    direct: str
    """URL that has the code in it; empty where the provider has none."""
    interval_s: float
    until: float


@dataclass(frozen=True, slots=True)
class _Waiting:
    provider: OidcProvider
    device_code: str
    interval_s: float
    asked_at: float
    until: float


class Devices:
    """Those under way, bounded."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, _Waiting] = OrderedDict()

    async def begin(self, provider: OidcProvider, now: float) -> Begun:
        """Raises NotSignedIn."""
        status, found = await provider.asked("device_authorization_endpoint", {"scope": provider.scope}, now)
        texts = {
            name: found.get(name, "") for name in ("device_code", "user_code", "verification_uri", "verification_uri_complete")
        }
        if status != 200 or not all(isinstance(text, str) and len(text) <= 2048 for text in texts.values()):
            raise provider.failed(f"it begins no sign-in by device: {found.get('error', status)!a:.120}")
        if (
            not texts["device_code"]
            or not texts["user_code"]
            or not texts["verification_uri"].startswith(("https://", "http://"))
        ):
            raise provider.failed("what it answers to a sign-in by device lacks code or URL")
        until = now + min(_seconds(found, "expires_in", MAX_LIFE_S), MAX_LIFE_S)
        interval_s = min(_seconds(found, "interval", INTERVAL_S), MAX_INTERVAL_S)
        handle = token()
        self._waiting[handle] = _Waiting(provider, texts["device_code"], interval_s, now, until)
        while len(self._waiting) > MAX_BEGUN:
            self._waiting.popitem(last=False)
        direct = texts["verification_uri_complete"]
        return Begun(handle, texts["user_code"], texts["verification_uri"], direct, interval_s, until)

    async def person(self, handle: str, now: float) -> tuple[str, Person] | None:
        """Provider and user, once they have said yes there; None while they have not. Raises NotSignedIn."""
        waiting = self._waiting.get(handle)
        if waiting is None or now >= waiting.until:
            self._waiting.pop(handle, None)
            raise NotSignedIn("this sign-in is over; begin anew")
        if now < waiting.asked_at + waiting.interval_s:
            return None
        self._waiting[handle] = replace(waiting, asked_at=now)
        form = {"grant_type": GRANT, "device_code": waiting.device_code}
        status, found = await waiting.provider.asked("token_endpoint", form, now)
        if status != 200 and found.get("error") in ("authorization_pending", "slow_down"):
            slower = SLOWER_S if found["error"] == "slow_down" else 0.0
            if handle in self._waiting:
                self._waiting[handle] = replace(waiting, asked_at=now, interval_s=waiting.interval_s + slower)
            return None
        if self._waiting.pop(handle, None) is None:
            raise NotSignedIn("this sign-in is over; begin anew")
        if status != 200:
            raise NotSignedIn(f"{waiting.provider.label} says {found.get('error', status)!a:.120}")
        return waiting.provider.name, await waiting.provider.verified(found.get("id_token"), None, now)


def _seconds(found: dict[str, Any], name: str, otherwise: float) -> float:
    value = found.get(name, otherwise)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e6 else otherwise
