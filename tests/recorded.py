"""A small log that has one of everything, for tests of what reads it."""

from __future__ import annotations

import itertools
from pathlib import Path

from hostguard.recorder.entry import (
    Approval,
    DaemonStart,
    Decision,
    FlowClose,
    FlowOpen,
    FlowRefused,
    Operation,
    Reply,
    Request,
    Session,
    Withdrawn,
)
from hostguard.recorder.log import Log

START_NS = 1_790_000_000_000_000_000
ORDERS = "shop/shop/public/orders"
CUSTOMERS = "shop/shop/public/customers"
LONG = "SELECT 'x" + "y" * 70_000 + "' AS needle"
SELECT = "SELECT name, email FROM customers WHERE id = $1"
DELETE = "DELETE FROM orders\nWHERE id = 7"
DROP = "DROP TABLE orders"


def log_in(folder: Path) -> Log:
    """A log whose clock advances by a millisecond at each append."""
    ticks = itertools.count()

    def clock() -> tuple[int, int]:
        tick = next(ticks) * 1_000_000
        return START_NS + tick, 5_000 + tick

    return Log(folder, clock)


def opened(agent: str = "support-bot", resource: str = "shop", source: str = "127.0.0.1:47110") -> FlowOpen:
    """A flow of a process of this host."""
    return FlowOpen(
        agent, agent, resource, "postgres", source, "127.0.0.1:5432", 42, 9, 1001, 1001, "bot", "python3", "/usr/bin/python3",
        ("python3", "agent.py"),
    )  # fmt: skip


def record(folder: Path) -> tuple[int, int, int]:
    """Three flows: of support-bot (works), of fraud-bot (denied, and still open), and one that was refused."""
    log = log_in(folder)
    log.append(0, DaemonStart("1", 1))
    first = log.open_flow(opened())
    log.append(first, Session("shop", "app", (("user", "app"), ("database", "shop"), ("application_name", "bot"))))
    select = Operation(1, "prepare", SELECT, "s1", types=(23,))
    log.append(first, select, _decided(1, "allow", "support reads the shop", ("select", CUSTOMERS)))
    log.append(first, Reply(1, "ok"))
    log.append(
        first,
        Operation(2, "execute", SELECT, "s1", (b"\0\0\0\x07", b"zo\xc3\xab", None), (1, 0, 0), (23,)),
        _decided(2, "allow", "support reads the shop", ("select", CUSTOMERS)),
    )
    log.append(first, Reply(2, "ok", "SELECT 1", 1, 30, ("name", "email"), ("email",), 900, ("pii.email",)))
    log.append(
        first,
        Operation(3, "query", DELETE),
        _decided(3, "hold", "a DBA decides", ("delete", ORDERS), request="R-1"),
        Request("R-1", 3, b"d" * 32, "wait", ("group dba",), START_NS + 10**12),
    )
    log.append(first, Approval("R-1", "approved", "bob", 0, 3, "fine"))
    log.append(first, _decided(3, "allow", "a DBA decides", ("delete", ORDERS), request="R-1"))
    log.append(first, Reply(3, "ok", "DELETE 1", 1, 0, duration_us=1200))
    log.append(first, Operation(4, "query", LONG), _decided(4, "allow", "support reads the shop", ("select", CUSTOMERS)))
    log.append(first, Reply(4, "error", "42P01"))
    second = log.open_flow(opened("fraud-bot", source="[::1]:47111"))
    log.append(second, Session("shop", "fraud", (("user", "fraud"), ("database", "shop"))))
    log.append(second, Operation(1, "query", DROP), Decision(1, "deny", "nothing permits drop", accesses=(("drop", ORDERS),)))
    log.append(second, Reply(1, "error", "42501"))
    log.append(second, Operation(2, "query", "DELETE FROM orders"), _decided(2, "hold", "a DBA decides", ("delete", ORDERS)))
    log.append(second, Request("R-2", 2, b"e" * 32), Withdrawn(2, "the client cancelled"))
    log.append(second, Approval("R-2", "withdrawn", operation=2))
    log.append(first, FlowClose("the agent closed the connection", client_bytes=10, server_bytes=20))
    refused = log.open_flow(FlowRefused("", "", "", source="127.0.0.1:9", destination="10.0.0.9:22", reason="no resource"))
    log.close()
    return first, second, refused


def _decided(operation: int, verdict: str, policy: str, access: tuple[str, str], request: str = "") -> Decision:
    return Decision(operation, verdict, "", "", (policy,), (access,), 1, request)
