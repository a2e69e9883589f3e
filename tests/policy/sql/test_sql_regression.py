"""PostgreSQL's own regression tests: every statement is read, or refused with a reason.

libpg_query carries their SQL among its tests, and pglast's source distribution carries libpg_query.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tarfile
from collections import Counter

import pglast
import pytest

from hostguard.policy.sql.effects import analyse
from hostguard.policy.sql.shape import shape

STATEMENTS = 45_000
UNKNOWN_SHARE = 0.01
"""Of the statements that the grammar takes, those that are refused because nobody could tell what they do."""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The SQL of each regression test."""
    folder = tmp_path_factory.mktemp("pglast")
    source = f"pglast=={importlib.metadata.version('pglast')}"
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-build-isolation", "--no-binary", ":all:"]
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), source]
    got = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if got.returncode != 0:
        pytest.skip(f"the source of pglast is out of reach: {got.stderr.strip()[-200:]}")
    with tarfile.open(next(folder.glob("pglast-*.tar.gz"))) as archive:
        files = [member for member in archive.getmembers() if re.search(r"/postgres_regress/[^/]+\.sql$", member.name)]
        opened = [archive.extractfile(member) for member in files]
        return [file.read().decode("utf-8", "replace") for file in opened if file is not None]


def statements(text: str) -> list[str]:
    """A file's statements, without psql's own commands and the data of its COPYs."""
    text = re.sub(r"^\\copy .*$|^\\[a-z!?].*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"^(copy\b[^;]*from stdin[^;]*;)\n.*?^\\\.$", r"\1", text, flags=re.MULTILINE | re.DOTALL | re.IGNORECASE)
    try:
        return list(pglast.split(text, with_parser=False))
    except pglast.parser.ParseError:
        # Texts that the lexer is to refuse stand in these.
        return text.split(";\n")


@pytest.mark.soak
@pytest.mark.timeout(600)
def test_every_statement_is_read_or_refused_with_a_reason(texts: list[str]) -> None:
    seen, unknown = Counter[str](), Counter[str]()
    for statement in (statement for text in texts for statement in statements(text)):
        shape(statement)
        analysis = analyse(statement)
        assert bool(analysis.unknown) == ("unknown" in analysis.effects), statement
        seen["statements"] += 1
        seen["misspelt"] += analysis.misspelt > 0
        if analysis.unknown and not analysis.misspelt:
            unknown[analysis.unknown.split(",")[0]] += 1
    share = unknown.total() / (seen["statements"] - seen["misspelt"])
    print(f"{dict(seen)}; unknown {unknown.total()} ({share:.2%}): {unknown.most_common(8)}")
    assert seen["statements"] > STATEMENTS
    assert share < UNKNOWN_SHARE
