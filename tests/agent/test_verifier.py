"""The verifier's own process, in its cage, before real identity providers: oidc-provider from npm, pysaml2's."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from agents_provider import Provider, provider
from asserting import certificate
from documents import SMALL, write
from issuing import b64, ec, forged, hmac_signed, rsa, signed
from joserfc.jwk import Key
from saml_provider import AUDIENCE, ENTITY, RECIPIENT, SamlProvider

from hostguard.agent.faults import Faults
from hostguard.agent.verifier import messages
from hostguard.agent.verifier.keeper import Keeper, VerifierAway
from hostguard.agent.verifier.presenting import MAX_NAME_BYTES, Nothing, parse
from hostguard.identity.verified import MAX_TOKEN_BYTES
from hostguard.policy.document import load

NOBODY = 65534
FIRST = rsa("r1")
KEYS: list[Key] = [FIRST, ec("e1")]
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
T = TypeVar("T")
TABLES = """
[agents.bot.identity.corp]
subject = "bot"
[agents.bot.identity.partner]
subject = "bot@corp.example"
[issuers.corp]
issuer = "{issuer}"
audiences = ["https://hostguard.example"]
algorithms = ["RS256", "ES256"]
[[issuers.corp.roles]]
claim = "groups"
contains = "support"
role = "support"
[issuers.partner]
kind = "saml"
issuer = "{entity}"
audiences = ["{audience}"]
recipient = "{recipient}"
certificates = "{certificates}"
[[issuers.partner.roles]]
claim = "groups"
contains = "support"
role = "support"
"""


@pytest.fixture(scope="module")
def corp() -> Iterator[Provider]:
    with provider("bot", keys=KEYS) as running:
        yield running


@pytest.fixture(scope="module")
def partner(tmp_path_factory: pytest.TempPathFactory) -> SamlProvider:
    return SamlProvider(tmp_path_factory.mktemp("saml"), certificate())


def ask(folder: Path, corp: Provider, partner: SamlProvider, work: Callable[[Keeper], Awaitable[T]]) -> T:
    """Have a verifier's process for as long as the work takes."""
    (folder / "idp.pem").write_bytes(partner.certificate.chain)
    names = {"issuer": corp.issuer, "entity": ENTITY, "audience": AUDIENCE, "recipient": RECIPIENT}
    toml = SMALL + TABLES.format(**names, certificates=folder / "idp.pem")
    keeper = Keeper(load(write(folder, toml)), (NOBODY, NOBODY), Faults())

    async def play() -> T:
        running = asyncio.create_task(keeper.run())
        try:
            async with asyncio.timeout(60):
                await keeper.ready.wait()
                return await work(keeper)
        finally:
            running.cancel()
            child = keeper.leave()
            if child is not None:
                await child.wait()

    return asyncio.run(play())


def attacks(corp: Provider) -> dict[str, tuple[bytes, str]]:
    """What can be made of a real token, each with what it is refused for."""
    good, now = corp.token("bot"), time.time()
    head, body, _ = good.split(b".")
    claims = _json(body)
    header, ours, key = _json(head), json.dumps(claims).encode(), FIRST
    roots = b".".join((head, b64(ours.replace(b"bot", b"root")), good.split(b".")[2]))
    pem, public = key.as_pem(private=False), json.dumps(key.as_dict(private=False)).encode()

    def by(changed: dict[str, Any], key: Key = key, **header: Any) -> bytes:
        return signed(key, {**claims, **changed}, typ="at+jwt", **header)

    return {
        "alg none": (forged({**header, "alg": "none"}, ours, b""), "algorithm"),
        "alg none, the signature left": (forged({**header, "alg": "none"}, ours, b"x"), "algorithm"),
        "HMAC with the public key": (hmac_signed({**header, "alg": "HS256"}, ours, pem), "algorithm"),
        "HMAC with the public key, as a JWK": (hmac_signed({**header, "alg": "HS256"}, ours, public), "algorithm"),
        "HMAC that says RSA": (hmac_signed(header, ours, pem), "signature"),
        "another's key under the kid": (by({}, rsa("r1")), "signature"),
        "an unknown kid": (by({}, rsa("r7")), "key"),
        "key confusion": (forged({**header, "alg": "ES256"}, ours, b"x" * 64), "key"),
        "a key of its own": (by({}, (own := rsa("r1")), jwk=own.as_dict(private=False)), "header"),
        "a jku": (by({}, jku="http://127.0.0.1:9/keys"), "header"),
        "another audience": (corp.token("bot", "https://others.example"), "audience"),
        "expired": (by({"exp": now - 1}), "expired"),
        "from the future": (by({"nbf": now + 3600}), "early"),
        "issuer mix-up": (by({"iss": "https://other.example"}), "issuer"),
        "other claims, the old signature": (roots, "signature"),
        "no token": (b"x", "malformed"),
        "too long": (b"x" * (MAX_TOKEN_BYTES + 1), "malformed"),
    }


def two_signatures(corp: Provider) -> tuple[bytes, bytes]:
    """One token, signed by the provider's second key, in two ways."""
    claims = {"iss": corp.issuer, "sub": "bot", "aud": "https://hostguard.example", "exp": time.time() + 60}
    token = signed(KEYS[1], claims, "ES256")
    content, _, signature = token.rpartition(b".")
    raw = base64.urlsafe_b64decode(signature + b"==")
    s = P256_ORDER - int.from_bytes(raw[32:], "big")
    return token, content + b"." + b64(raw[:32] + s.to_bytes(32, "big"))


def _json(part: bytes) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + b"=="))


def test_real_tokens_in_the_cage(tmp_path: Path, corp: Provider, partner: SamlProvider) -> None:
    made = attacks(corp)
    answers = partner.attacks()

    async def work(keeper: Keeper) -> None:
        good = await keeper.verify("corp", corp.token("bot"))
        assert good.vouched is not None, good
        assert (good.vouched.issuer, good.vouched.subject, good.vouched.roles) == (corp.issuer, "bot", ("support",))
        assert good.vouched.key == FIRST.thumbprint()
        found = {name: (await keeper.verify("corp", token)).fault for name, (token, _) in made.items()}
        assert found == {name: fault for name, (_, fault) in made.items()}
        # An ECDSA signature can be made another right one without the key (s to n - s): it is the same token all the same.
        one, other = [await keeper.verify("corp", token) for token in two_signatures(corp)]
        assert one == other
        assert one.vouched is not None
        said = await keeper.verify("partner", partner.response())
        assert said.vouched is not None, said
        assert (said.vouched.subject, said.vouched.roles) == ("bot@corp.example", ("support",))
        found = {name: (await keeper.verify("partner", document)).fault for name, (document, _) in answers.items()}
        assert found == {name: fault for name, (_, fault) in answers.items()}
        assert (await keeper.verify("nobody", b"x")).fault == "issuer"
        assert keeper.applied is not None
        assert keeper.applied.uid == NOBODY
        assert set(keeper.published["corp"].keys) == {key.thumbprint() for key in KEYS}
        status = Path(f"/proc/{keeper.pid}/status").read_text()
        assert "CapEff:\t0000000000000000" in status
        assert "Seccomp:\t2" in status

    ask(tmp_path, corp, partner, work)


def test_a_verifier_that_dies_is_followed_by_another(tmp_path: Path, corp: Provider, partner: SamlProvider) -> None:
    async def work(keeper: Keeper) -> None:
        before = keeper.pid
        os.kill(before, signal.SIGKILL)
        while keeper.ready.is_set():
            await asyncio.sleep(0.01)
        with pytest.raises(VerifierAway):
            await keeper.verify("corp", b"x")
        while not keeper.ready.is_set() or keeper.pid == before:
            await asyncio.sleep(0.05)
        assert (await keeper.verify("corp", corp.token("bot"))).vouched is not None

    ask(tmp_path, corp, partner, work)


def test_keys_that_the_provider_changes(tmp_path: Path, partner: SamlProvider) -> None:
    """Another provider at the same place, with other keys: as one that has rotated them all."""
    with provider("bot", keys=[rsa("r1")]) as first:
        token, port = first.token("bot"), int(first.issuer.rpartition(":")[2])

        async def work(keeper: Keeper) -> None:
            assert (await keeper.verify("corp", token)).vouched is not None
            await asyncio.to_thread(first.stop)
            with provider("bot", keys=[rsa("r2")], port=port) as second:
                newer = await asyncio.to_thread(second.token, "bot")
                # An unknown key is asked for, but not more often than every ten seconds.
                async with asyncio.timeout(30):
                    while (await keeper.verify("corp", newer)).vouched is None:
                        await asyncio.sleep(0.5)
                assert (await keeper.verify("corp", token)).fault == "key"

        ask(tmp_path, first, partner, work)


def test_it_loads_nothing_of_the_supervisors() -> None:
    program = "import hostguard.agent.verifier.process, sys; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    wrong = [
        name
        for name in loaded
        if name.startswith(("hostguard.kernel", "hostguard.protocols.postgres", "click", "hostguard.recorder.log"))
        or name in ("hostguard.agent.verifier.keeper", "hostguard.agent.verifier.service", "hostguard.agent.daemon")
    ]
    assert wrong == []


DIGEST = "0" * 64
VOUCHED = messages.Vouched("i", "s", 1.0, "t", "k", ())


@pytest.mark.parametrize(
    "message",
    [
        messages.Answered(-1, messages.Verdict(DIGEST)),
        messages.Answered(1, messages.Verdict("short")),
        messages.Answered(1, messages.Verdict(DIGEST, None, "x" * 33)),
        messages.Answered(1, messages.Verdict(DIGEST, None, "x", "y" * 9000)),
        messages.Answered(1, messages.Verdict(DIGEST, msgspec.structs.replace(VOUCHED, subject=""))),
        messages.Answered(1, messages.Verdict(DIGEST, msgspec.structs.replace(VOUCHED, subject="x" * 1025))),
        messages.Answered(1, messages.Verdict(DIGEST, msgspec.structs.replace(VOUCHED, expires_at=1e12))),
        messages.Answered(1, messages.Verdict(DIGEST, msgspec.structs.replace(VOUCHED, roles=("x" * 65,)))),
        messages.Presented(1, "x" * 65, messages.Verdict(DIGEST)),
        messages.Keys(messages.Published("x", ("y",) * 257, 0.0, "")),
        messages.Ping(1),
    ],
)
def test_a_message_that_breaks_a_rule_is_none(message: msgspec.Struct) -> None:
    with pytest.raises(msgspec.MsgspecError):
        messages.from_verifier(messages.encode(message))


def test_one_that_tells_of_an_issuer_that_is_none_is_ended(tmp_path: Path, corp: Provider, partner: SamlProvider) -> None:
    async def work(keeper: Keeper) -> None:
        keeper._take(messages.encode(messages.Keys(messages.Published("stranger", ("k",), 0.0, ""))), None)
        async with asyncio.timeout(30):
            while not keeper.ended:
                await asyncio.sleep(0.01)
        assert "stranger" not in keeper.published

    ask(tmp_path, corp, partner, work)


@pytest.mark.parametrize(
    ("said", "issuers", "expected"),
    [
        (b"corp\nabc", ("corp",), ("corp", b"abc")),
        (b"\nabc\n", ("corp",), ("corp", b"abc\n")),
        (b" other \r\nabc", ("corp", "other"), ("other", b"abc")),
        (b"\nabc", ("corp", "other"), None),
        (b"nobody\nabc", ("corp",), None),
        (b"abc", ("corp",), None),
        (b"", ("corp",), None),
        (b"corp\n" + b"x" * (MAX_TOKEN_BYTES + 1), ("corp",), None),
        (b"\xff\n", ("corp", "other"), None),
        (b"x" * (MAX_NAME_BYTES + 1) + b"\n", ("corp",), None),
    ],
)
def test_what_an_agent_says(said: bytes, issuers: tuple[str, ...], expected: tuple[str, bytes] | None) -> None:
    if expected is None:
        with pytest.raises(Nothing):
            parse(said, issuers)
    else:
        assert parse(said, issuers) == expected
