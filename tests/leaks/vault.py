"""A database of people with secrets, in two twins that differ in nothing but the secrets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from string import Template

import guard
from servers import Server

FOLDER = Path(__file__).parent
SCHEMA = (FOLDER / "schema.sql").read_text()
TWINS = ("twin_a", "twin_b")
"""Databases. Their names are of one length, so that messages that name them are."""
RESOURCE = "vault"
WORKLOAD = "clerk"

POLICY = """
@id("the clerk may do everything that a policy can permit")
permit (principal in Role::"clerk", action, resource);

@id("but see, guess or keep nothing that is tagged")
forbid (principal, action in [Action::"reveal", Action::"match", Action::"derive"], resource);
"""
CALL = """
@id("the clerk calls {name} in {database}")
permit (principal in Role::"clerk", action == Action::"call", resource == Function::"vault/{database}/public/{name}");
"""
FUNCTIONS = (
    *(
        "email_of",
        "email_by_plpgsql",
        "everybody",
        "says_email",
        "fails_with_email",
        "wrapped",
        "mirror",
        "tally",
        "twice",
        "tidy",
        "levenshtein",
    ),
    *("atomically", "atomic_rows", "atomic_return", "told_by", "stamper"),
)

FILLING = ("attics", "cellars", "towers", "papers")
"""Tables whose triggers and rules write what they hold elsewhere."""
TAGS = {
    "pii.email": ('{ kind = "partial", keep = 0 }', ("people/email", "mailings/email")),
    "pci.card": ('{ kind = "partial", keep = 4 }', ("people/card", "cards/number", "payments/card")),
    "secret.token": (
        '{ kind = "redact" }',
        (
            "people/token",
            *(f"{table}/code" for table in ("passes", "lockers", "gates", "alcoves", "seals", "chests", "stills", *FILLING)),
        ),
    ),
    "pii.notes": ('{ kind = "redact" }', ("people/notes", "people/aliases", "people/doc")),
    "pay": (
        '{ kind = "null" }',
        ("people/salary", "people/badge", "people/span", "people/member", "people/photo", "bosses/desk"),
    ),
    "pii.born": ('{ kind = "null" }', ("people/born", "people/seen")),
}


@dataclass(frozen=True, slots=True)
class Person:
    """The secrets of one row. Both twins' masks of `local` and `card` look the same; the other masks tell nothing of a value."""

    local: str
    card: str
    token: str
    badge: int
    salary: str
    born: str


SECRETS: dict[str, tuple[Person, ...]] = {
    "twin_a": (
        Person("quillon.vexmoor", "4929317580642317", "tk-Zeppelin77kWolfram", 918273645546372819, "73519.26", "1971-08-23"),
        Person("brunhild.oaksey", "5318064275913048", "tk-Yonder20Marzipan", 827364554637281909, "28461.95", "1983-02-11"),
        Person("fenwick.lamprey", "4716208395174620", "tk-Obsidian5Jubilee", 736455463728190918, "91837.42", "1967-11-30"),
        Person("tamsin.gorhambo", "6011573920486195", "tk-Quagmire88Velvetine", 645546372819091827, "55028.13", "1990-05-04"),
        Person("wystan.plumridg", "3538291740658312", "tk-Tarpaulin3Gnome", 554637281909182736, "60394.87", "1979-12-17"),
    ),
    "twin_b": (
        Person("qadrian.bolthaz", "4929864201752317", "tk-Hydrangea1Xylophones", 172839405061728394, "86204.71", "1964-03-09"),
        Person("belphegor.munch", "5318927450163048", "tk-Igloo9Kestrel", 283940506172839405, "91275.08", "1996-10-28"),
        Person("frumious.bander", "4716539174024620", "tk-Narwhal44Pumpernickel", 394050617283940516, "30481.69", "1958-07-15"),
        Person("threlkeld.cutmo", "6011248093756195", "tk-Ukulele6Driftwood", 405061728394051627, "74950.36", "1987-01-22"),
        Person("winnoweth.ashpe", "3538602914738312", "tk-Sycophant12Fjord", 506172839405162738, "42617.50", "1975-06-06"),
    ),
}
DOMAIN = "corvid.example"


def row(number: int, person: Person) -> str:
    """The secret columns of one row of people, as SQL."""
    compact = person.badge % 10**8
    return (
        f"'{person.local}@{DOMAIN}', '{person.card}', '{person.token}', {person.salary}, {person.badge},"
        f" '{person.born}', '{person.born} 04:{10 + number}:33+00',"
        f' \'{{"iban": "DE{person.card}", "friends": ["{person.token}"], "depth": {{"pin": {compact}}}}}\','
        f" ARRAY['{person.token}', '{person.local}'], '[{compact},{compact + 9})', '{uuid(person)}',"
        f" '{person.token}', '<p><pin>{person.token}</pin></p>'"
    )


def uuid(person: Person) -> str:
    """A UUID that only this person has."""
    digits = f"{person.card}{person.badge}"[:32]
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]:0<12}"


def values(twin: str) -> str:
    """The statements that fill a twin."""
    people = SECRETS[twin]
    substitutes = {f"p{number}": row(number, person) for number, person in enumerate(people, 1)}
    substitutes |= {f"card{number}": person.card for number, person in enumerate(people, 1)}
    substitutes |= {f"mail{number}": f"{person.local}@{DOMAIN}" for number, person in enumerate(people, 1)}
    return Template((FOLDER / "rows.sql").read_text()).substitute(substitutes)


@contextmanager
def twins(server: Server, schema: str = SCHEMA, fill: Callable[[str], str] = values) -> Iterator[None]:
    """Both databases on `server`, of one template, so that every OID in the one is that of the same thing in the other.

    `fill`: the statements that fill a twin.
    """
    with server.database("vault_template", schema) as template, server.connect() as connection:
        try:
            for twin in TWINS:
                connection.execute(f"CREATE DATABASE {twin} TEMPLATE {template}".encode())
                with server.connect(twin) as inside:
                    inside.execute(fill(twin).encode())
                    inside.execute("CHECKPOINT")
            yield
        finally:
            for twin in TWINS:
                connection.execute(f"DROP DATABASE IF EXISTS {twin} WITH (FORCE)".encode())


def setup(server: Server) -> guard.Setup:
    """A guard for the twins, with an agent that may do everything but `reveal`, `match` and `derive`."""
    tags = "".join(tag_table(tag, mask, columns) for tag, (mask, columns) in TAGS.items())
    return guarding(server, tags, "".join(CALL.format(name=name, database=twin) for name in FUNCTIONS for twin in TWINS))


def guarding(server: Server, tags: str, more_policies: str = "") -> guard.Setup:
    """The same for any tables in the twins."""
    return guard.Setup(
        agents={WORKLOAD: guard.Agent((WORKLOAD,))},
        resources={RESOURCE: f"{server.host}:{server.port}"},
        policies=POLICY + more_policies,
        tags=tags,
    )


def tag_table(tag: str, mask: str, columns: Sequence[str]) -> str:
    """The table of a tag in the configuration; `columns` as ``table/column`` of schema public in both twins."""
    paths = [f"{RESOURCE}/{twin}/public/{column}" for twin in TWINS for column in columns]
    return f'[tags."{tag}"]\ncolumns = {paths}\nmask = {mask}\n'
