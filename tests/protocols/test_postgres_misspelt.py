"""A misspelt text is refused as the server itself would refuse it, whatever state the transaction is in."""

from __future__ import annotations

import pytest
import wire
from playbook import Step, client, decide, deny, play, server, to_client, to_server
from sessions import opened, poisons

from hostguard.protocols.events import Decision, Verdict

POISON = poisons()
WORDS = 'syntax error at or near "SELEC"'
MISSPELT = Decision(Verdict.DENY, WORDS, refusal=b"42601", position=1)
CUT_OFF = Decision(Verdict.DENY, "syntax error at end of input", refusal=b"42601", position=7)
SOURCE = {"F": "scan.l", "L": "1237", "R": "scanner_yyerror"}
DRAWN = wire.error("42601", 'syntax error at or near "hostguard"', P="1", **SOURCE)
TOLD = wire.message(b"E", f"SERROR\0VERROR\0C42601\0M{WORDS}\0P1\0Fscan.l\0L1237\0Rscanner_yyerror\0\0".encode())
ENDED = "replied 1 error 42601 rows=0"

DIALOGUES: dict[str, list[Step]] = {
    "a query": [
        client(wire.query("SELEC 1"), gives=["ask 1 query SELEC 1"]),
        decide(1, MISSPELT, [to_server(POISON["misspelt"])]),
        server(DRAWN, wire.ready(), gives=[to_client(TOLD, wire.ready()), ENDED]),
    ],
    "a query in an aborted transaction": [
        client(wire.query("SELEC 1"), gives=["ask 1 query SELEC 1"]),
        decide(1, MISSPELT, [to_server(POISON["misspelt"])]),
        server(DRAWN, wire.ready("E"), gives=[to_client(TOLD, wire.ready("E")), ENDED]),
    ],
    "a query that ends too early": [
        client(wire.query("SELECT"), gives=["ask 1 query SELECT"]),
        decide(1, CUT_OFF, [to_server(POISON["cut off"])]),
        server(
            wire.error("42601", "syntax error at end of input", P="60", **{**SOURCE, "L": "1229"}),
            wire.ready(),
            gives=[
                to_client(
                    wire.message(
                        b"E",
                        b"SERROR\0VERROR\0C42601\0Msyntax error at end of input\0P7\0Fscan.l\0L1229\0Rscanner_yyerror\0\0",
                    ),
                    wire.ready(),
                ),
                ENDED,
            ],
        ),
    ],
    "a text to prepare": [
        client(wire.parse("SELEC 1"), wire.SYNC, gives=["ask 1 prepare SELEC 1"]),
        decide(1, MISSPELT, [to_server(POISON["misspelt parse"], wire.SYNC)]),
        server(DRAWN, wire.ready(), gives=[to_client(TOLD, wire.ready()), ENDED]),
    ],
    "another error than the one that the poison draws is the server's own": [
        client(wire.query("SELEC 1"), gives=["ask 1 query SELEC 1"]),
        decide(1, MISSPELT, [to_server(POISON["misspelt"])]),
        server(
            wire.error("57014", "canceled", **SOURCE),
            wire.ready(),
            gives=[to_client(wire.error("57014", "canceled", **SOURCE), wire.ready()), "replied 1 error 57014 rows=0"],
        ),
    ],
    "a policy's refusal tells no line of the server's source": [
        client(wire.query("DROP TABLE t"), gives=["ask 1 query DROP TABLE t"]),
        deny(1, [to_server(POISON["query"])]),
        server(
            wire.error("42P02", P="8", **SOURCE),
            wire.ready(),
            gives=[
                to_client(wire.message(b"E", b"SERROR\0VERROR\0C42501\0Mpolicy says no\0\0"), wire.ready()),
                "replied 1 error 42P02 rows=0",
            ],
        ),
    ],
}


@pytest.mark.parametrize("dialogue", DIALOGUES.values(), ids=DIALOGUES)
def test_dialogue(dialogue: list[Step]) -> None:
    play(opened, dialogue)
