"""Who is vouched for, by the cgroup of a process: bindings over time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from documents import SMALL, write

from hostguard.agent.verifier import messages
from hostguard.agent.verifier.bindings import ALL, Binding, Bindings
from hostguard.agent.verifier.files import AGAIN_S, Followed
from hostguard.agent.verifier.remembered import Remembered
from hostguard.policy.bearers import UNVERIFIED, Bearer
from hostguard.policy.document import Document, load

NOW = 1_800_000_000.0
TABLES = """
[agents.bot.identity.corp]
subject = "bot-*"
{more}
[issuers.corp]
issuer = "https://login.example"
audiences = ["x"]
[[issuers.corp.roles]]
claim = "groups"
contains = "a"
role = "a"
[issuers.mesh]
issuer = "https://mesh.example"
audiences = ["x"]
"""
MESH = '[agents.bot.identity.mesh]\nsubject = "bot"\n'


def document(folder: Path, more: str = "") -> Document:
    return load(write(folder, SMALL + TABLES.format(more=more)))


def binding(cgroup_id: int = 7, source: str = "corp", **vouched: Any) -> Binding:
    url = {"corp": "https://login.example", "mesh": "https://mesh.example"}[source]
    good = {"issuer": url, "subject": "bot-1", "expires_at": NOW + 100, "token_id": "1", "key": "k", "roles": ("a",)}
    return Binding(
        agent="bot",
        issuer=source,
        cgroup_id=cgroup_id,
        cgroup="/x",
        how="presented",
        vouched=messages.Vouched(**{**good, **vouched}),
        seen_at=NOW,
    )


def test_the_innermost_cgroup_counts(tmp_path: Path) -> None:
    settings, bindings = document(tmp_path), Bindings()
    for cgroup_id, subject in ((7, "bot-inner"), (5, "bot-outer"), (ALL, "bot-all")):
        bindings.put(binding(cgroup_id, subject=subject))
    subjects = [bindings.standing(settings, "bot", lineage, NOW).bearer.subject for lineage in ((7, 5, 1), (6, 5, 1), (6, 1), ())]
    assert subjects == ["bot-inner", "bot-outer", "bot-all", "bot-all"]
    assert bindings.standing(settings, "nobody", (7,), NOW).bearer == UNVERIFIED


def test_all_issuers_that_are_wanted(tmp_path: Path) -> None:
    settings, bindings = document(tmp_path, MESH), Bindings()
    bindings.put(binding())
    missing = bindings.standing(settings, "bot", (7,), NOW).missing
    assert "it takes a token of issuer mesh, and no token of its was presented" in missing
    bindings.put(binding(7, "mesh", subject="bot", roles=("b", "a"), expires_at=NOW + 50))
    found = bindings.standing(settings, "bot", (7,), NOW)
    assert found.bearer == Bearer(("a", "b"), "https://login.example", "bot-1")
    assert (found.missing, found.until) == ("", NOW + 50)
    assert bindings.standing(settings, "bot", (8,), NOW).missing


@pytest.mark.parametrize(
    ("vouched", "later_s", "expected"),
    [
        ({}, 99, ""),
        ({}, 100, "it has expired"),
        ({"subject": "other"}, 0, "not about this agent"),
        ({"issuer": "https://mesh.example"}, 0, "it is issued by"),
        ({"key": "withdrawn", "expires_at": NOW + 10_000}, 0, "withdrawn the key"),
        ({"expires_at": NOW + 10_000}, 3700, "could not be asked"),
        ({"expires_at": NOW + 10_000}, 3600, ""),
    ],
)
def test_when_it_counts_no_more(tmp_path: Path, vouched: dict[str, Any], later_s: float, expected: str) -> None:
    settings, bindings = document(tmp_path), Bindings()
    bindings.put(binding(**vouched))
    bindings.published(messages.Published("corp", ("k", "k2"), NOW, ""), NOW)
    ended = bindings.expire(settings, NOW + later_s)
    assert [expected in why for _, why in ended] == [True] * bool(expected)
    missing = bindings.standing(settings, "bot", (7,), NOW + later_s).missing
    assert (expected in missing) if expected else not missing


def test_what_has_expired_counts_no_more_although_nobody_has_dropped_it(tmp_path: Path) -> None:
    settings, bindings = document(tmp_path), Bindings()
    bindings.put(binding())
    assert bindings.standing(settings, "bot", (7,), NOW + 99).missing == ""
    assert "was refused: it has expired" in bindings.standing(settings, "bot", (7,), NOW + 100).missing


def test_keys_that_are_seen_again_keep_it(tmp_path: Path) -> None:
    settings, bindings = document(tmp_path), Bindings()
    bindings.put(binding(expires_at=NOW + 10_000))
    bindings.published(messages.Published("corp", ("k",), NOW + 3000, ""), NOW + 3000)
    assert bindings.expire(settings, NOW + 3700) == []
    # Not known is not withdrawn: that comes with time.
    bindings.published(messages.Published("corp", (), NOW + 3000, "down"), NOW + 3700)
    assert bindings.expire(settings, NOW + 3700) == []
    assert bindings.expire(settings, NOW + 3000 + 3700) != []


def test_a_configuration_that_wants_it_no_more(tmp_path: Path) -> None:
    bindings = Bindings()
    bindings.put(binding())
    without = load(write(tmp_path, SMALL))
    assert "no longer wants" in bindings.expire(without, NOW)[0][1]
    assert bindings.standing(without, "bot", (7,), NOW).missing == ""


def test_a_file_that_is_followed(tmp_path: Path) -> None:
    place = tmp_path / "token"
    followed = Followed(str(place))
    assert followed.look(0.0) is None
    assert "No such file" in str(followed.look(0.5))
    place.write_bytes(b"one")
    assert followed.look(1.0) == b"one"
    assert followed.look(2.0) is None
    place.write_bytes(b"")
    assert followed.look(3.0) is None
    assert "it is empty" in str(followed.look(3.5))
    (tmp_path / "new").write_bytes(b"two")
    (tmp_path / "new").rename(place)
    assert followed.look(4.0) == b"two"
    followed.again_at = 4.0 + AGAIN_S
    assert followed.look(8.9) is None
    assert followed.look(9.1) == b"two"
    assert followed.look(20.0) is None


def test_what_is_no_file_makes_nobody_wait(tmp_path: Path) -> None:

    os.mkfifo(tmp_path / "pipe")
    followed = Followed(str(tmp_path / "pipe"))
    assert followed.look(0.0) is None
    assert "no file" in str(followed.look(1.0))


def test_what_is_known_after_a_crash(tmp_path: Path) -> None:
    place = tmp_path / "identity.sqlite"
    first = Remembered(place)
    first.revoke({"a": NOW + 10, "b": NOW + 20}, NOW)
    assert first.use("mark", "bot 7", NOW + 10, NOW) == ""
    first.add_place(("bot", "corp", 7), "/x", "/run/token")
    # Not closed: as after a crash.
    again = Remembered(place)
    assert again.is_revoked("a")
    assert again.use("mark", "bot 7", NOW + 10, NOW) == ""
    assert again.use("mark", "bot 8", NOW + 10, NOW) == "it was used before, by another"
    assert again.places() == {("bot", "corp", 7): ("/x", "/run/token")}
    again.revoke({"c": NOW + 30}, NOW + 15)
    assert [again.is_revoked(each) for each in "abc"] == [False, True, True]
    assert again.use("mark", "bot 8", NOW + 30, NOW + 15) == ""
    again.drop_places([("bot", "corp", 7)])
    assert again.places() == {}
    for each in (first, again):
        each.close()
