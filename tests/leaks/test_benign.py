"""What asks for no secret comes back byte for byte as without a guard, also from tables that hold secrets.

The scripts are in benign/*.sql. `leaks.test_leaks` has the same tables, the same agent, and what it may not see.
"""

from __future__ import annotations

from collections.abc import Iterator

import guard
import pytest
from leaks import replies, vault
from leaks.replies import Reply
from leaks.scripts import Script, read
from servers import Server

SCRIPTS = read("benign")
Everything = dict[str, tuple[Reply, Reply]]


@pytest.fixture(scope="module")
def everything(postgres18: Server) -> Iterator[Everything]:
    """What came back for every script, directly and guarded."""
    with vault.twins(postgres18), guard.guarding(vault.setup(postgres18)) as running:
        direct = replies.direct(postgres18, "twin_a", SCRIPTS)
        guarded = replies.guarded(running, postgres18, "twin_a", SCRIPTS)
        yield {script.place: (one, other) for script, one, other in zip(SCRIPTS, direct, guarded, strict=True)}


def cases() -> Iterator[object]:
    for script in SCRIPTS:
        marks = [pytest.mark.xfail(reason=script.today)] if script.today else []
        yield pytest.param(script, marks=marks, id=script.place[:90])


def test_the_suite_is_there() -> None:
    assert len(SCRIPTS) >= 150
    assert len({script.place for script in SCRIPTS}) == len(SCRIPTS)


@pytest.mark.parametrize("script", list(cases()))
def test_comes_back_as_without_a_guard(everything: Everything, script: Script) -> None:
    direct, guarded = everything[script.place]
    # Only the server process's number in notifications differs from session to session.
    assert guarded.told() == direct.told(), (guarded.lines(), direct.lines())
