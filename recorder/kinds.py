"""Every kind of entry that a log may hold."""

from __future__ import annotations

from .entry import (
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
    IdentityEnded,
    IdentityRefused,
    IdentityVerified,
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
    SignedIn,
    Withdrawn,
)

KINDS: tuple[type[Entry], ...] = (
    DaemonStart, DaemonStop, FlowOpen, FlowRefused, FlowClose, Session, Encrypted, Operation, Decision, Reply, Captured, Opaque,
    Withdrawn, Request, Approval, SignedIn, Cancel, NameAsked, NameAnswered, RoadDenied, IdentityVerified, IdentityRefused,
    IdentityEnded, PolicyLoad, ProbeFailed, Fault, LogBegin, LogCut, LogResumed, LogRemoved, LogKey, JournalOpen, JournalEnd,
)  # fmt: skip
