"""The resolver's process carries no more than it needs, and its keeper believes nothing that it says."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from hostguard.agent.names import messages
from hostguard.agent.names.asker import Asker
from hostguard.agent.names.keeper import _attributed
from hostguard.recorder.entry import FORMAT_VERSION, Cancel, NameAnswered, NameAsked

ASKER = Asker(3, "bot", "bots", "192.0.2.1:53", 1, 42, 7, 1000, "agent", "/bin/agent", "/bots")
FORGED = NameAsked("q", "admin", "w", "a.example", "A", "allow", server="x:53", pid=1, uid=0, comm="init", exe="/sbin/init")


def test_it_loads_nothing_of_the_supervisors() -> None:
    program = "import hostguard.agent.names.process, sys; print(*sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    wrong = [
        name
        for name in loaded
        if name.startswith(("hostguard.kernel", "hostguard.protocols.postgres", "aiohttp", "click", "hostguard.recorder.log"))
        or name in ("hostguard.agent.names.keeper", "hostguard.agent.resources", "hostguard.agent.daemon")
    ]
    assert wrong == []


def test_what_is_on_record_of_a_process_is_what_the_kernel_told_not_what_the_resolver_says() -> None:
    FORGED.v = 99
    entry = _attributed(FORGED, ASKER)
    assert isinstance(entry, NameAsked)
    assert (entry.v, entry.agent, entry.workload, entry.server) == (FORMAT_VERSION, "bot", "bots", "192.0.2.1:53")
    assert (entry.pid, entry.start_ticks, entry.uid, entry.comm) == (42, 7, 1000, "agent")
    assert (entry.exe, entry.cgroup, entry.name) == ("/bin/agent", "/bots", "a.example")


@pytest.mark.parametrize(
    "message",
    [
        messages.Put(1, 1, ()),
        messages.Put(1, 1, (FORGED,) * 3),
        messages.Put(1, 1, (Cancel(1),)),  # type: ignore[arg-type]
        messages.Put(-1, -1, "no entries"),  # type: ignore[arg-type]
        messages.Learnt(1, 1, "a", ("127.0.0.1",) * 5000, 1),
        messages.Learnt(1, 1, "a", ("1" * 65,), 1),
        messages.Learnt(1, 1, "a", (), -1),
        messages.Learnt(1, 1, "a" * 9000, (), 1),
        messages.Who(1, -1, "127.0.0.1", 1),
        messages.Who(1, 0, "127.0.0.1", 65_536),
        messages.Crashed("x" * 9000),
        messages.Ping(1),
    ],
)
def test_a_message_that_breaks_a_rule_is_none(message: msgspec.Struct) -> None:
    with pytest.raises(msgspec.MsgspecError):
        messages.from_resolver(messages.encode(message))


def test_a_message_comes_back_as_it_was() -> None:
    put = messages.Put(1, 2, (NameAsked("q", "a", "w", "n", "A", "allow"), NameAnswered("q", "NOERROR", ("A 127.0.0.1",))))
    assert messages.from_resolver(messages.encode(put)) == put
