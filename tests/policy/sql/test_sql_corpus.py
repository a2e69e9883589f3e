"""Every statement of the corpus amounts to exactly what the corpus says."""

from __future__ import annotations

import pytest
from sql_corpus import Case, cases

from hostguard.policy.sql.analysis import Analysis
from hostguard.policy.sql.effects import analyse

EFFECTS = {
    "select",
    "insert",
    "update",
    "delete",
    "merge",
    "truncate",
    "create",
    "alter",
    "drop",
    "grant",
    "revoke",
    "copy_in",
    "copy_out",
    "call",
    "do",
    "set",
    "show",
    "transaction",
    "explain",
    "prepare",
    "execute",
    "deallocate",
    "declare_cursor",
    "fetch",
    "close_cursor",
    "lock",
    "listen",
    "notify",
    "unlisten",
    "vacuum",
    "analyze",
    "cluster",
    "reindex",
    "refresh",
    "comment",
    "security_label",
    "checkpoint",
    "load",
    "discard",
    "alter_system",
    "unknown",
}
FLAGS = {
    "no_where",
    "multi_statement",
    "ddl",
    "data_modifying_cte",
    "returning",
    "locking",
    "into",
    "explain_analyze",
    "cascade",
    "opaque",
    "deferred",
    "shadows_catalog",
    "side_effect",
    "file",
    "program",
    "network",
    "role_change",
    "session_setting",
    "superuser",
    "tautology",
}
CASES = cases()


def outcome(analysis: Analysis) -> tuple[tuple[str, ...], ...]:
    return analysis.effects, tuple(map(str, analysis.reads)), tuple(map(str, analysis.writes)), analysis.flags


def test_the_corpus_is_there() -> None:
    assert len(CASES) > 550
    assert len({case.text for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.place)
def test_amounts_to_what_the_corpus_says(case: Case) -> None:
    assert outcome(analyse(case.text)) == (case.effects, case.reads, case.writes, case.flags)


def test_every_word_of_the_vocabulary_is_used_and_no_other() -> None:
    assert {effect for case in CASES for effect in case.effects} == EFFECTS
    assert {flag for case in CASES for flag in case.flags} == FLAGS


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.place)
def test_what_is_read_or_written_must_be_permitted(case: Case) -> None:
    analysis = analyse(case.text)
    asked = {access.name for access in analysis.accesses if access.kind == "table"}
    assert set(analysis.reads) | set(analysis.writes) <= asked
    assert {access.action for access in analysis.accesses} >= set(analysis.effects) - WITHOUT_ACCESS


WITHOUT_ACCESS = {"select", "unknown"}
"""A SELECT of no table asks nothing of any object; what is unknown is refused before anything is asked."""


def test_statements_side_by_side_amount_to_all_of_them() -> None:
    alone = [analyse(text) for text in ("DELETE FROM a WHERE x = 1", "SELECT y FROM b")]
    both = analyse("DELETE FROM a WHERE x = 1; SELECT y FROM b")
    assert set(both.accesses) == {access for analysis in alone for access in analysis.accesses}
    assert both.statements == 2
    assert both.flags == ("multi_statement",)
