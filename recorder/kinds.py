"""Every kind of entry that a log may hold."""

from __future__ import annotations

from .entry import (
    AgentResumed,
    AgentStopped,
    Approval,
    Cancel,
    Captured,
    DaemonStart,
    DaemonStop,
    Decision,
    Encrypted,
    Entry,
    Fault,
    FlowClose,
    FlowOpen,
    FlowRefused,
    JournalEnd,
    JournalOpen,
    LogBegin,
    LogCut,
    LogKey,
    LogRemoved,
    LogResumed,
    NameAnswered,
    NameAsked,
    Opaque,
    Operation,
    PolicyLoad,
    ProbeFailed,
    Reply,
    Request,
    RoadDenied,
    Session,
    Withdrawn,
)

KINDS: tuple[type[Entry], ...] = (
    DaemonStart, DaemonStop, FlowOpen, FlowRefused, FlowClose, Session, Encrypted, Operation, Decision, Reply, Captured, Opaque,
    Withdrawn, Request, Approval, Cancel, NameAsked, NameAnswered, RoadDenied, PolicyLoad, AgentStopped, AgentResumed,
    ProbeFailed, Fault, LogBegin, LogCut, LogResumed, LogRemoved, LogKey, JournalOpen, JournalEnd,
)  # fmt: skip
