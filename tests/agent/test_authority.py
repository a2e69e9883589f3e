"""The host's authority: TLS libraries take what it signs, but nothing that it may not vouch for; its end leaves nobody behind."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from hostguard.agent.authority.issue import Leaf, make_authority, make_leaf, permits
from hostguard.agent.authority.names import Names, names_of, of_texts
from hostguard.agent.authority.store import BadStore, Held, Store, Terms
from hostguard.policy.sections import Resource

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
HOUR = datetime.timedelta(hours=1)
DAY = 24 * HOUR
TERMS = Terms(ca_days=825, leaf_hours=24, overlap_hours=48)
SHOP = of_texts(["db.example", "192.0.2.7"])


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store(tmp_path / "ca", TERMS, "testhost")
    made.make_folder()
    return made


def handshake(folder: Path, leaf: Leaf, roots: bytes, name: str) -> str:
    """How a verifying client takes the leaf: empty, or OpenSSL's words."""
    (folder / "chain").write_bytes(leaf.chain)
    (folder / "key").write_bytes(leaf.key)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(folder / "chain", folder / "key")
    asking = ssl.create_default_context(cadata=roots.decode())
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with theirs, contextlib.suppress(OSError):  # what it was refused for is the client's to say
            serving.wrap_socket(theirs, server_side=True).close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with ours, asking.wrap_socket(ours, server_hostname=name):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
    finally:
        thread.join()


@pytest.mark.parametrize(
    ("addresses", "server_name", "expected"),
    [
        (("unix:/run/db/.s.PGSQL.5432",), "", Names(("localhost",), ("127.0.0.1", "::1"))),
        (("db.example:5432",), "", Names(("db.example",), ())),
        (("DB.example.:5432", "192.0.2.7:5432"), "pg.internal", Names(("db.example", "pg.internal"), ("192.0.2.7",))),
        (("[::1]:5432",), "", Names(("localhost",), ("127.0.0.1", "::1"))),
        (("127.0.0.5:5432",), "", Names(("localhost",), ("127.0.0.1", "127.0.0.5", "::1"))),
    ],
)
def test_names_by_which_a_resource_is_known(addresses: tuple[str, ...], server_name: str, expected: Names) -> None:
    assert names_of(Resource(protocol="postgres", addresses=addresses, server_name=server_name)) == expected


def test_a_leaf_is_good_for_its_names_and_for_no_other(tmp_path: Path) -> None:
    authority, key = make_authority("testhost", 1, SHOP, 825, NOW)
    roots = Held(1, authority, None).pem
    leaf = make_leaf(authority, key, SHOP, 24, NOW)
    assert handshake(tmp_path, leaf, roots, "db.example") == ""
    assert handshake(tmp_path, leaf, roots, "192.0.2.7") == ""
    assert "mismatch" in handshake(tmp_path, leaf, roots, "other.example")
    assert leaf.until == (NOW + DAY).timestamp()


@pytest.mark.parametrize("name", ["bank.example", "example", "192.0.2.8", "2001:db8::1"])
@pytest.mark.parametrize("own", [SHOP, of_texts(["db.example"]), of_texts(["192.0.2.7"]), of_texts([])])
def test_the_authority_can_vouch_for_nobody_else_even_with_its_key_in_the_wrong_hands(
    tmp_path: Path, own: Names, name: str
) -> None:
    authority, key = make_authority("testhost", 1, own, 825, NOW)
    assert not permits(authority, of_texts([name]))
    forged = make_leaf(authority, key, of_texts([name]), 24, NOW)
    said = handshake(tmp_path, forged, Held(1, authority, None).pem, name)
    assert said in ("permitted subtree violation", "excluded subtree violation")


def test_openssl_finds_nothing_to_complain_of(tmp_path: Path) -> None:
    authority, key = make_authority("testhost", 1, SHOP, 825, NOW)
    (tmp_path / "ca").write_bytes(Held(1, authority, None).pem)
    (tmp_path / "leaf").write_bytes(make_leaf(authority, key, SHOP, 24, NOW).chain)
    command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "db.example", "-CAfile"]
    said = subprocess.run([*command, tmp_path / "ca", tmp_path / "leaf"], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr


def test_a_leaf_does_not_outlive_its_authority() -> None:
    authority, key = make_authority("testhost", 1, SHOP, 2, NOW)
    assert make_leaf(authority, key, SHOP, 720, NOW).until == (NOW + 2 * DAY).timestamp()


# -- the folder -----------------------------------------------------------------------------------------------------------------


def numbers(store: Store) -> dict[int, bool]:
    """Each authority: whether it has its key."""
    return {held.number: held.key is not None for held in store.authorities()}


def signer(store: Store, names: Names, now: datetime.datetime) -> int:
    held = store.signing(names, now)
    assert held is not None
    return held.number


def test_keys_are_the_owners_alone(store: Store, tmp_path: Path) -> None:
    assert store.ensure(SHOP, NOW)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "ca").iterdir()}
    assert modes == {"1.key": 0o600, "1.pem": 0o600}
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700


def test_an_authority_is_made_once(store: Store) -> None:
    assert store.ensure(SHOP, NOW)
    assert not store.ensure(SHOP, NOW + 100 * DAY)
    assert numbers(store) == {1: True}


def test_the_next_one_is_known_before_it_signs_and_the_old_one_goes_when_its_last_leaf_has_ended(store: Store) -> None:
    store.ensure(SHOP, NOW)
    start = NOW + 10 * DAY
    store.rotate(SHOP, start)
    assert signer(store, SHOP, start) == 1
    store.settle(SHOP, start + 47 * HOUR)
    assert (numbers(store), signer(store, SHOP, start + 47 * HOUR)) == ({1: True, 2: True}, 1)
    store.settle(SHOP, start + 48 * HOUR)
    assert (numbers(store), signer(store, SHOP, start + 48 * HOUR)) == ({1: False, 2: True}, 2)
    store.settle(SHOP, start + 71 * HOUR)
    assert numbers(store) == {1: False, 2: True}
    store.settle(SHOP, start + 72 * HOUR)
    assert numbers(store) == {2: True}


def test_one_that_will_end_soon_has_a_successor_in_time(store: Store) -> None:
    store.ensure(SHOP, NOW)
    assert not store.ensure(SHOP, NOW + 794 * DAY)
    assert store.ensure(SHOP, NOW + 796 * DAY)
    assert signer(store, SHOP, NOW + 796 * DAY) == 1
    assert signer(store, SHOP, NOW + 799 * DAY) == 2


def test_new_names_take_a_new_authority_which_signs_for_them_at_once(store: Store) -> None:
    store.ensure(SHOP, NOW)
    both = SHOP + of_texts(["crm.example"])
    assert store.ensure(both, NOW + HOUR)
    assert signer(store, of_texts(["crm.example"]), NOW + HOUR) == 2
    assert signer(store, SHOP, NOW + HOUR) == 1, "agents that know only the old one go on"
    assert signer(store, SHOP, NOW + 50 * HOUR) == 2


def test_a_key_that_others_have_is_trusted_no_more_from_now_on(store: Store) -> None:
    store.ensure(SHOP, NOW)
    store.rotate(SHOP, NOW + HOUR, at_once=True)
    assert (numbers(store), signer(store, SHOP, NOW + HOUR)) == ({2: True}, 2)


def test_a_crash_between_key_and_certificate_leaves_nothing_that_counts(store: Store, tmp_path: Path) -> None:
    (tmp_path / "ca" / "1.key").write_text("half")
    assert store.ensure(SHOP, NOW)
    assert numbers(store) == {2: True}


@pytest.mark.parametrize("name", ["1.pem", "1.key"])
def test_what_is_broken_is_named(store: Store, tmp_path: Path, name: str) -> None:
    store.ensure(SHOP, NOW)
    (tmp_path / "ca" / name).write_text("broken")
    with pytest.raises(BadStore, match=name):
        store.sign(SHOP, NOW)


def test_no_names_are_no_reason_to_fail(store: Store) -> None:
    assert store.ensure(of_texts([]), NOW)
    assert not store.ensure(of_texts([]), NOW)
    with pytest.raises(BadStore, match=r"can vouch for db\.example"):
        store.sign(of_texts(["db.example"]), NOW)
