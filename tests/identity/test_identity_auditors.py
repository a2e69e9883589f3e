"""Auditors' keys: what is taken for one, what is said of what is none, and that no secret is ever repeated."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from hostguard.identity.auditors import BadKey, Identities, Recipients, recipient_fault


def run(*words: str | Path, data: bytes = b"") -> str:
    return subprocess.run(words, input=data, capture_output=True, check=True).stdout.decode()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A file of age-keygen's own making."""
    run("age-keygen", "-o", tmp_path / "key.txt")
    return tmp_path / "key.txt"


def public(key: Path) -> str:
    return run("age-keygen", "-y", key).strip()


def test_what_is_encrypted_to_several_opens_for_each(tmp_path: Path, key: Path) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "ssh")
    recipients = Recipients([public(key), (tmp_path / "ssh.pub").read_text().strip()])
    data = recipients.encrypt(b"payload")
    assert len(recipients) == 2
    for file in (key, tmp_path / "ssh"):
        assert Identities([file]).decrypt(data) == b"payload"
        (tmp_path / "x.age").write_bytes(data)
        assert run("age", "--decrypt", "-i", file, tmp_path / "x.age") == "payload"
    both = key.read_text() + "\n# another one\n\n" + run("age-keygen")
    (tmp_path / "both").write_text(both)
    assert len(Identities([tmp_path / "both", tmp_path / "ssh"])) == 3


def test_damaged_or_foreign_data_opens_to_nothing(key: Path) -> None:
    data = Recipients([public(key)]).encrypt(b"payload")
    identities = Identities([key])
    for at in range(len(data)):
        assert identities.decrypt(data[:at]) is None
        assert identities.decrypt(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]) is None
    assert identities.decrypt(data + b"x") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no age recipient"),
        ("age1qqqq", "no age recipient"),
        ("alice@example.com", "no age recipient"),
        ("ssh-ed25519 AAAA", "no age recipient"),
        ("ssh-dss AAAAB3NzaC1kc3MAAACB", "no age recipient"),
        ("age1pq1qqqq", "no age recipient"),
    ],
)
def test_what_is_no_recipient_is_told(text: str, why: str) -> None:
    assert why in recipient_fault(text)
    with pytest.raises(BadKey, match=why):
        Recipients([text])


def test_a_secret_key_in_the_place_of_a_public_one_is_not_repeated(key: Path) -> None:
    secret = next(line for line in key.read_text().splitlines() if not line.startswith("#"))
    fault = recipient_fault(secret)
    assert "this is a secret key" in fault
    assert secret[:30] not in fault
    assert recipient_fault(public(key)) == ""


def test_what_is_no_identity_is_told_with_the_file(tmp_path: Path, key: Path) -> None:
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "geheim", "-f", tmp_path / "locked")
    secret = next(line for line in key.read_text().splitlines() if not line.startswith("#"))
    cases = {
        "missing": None,
        "empty": b"",
        "comments": b"# nothing\n",
        "words": b"hello\n",
        "public": public(key).encode(),
        "cut": secret[:-3].encode(),
        "binary": bytes(range(256)),
        "protected": b"age-encryption.org/v1\n-> scrypt x 18\n",
        "locked": (tmp_path / "locked").read_bytes(),
    }
    for name, data in cases.items():
        path = tmp_path / f"case-{name}"
        if data is not None:
            path.write_bytes(data)
        with pytest.raises(BadKey) as caught:
            Identities([path])
        assert str(path) in str(caught.value), name
        assert secret[20:40] not in str(caught.value), name
