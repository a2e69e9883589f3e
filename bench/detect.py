"""How well detectors find what they look for: precision, recall, F1 of each kind, beside Presidio's pattern recognizers.

Two labelled sets: sentences of our own (with ids, hashes, times and versions that must be left alone), and the templates that
presidio-evaluator ships. Both are filled by Faker with a fixed seed, in several locales. A finding counts when it overlaps one
value of its kind; if it overlaps none it is wrong. Presidio runs without its language models, with recognizers of these kinds.
Needs `pip install hostguard[bench]` and, for the second set, `pip install --no-deps presidio-evaluator`.
"""

from __future__ import annotations

import json
import random
import re
import sys
import time
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from hostguard.policy.detect.found import ENTITIES
from hostguard.policy.detect.scanner import Scanner, warm

LOCALES = ("en_US", "en_GB", "de_DE", "fr_FR", "es_ES", "it_IT", "nl_NL")
REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL")
SEED = 6
# Kinds that Presidio has recognizers for; none of them needs a language model.
PRESIDIO = {
    "EMAIL_ADDRESS": "email", "PHONE_NUMBER": "phone", "CREDIT_CARD": "card", "IBAN_CODE": "iban", "US_SSN": "national_id",
    "UK_NHS": "national_id", "ES_NIF": "national_id", "IT_FISCAL_CODE": "national_id", "IN_AADHAAR": "national_id",
    "PL_PESEL": "national_id", "IP_ADDRESS": "ip",
}  # fmt: skip
SENTENCES = (
    "Please call {phone} or write to {email} about order {order}.",
    "{name} paid with {card} on {date}.",
    "Refund to {iban}, reference {uuid}.",
    "login from {ip} at {stamp}, session {hash}",
    '{{"user": {order}, "mail": "{email}", "at": {millis}}}',
    "SSN {ssn} was verified.",
    "token {jwt} expires {stamp}",
    "export AWS_ACCESS_KEY_ID={aws}",
    "deploy v{version} finished in {seconds} s, build {hash}",
    "invoice {big} for {amount} EUR, due {date}",
    "{name} lives in {city}, {postcode}.",
    "ping {ipv6} answered",
    "see ticket {order}-{small}",
    "{codice} {name}",
    "tracking {big}, parcel {uuid}",
    "{name}: nothing new since {date}.",
)
KINDS = {"phone": "phone", "email": "email", "card": "card", "iban": "iban", "ip": "ip", "ipv6": "ip", "ssn": "national_id",
         "jwt": "jwt", "aws": "key", "codice": "national_id"}  # fmt: skip
TEMPLATE_KINDS = {"credit_card_number": "card", "phone_number": "phone", "email": "email", "iban": "iban", "ssn": "national_id",
                  "ip_address": "ip"}  # fmt: skip

Span = tuple[int, int, str]


class Sample(NamedTuple):
    """A text with the places of its values."""

    text: str
    spans: tuple[Span, ...]


def filled(pieces: Iterable[str], value: Callable[[str], str], kinds: dict[str, str]) -> Sample:
    """A template cut at its fields (text and names in turn) with values in them."""
    text, spans = "", []
    for number, piece in enumerate(pieces):
        part = value(piece) if number % 2 else piece
        if number % 2 and piece in kinds:
            spans.append((len(text), len(text) + len(part), kinds[piece]))
        text += part
    return Sample(text, tuple(spans))


def generated(count: int) -> list[Sample]:
    """Sentences of our own."""
    from faker import Faker

    fakers = [Faker(locale) for locale in LOCALES]
    italian = Faker("it_IT")
    Faker.seed(SEED)
    chance = random.Random(SEED)

    def value(name: str) -> str:
        fake: Any = chance.choice(fakers)
        made: dict[str, Callable[[], object]] = {
            "phone": fake.phone_number,
            "email": fake.email,
            "iban": fake.iban,
            "ip": fake.ipv4_public,
            "ipv6": fake.ipv6,
            "card": lambda: fake.credit_card_number(chance.choice(["visa16", "mastercard", "amex", "discover"])),
            "ssn": fakers[0].ssn,
            "codice": italian.ssn,
            "name": fake.name,
            "city": fake.city,
            "postcode": fake.postcode,
            "uuid": fake.uuid4,
            "hash": fake.sha256,
            "date": fake.date,
            "stamp": fake.iso8601,
            "order": lambda: fake.random_number(9),
            "big": lambda: fake.random_number(17, fix_len=True),
            "small": lambda: fake.random_number(3),
            "seconds": lambda: fake.random_number(2),
            "millis": lambda: 1_700_000_000_000 + fake.random_number(10),
            "amount": lambda: f"{fake.random_number(6) / 100:.2f}",
            "version": lambda: ".".join(str(fake.random_digit()) for _ in range(4)),
            "jwt": lambda: "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI" + fake.lexify("????????") + "." + fake.sha1(),
            "aws": lambda: "AKIA" + fake.bothify("????????????????", letters="ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
        }
        return str(made[name]())

    def cut(sentence: str) -> list[str]:
        return re.split(r"\{(\w+)\}", sentence.replace("{{", "\x01").replace("}}", "\x02"))

    samples = [filled(cut(chance.choice(SENTENCES)), value, KINDS) for _ in range(count)]
    return [Sample(text.replace("\x01", "{").replace("\x02", "}"), spans) for text, spans in samples]


def independent(count: int) -> list[Sample]:
    """presidio-evaluator's templates; none where it is not installed."""
    from faker import Faker

    found = find_spec("presidio_evaluator")
    if found is None or found.origin is None:
        return []
    templates = (Path(found.origin).parent / "data_generator/raw_data/templates.txt").read_text(encoding="utf-8").splitlines()
    fakers = [Faker(locale) for locale in LOCALES]
    Faker.seed(SEED)
    chance = random.Random(SEED)

    def value(name: str) -> str:
        fake: Any = fakers[0] if name == "ssn" else chance.choice(fakers)
        made = {"ip_address": "ipv4", "person": "name", "organization": "company", "age": "random_digit"}.get(name, name)
        return str(getattr(fake, made, fake.word)()).replace("\n", " ")

    return [filled(re.split(r"\{\{(\w+)\}\}", chance.choice(templates)), value, TEMPLATE_KINDS) for _ in range(count)]


def scores(samples: list[Sample], find: Callable[[str], list[Span]], kinds: Iterable[str]) -> dict[str, dict[str, float]]:
    """Precision, recall and F1 by kind."""
    right, wrong, missed = (dict.fromkeys(kinds, 0) for _ in range(3))
    for text, spans in samples:
        found = find(text)
        for start, end, kind in found:
            hit = any(kind == k and start < e and s < end for s, e, k in spans)
            (right if hit else wrong)[kind] += 1
        for s, e, kind in spans:
            if kind in missed and not any(kind == k and start < e and s < end for start, end, k in found):
                missed[kind] += 1
    return {kind: score(right[kind], wrong[kind], missed[kind]) for kind in kinds if right[kind] + missed[kind]}


def score(right: int, wrong: int, missed: int) -> dict[str, float]:
    """The three figures of one kind, with how many values there were."""
    precision = right / (right + wrong) if right + wrong else 0.0
    recall = right / (right + missed)
    f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
    return {"values": right + missed, "precision": precision, "recall": recall, "f1": f1}


def presidio() -> Callable[[str], list[Span]] | None:
    """Presidio's pattern recognizers of the same kinds, without a language model; None where it is not installed."""
    if find_spec("presidio_analyzer") is None:
        return None
    import tldextract
    from presidio_analyzer import predefined_recognizers as known
    from presidio_analyzer.nlp_engine import NlpArtifacts

    # The list of public suffixes that the package ships: it would else fetch the newest one.
    tldextract.extract = tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)
    names = ("Email", "Phone", "CreditCard", "Iban", "UsSsn", "Nhs", "EsNif", "ItFiscalCode", "InAadhaar", "PlPesel", "Ip")
    # Both are told of the same countries: their telephone numbers are in the sets.
    recognizers = [
        known.PhoneRecognizer(supported_regions=REGIONS) if name == "Phone" else getattr(known, f"{name}Recognizer")()
        for name in names
    ]
    nothing = NlpArtifacts([], [], [], [], None, "en")

    def find(text: str) -> list[Span]:
        found = [each for one in recognizers for each in one.analyze(text, one.supported_entities, nothing)]
        # Its own default threshold is 0; below 0.3 are patterns that it calls weak without context words.
        return [(each.start, each.end, PRESIDIO[each.entity_type]) for each in found if each.score >= 0.3]

    return find


def speed(find: Callable[[str], object], samples: list[Sample]) -> float:
    """MB/s of processor time over the texts, one by one: whatever else the machine does falls out of it."""
    size = sum(len(sample.text.encode()) for sample in samples)
    start = time.process_time()
    for sample in samples:
        find(sample.text)
    return size / (time.process_time() - start) / 1e6


@click.command()
@click.option("--count", default=4000, show_default=True, help="Texts of each set.")
@click.option("--json", "as_json", is_flag=True)
def main(count: int, as_json: bool) -> None:
    """Measure precision, recall, F1 and MB/s."""
    warm()
    scanner = Scanner(ENTITIES, REGIONS)
    ways: dict[str, Callable[[str], list[Span]]] = {
        "hostguard": lambda text: [(found.start, found.end, found.entity) for found in scanner.find(text)]
    }
    peer = presidio()
    if peer is not None:
        ways["presidio"] = peer
    sets = {name: made for name, made in (("generated", generated(count)), ("presidio-evaluator", independent(count))) if made}
    report: dict[str, Any] = {"f1": {}, "mb_s": {}}
    for name, samples in sets.items():
        report["f1"][name] = {
            way: scores(samples, find, sorted(set(PRESIDIO.values()) | {"key", "jwt"})) for way, find in ways.items()
        }
        report["mb_s"][name] = {way: speed(find, samples) for way, find in ways.items()}
    plain = ("Nothing to see here, the order was shipped as agreed and nobody complained. " * 14_000).encode()
    start = time.process_time()
    scanner.suspects(plain)
    report["mb_s"]["plain text, one pass"] = {"hostguard": len(plain) / (time.process_time() - start) / 1e6}
    print(json.dumps(report)) if as_json else show(report)


def show(report: dict[str, Any]) -> None:
    """The report as tables."""
    console = Console(file=sys.stdout)
    for name, ways in report["f1"].items():
        table = Table(title=name)
        for column in ("kind", "values", *(f"{way} {figure}" for way in ways for figure in ("P", "R", "F1"))):
            table.add_column(column, justify="left" if column == "kind" else "right")
        for kind, mine in ways["hostguard"].items():
            figures = [ways[way].get(kind, {}).get(figure) for way in ways for figure in ("precision", "recall", "f1")]
            table.add_row(kind, f"{mine['values']:.0f}", *("-" if each is None else f"{each:.3f}" for each in figures))
        console.print(table)
    for name, speeds in report["mb_s"].items():
        console.print(f"{name}: " + ", ".join(f"{way} {figure:.2f} MB/s" for way, figure in speeds.items()))


if __name__ == "__main__":
    main()
