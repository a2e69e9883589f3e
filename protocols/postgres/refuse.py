"""Refusals in PostgreSQL's own words: poisoned messages, rewritten errors, FATAL ends.

A denied message is not answered here. Its place is taken by one that the server itself must reject (`Poison`), and the server's
error is rewritten into ours: then the transaction is aborted, messages up to Sync are skipped and replies keep their order
because the server does it. Each poison needs no catalog, no privilege and no data to fail:

- Query, Parse: ``SELECT $0``. Parameters count from 1; parse analysis raises 42P02 for 0 whatever the declared types are
  (``parse_param.c: variable_paramref_hook``, ``parse_expr.c: transformParamRef``).
- Query, Parse whose text PostgreSQL's grammar refuses: another such text, since the server reads before it looks whether the
  transaction is aborted. The error says the denied text's words and position; the place in the server's source is the same.
- Execute: a portal whose name holds our random token, to which no Bind passes: 34000 (``exec_execute_message``).
- FunctionCall: OID 0 (InvalidOid): 42883 (``fastpath.c: fetch_fp_info``).

In an aborted transaction ``SELECT $0`` and the function call give 25P02 instead, like any statement, and that error passes as
it is.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import msgspec

from ..events import Decision
from . import encodings, messages

_TEXT = b"SELECT $0 /* hostguard: a refused statement stood here */"
SYNTAX_ERROR = b"42601"
# scan.l: scanner_yyerror words its complaints in these two ways, in two lines of its source.
_MISSPELT = b"hostguard: a misspelt statement stood here"
_CUT_OFF = b"SELECT ( /* hostguard: a misspelt statement stood here */"
_AT_END = " at end of input"

# Where in its source the server raised an error: file, line, routine.
_SOURCE = b"FLR"
_NOWHERE: Mapping[int, bytes] = {}

# What a field of an error may hold beside data: severity (S, V) and code (C). Message, detail, hint, context, internal query and
# the names of schema, table, column, type and constraint can each carry or betray a value.
_HARMLESS = b"SVC"
_WITHHELD = b"error details withheld by hostguard: the statement touches masked columns"
_WITHHELD_HINT = b"A statement that only reads, and uses no masked column anywhere, gets the server's own words."

# Where PostgreSQL 15 to 18 complains of the statement's own text, before any row is looked at (src/backend/parser).
_OF_TEXT = frozenset(
    str.split(
        """
        analyze.c gram.y scan.l parse_agg.c parse_clause.c parse_coerce.c parse_collate.c parse_cte.c parse_expr.c parse_func.c
        parse_jsontable.c parse_merge.c parse_node.c parse_oper.c parse_param.c parse_relation.c parse_target.c parse_utilcmd.c
        """
    )
)
# The rest of parse_type.c also reads names of types out of values: 'x'::regtype.
_TYPE_LOOKUP = (b"parse_type.c", b"typenameType")
_OF_TEXT_CLASSES = (b"42", b"0A")
# Internal position, internal query, context.
_INNER = frozenset(b"pqW")


class Poison(msgspec.Struct, frozen=True, gc=False):
    """What goes to the server in a refused message's place, and the code of the error it must draw."""

    message: bytes
    code: bytes


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """What the client is told in the place of the server's words about the poison."""

    code: bytes
    reason: str
    hint: str
    position: int = 0
    """Character of the statement that is at fault, from 1; 0 for none."""


FUNCTION_CALL = Poison(messages.frame(b"F", struct.pack(">IHHH", 0, 0, 0, 0)), b"42883")


def query(told: Refusal) -> Poison:
    text, code = _refused_text(told)
    return Poison(messages.query(text), code)


def parse(name: bytes, told: Refusal) -> Poison:
    text, code = _refused_text(told)
    return Poison(messages.parse_message(name, text), code)


def _refused_text(told: Refusal) -> tuple[bytes, bytes]:
    """What stands in the place of a refused text, and the code that it draws."""
    if told.code != SYNTAX_ERROR:
        return _TEXT, b"42P02"
    return (_CUT_OFF if told.reason.endswith(_AT_END) else _MISSPELT), SYNTAX_ERROR


def execute(poison_portal: bytes) -> Poison:
    return Poison(messages.execute_message(poison_portal), b"34000")


def refusal(decision: Decision) -> Refusal:
    return Refusal(decision.refusal or b"42501", decision.reason or "refused by policy", decision.hint, decision.position)


def error(told: Refusal, codec: str | None, drawn: Mapping[int, bytes]) -> bytes:
    """The ErrorResponse that the client gets for a refused operation, from the fields of the one that the poison drew.

    The line of the server's source is the server's own affair, so it is told of a misspelt text only.
    """
    source = drawn if told.code == SYNTAX_ERROR else _NOWHERE
    return _report(b"E", b"ERROR", told.code, told.reason, told.hint, codec, told.position, source)


def fatal(code: bytes, reason: str, codec: str | None = "utf-8") -> bytes:
    """The last message of a flow. FATAL: a client told ERROR would go on waiting for ReadyForQuery."""
    return _report(b"E", b"FATAL", code, reason, "", codec)


def notice(text: str, hint: str, codec: str | None) -> bytes:
    """A NoticeResponse of our own; 00000 is what PostgreSQL gives a plain NOTICE."""
    return _report(b"N", b"NOTICE", b"00000", text, hint, codec)


def _report(
    tag: bytes,
    severity: bytes,
    code: bytes,
    text: str,
    hint: str,
    codec: str | None,
    position: int = 0,
    source: Mapping[int, bytes] = _NOWHERE,
) -> bytes:
    """ErrorResponse or NoticeResponse (PostgreSQL 18 docs §54.8)."""
    parts = [(ord("S"), severity), (ord("V"), severity), (ord("C"), code), (ord("M"), encodings.encode(text, codec))]
    if hint:
        parts.append((ord("H"), encodings.encode(hint, codec)))
    if position:
        parts.append((ord("P"), b"%d" % position))
    parts += [(field, source[field]) for field in _SOURCE if field in source]
    return messages.with_fields(tag, parts)


def is_of_text(fields: Mapping[int, bytes]) -> bool:
    """Whether an error of the server speaks of the statement's own text alone, so that it can carry no row's value.

    Its code and its position in the text do not suffice: while a literal is read (``'x'::my_domain``) the position of the literal
    is put on whatever goes wrong (``parse_node.c: setup_parser_errposition_callback``), and a CHECK of the domain may call what
    reads rows: ``email_of(1)::regclass`` there is a 42P01 that tells an address, with a position. So the place in the server's
    source has to be one of parse analysis as well, and neither a context nor an inner query may be told of: what functions run is
    analysed in the same places.
    """
    if fields.get(ord("C"), b"")[:2] not in _OF_TEXT_CLASSES or ord("P") not in fields or fields.keys() & _INNER:
        return False
    file = fields.get(ord("F"), b"")
    return file.decode("ascii", "replace") in _OF_TEXT or (file, fields.get(ord("R"))) == _TYPE_LOOKUP


def scrubbed(tag: bytes, fields: list[tuple[int, bytes]]) -> bytes:
    """An error or notice of the server without anything that could carry a value."""
    kept = [(code, value) for code, value in fields if code in _HARMLESS]
    return messages.with_fields(tag, [*kept, (ord("M"), _WITHHELD), (ord("H"), _WITHHELD_HINT)])
