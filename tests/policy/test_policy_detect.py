"""Detectors: what they find, what they must leave alone, that the one pass over bytes misses nothing that they find."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from pathlib import Path

import pytest
from documents import SMALL, mistakes, write
from hypothesis import given, settings
from hypothesis import strategies as st

from hostguard.policy.detect import plugins
from hostguard.policy.detect.found import ENTITIES
from hostguard.policy.detect.scanner import Scanner
from hostguard.policy.document import load

SCANNER = Scanner(ENTITIES)
TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PRIVATE = "-----BEGIN RSA PRIVATE KEY-----\nMIIB\nOg==\n-----END RSA PRIVATE KEY-----"
# Put together here, so that no scanner of sources takes them for secrets.
AWS, GITHUB, STRIPE = "AKIA" + "IOSFODNN7EXAMPLE", "ghp_" + "a1B2" * 9, "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc"

SEEN = [
    ("email", "alice@example.com"),
    ("email", "o'neil+tag@mail.example.co.uk"),
    ("email", "jürgen@bücher.example"),
    ("phone", "+44 20 7946 0958"),
    ("phone", "+49 (0)30 901820"),
    ("phone", "(212) 555-0123"),
    ("phone", "212-555-0123"),
    ("card", "4111111111111111"),
    ("card", "4111 1111 1111 1111"),
    ("card", "3782-822463-10005"),
    ("card", "5555555555554444"),
    ("iban", "DE89 3704 0044 0532 0130 00"),
    ("iban", "GB82WEST12345698765432"),
    ("national_id", "536-90-4399"),
    ("national_id", "12345678Z"),
    ("national_id", "RCCMNL83S18D969H"),
    ("national_id", "390.533.447-05"),
    ("national_id", "756.9217.0769.85"),
    ("ip", "192.0.2.1"),
    ("ip", "2001:db8::8a2e:370:7334"),
    ("key", AWS),
    ("key", GITHUB),
    ("key", STRIPE),
    ("key", "SharedAccessKey=" + "a1B2" * 10 + "xyz="),
    ("key", "AccountKey=" + "a1B2" * 21 + "xy=="),
    ("key", "abc8Q~" + "aB1-" * 8 + "_z"),
    ("key", "https://hooks.slack.com/" + "services/T0000/B0000/" + "a1B2" * 6 + "a1B2a1B2a1B2"),
    ("key", "xoxb" + "-1234567890-abcdefghij"),
    ("key", "whsec_" + "a1B2" * 8),
    ("key", "AIza" + "a1-B2" * 7),
    ("key", "shpat_" + "0a1b" * 8),
    ("key", "aws_secret_access_key = " + "a1B2/" * 8),
    ("key", "AGE-SECRET-KEY-1" + "Q9" * 29),
    ("jwt", TOKEN),
    ("private_key", PRIVATE),
]
FRAMES = ["{}", "see {}, please", "({})", '{{"k": "{}"}}', "a\t{}\nb", "{}."]


@pytest.mark.parametrize(("entity", "value"), SEEN)
def test_what_is_found_is_found_whole_wherever_it_stands(entity: str, value: str) -> None:
    for frame in FRAMES:
        text = frame.format(value)
        assert [(text[start:end], kind) for start, end, kind in SCANNER.find(text)] == [(value, entity)], text


LEFT_ALONE = [
    "2026-11-25 16:20:00.123456+00", "2026-11-25T16:20:00Z", "25.11.2026", "11/25/2026", "1764087600", "1764087600000",
    "1764087600123456", "123e4567-e89b-12d3-a456-426614174000", "d41d8cd98f00b204e9800998ecf8427e", "1234567890",
    "12345678901", "1234567890123456", "175928847299117063", "order 4111111111111112", "v1.2.3.4", "version 10.0.19041.1",
    "12:34:56", "08:00:2b:01:02:03", "127.0.0.1", "::1", "std::vector::at", "a@b", "user@localhost", "@example.com",
    "1,234,567.89", "978-3-16-148410-0", "SKU-2024-0001-7788", "0x1234abcd", "GB82WEST12345698765433", "eyJub3QiOiJhIn0.x",
    "PRIVATE KEY", "000-12-3456", "SK1234", "sk-short", "AKIAI", "shpat_x", "8Q~", "ghp_", "task-1234567890", "desk_live_table",
    "00:1A:2B:3C:4D:5E", "R2D2-C3PO-1234", "2001:db8::", "1.2.3", "P-2024-11-25-0001", "3.14159265358979", "1e10", "#ff00aa",
    "10000000-4111-4111-8111-411111111111",
]  # fmt: skip


@pytest.mark.parametrize("text", LEFT_ALONE)
def test_ids_hashes_times_and_versions_are_left_alone(text: str) -> None:
    assert SCANNER.find(text) == []
    assert SCANNER.find(f"it was {text}, they said") == []


def test_false_positives_on_generated_ids_are_rare() -> None:
    """Of 40,000 values that say nothing of anybody."""
    wrong: dict[str, list[str]] = {}
    for number in range(10_000):
        name = str(number).encode()
        hashed = hashlib.sha256(name).hexdigest()
        big = int(hashed[:15], 16)
        for text in (hashed, str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))), str(big), str(1_700_000_000_000 + big % 10**11)):
            for found in SCANNER.find(text):
                wrong.setdefault(found.entity, []).append(text)
    # A number of 16 to 18 random digits is a card's by issuer and check digit in one of some hundred.
    assert set(wrong) <= {"card"}
    assert len(wrong.get("card", [])) < 60


@settings(max_examples=300)
@given(
    st.lists(st.sampled_from([value for _, value in SEEN] + LEFT_ALONE) | st.text(max_size=12), max_size=6),
    st.sampled_from(["", " ", "x", "-"]),
)
def test_findings_are_in_order_without_overlaps_and_never_unsuspected(parts: list[str], gap: str) -> None:
    text = gap.join(parts)
    found = SCANNER.find(text)
    assert all(one.end <= two.start for one, two in itertools.pairwise(found))
    assert all(0 <= one.start < one.end <= len(text) for one in found)
    # `find` looks at the suspects first; what the detectors say without that look must be the same.
    unasked = [kind.entity for kind in SCANNER._detectors if any(True for _ in kind.find(text))]
    if unasked:
        assert SCANNER.suspects(text.encode("utf-8", "surrogatepass"))
    assert {one.entity for one in found} <= set(unasked)


@pytest.mark.parametrize(
    "hostile",
    [
        "1" * 200_000,
        "a" * 200_000 + "@",
        "a." * 100_000,
        "1-" * 100_000,
        "eyJ" * 60_000,
        "-----BEGIN " * 20_000,
        "::" * 100_000,
        "DE12 " * 40_000,
        "+1 " * 60_000,
    ],
)
def test_no_text_takes_long(hostile: str) -> None:
    """Bounded repetitions: the time is that of the length. A quadratic search of these would take many minutes."""
    SCANNER.find(hostile)


def test_only_what_is_asked_for_is_looked_for() -> None:
    text = "alice@example.com from 192.0.2.1"
    assert [found.entity for found in Scanner(["ip"]).find(text)] == ["ip"]
    assert not Scanner(["card"]).suspects(text.encode())


PLUGIN = """
from hostguard.policy.detect.found import Detector, whole
def persons():
    return Detector("person", ("[A-Z][a-z]+ [A-Z]",), whole("[A-Z][a-z]+ [A-Z][a-z]+"))
def other():
    return Detector("another", ("x",), lambda text: ())
"""


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, points: str) -> None:
    """A distribution with these entry points, as pip leaves one behind."""
    (folder / "some_persons.py").write_text(PLUGIN)
    made = folder / "some_persons-1.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: some-persons\nVersion: 1\n")
    (made / "entry_points.txt").write_text(f"[hostguard.detectors]\n{points}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(plugins, "_loaded", {})


def test_a_plug_in_detects_what_has_no_form_and_gives_way_to_what_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "person = some_persons:persons")
    assert plugins.installed() == {"person"}
    text = "Ada Lovelace (alice@example.com)"
    found = Scanner(["person", "email"]).find(text)
    assert [(text[start:end], kind) for start, end, kind in found] == [
        ("Ada Lovelace", "person"),
        ("alice@example.com", "email"),
    ]
    tag = '[tags."pii.name"]\ndetect = ["person"]\n'
    assert load(write(tmp_path, SMALL + tag)).tags["pii.name"].detect == ("person",)


def test_a_plug_in_that_is_none_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch, "person = some_persons:other")
    with pytest.raises(plugins.NoPlugin, match="of the entity person"):
        plugins.load_all()


def test_a_kind_that_nothing_detects_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    (said,) = mistakes(tmp_path, SMALL + '[tags."pii.name"]\ndetect = ["person"]\n')
    assert '"person" is nothing that is detected; expected one of email, phone' in said
    assert "hostguard.toml" in said


def test_national_telephone_numbers_go_by_region() -> None:
    assert Scanner(["phone"], ["GB"]).find("020 7946 0958")
    assert not Scanner(["phone"], ["US"]).find("020 7946 0958")
