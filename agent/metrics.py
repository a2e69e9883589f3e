"""The daemon's figures in Prometheus' text format, made when somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from .crew import Crew
from .entrance import Entrance
from .faults import Faults
from .latency import Latency
from .status import Status

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics(Collector):
    """Reads what the daemon counts anyway; nothing of this runs on the data path."""

    def __init__(self, status: Status, crew: Crew, entrance: Entrance, faults: Faults, syncs: Latency) -> None:
        self._status = status
        self._crew = crew
        self._entrance = entrance
        self._faults = faults
        self._syncs = syncs
        self._facts: dict[str, Any] = {}
        """Of ``hostguard status``, as they are now."""
        self._sees: Callable[[str], bool] = everyone
        """Whom whoever asks may look at."""
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    async def text(self, sees: Callable[[str], bool]) -> bytes:
        """The exposition for somebody who `sees` some agents; `CONTENT_TYPE` is what it is."""
        facts = await self._status.facts()
        # Nothing is awaited from here on.
        self._facts, self._sees = facts, sees
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        """Nothing: it would take a collection to know."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Every metric; docs/metrics.md lists them."""
        facts = self._facts
        yield InfoMetricFamily("hostguard", "Version of the daemon.", {"version": facts["version"]})
        yield GaugeMetricFamily("hostguard_guarding", "1 when nothing is wrong, as in hostguard status.", not facts["problems"])
        yield GaugeMetricFamily("hostguard_problems", "What hostguard status names as a problem.", len(facts["problems"]))
        yield GaugeMetricFamily("hostguard_start_time_seconds", "When the daemon began, since 1970.", facts["started_at"])
        yield from self._flows(facts)
        yield GaugeMetricFamily(
            "hostguard_powerful_processes", "Guarded processes that could undo the guard.", facts["powers"]["count"]
        )
        yield from _names(facts["names"])
        yield from _log(facts["log"])
        if facts["shipped"] is not None:
            yield from _shipped(facts["shipped"], facts["log"]["sealed"])
        yield histogram(
            "hostguard_added_latency_seconds",
            "From the decoding of an allowed operation to its release; held ones are not in here.",
            self._crew.added,
        )
        yield histogram("hostguard_log_sync_seconds", "Of one sync of the log.", self._syncs)
        kernel = CounterMetricFamily("hostguard_kernel_events", "Counters of the eBPF programs.", labels=["event"])
        for name, value in facts["kernel"].items():
            kernel.add_metric([name], value)
        yield kernel
        denied = CounterMetricFamily(
            "hostguard_denied", "What guarded processes tried past the loop.", labels=["workload", "road"]
        )
        for told in facts["denied"]["workloads"]:
            if not told["agent"] or self._sees(told["agent"]):
                denied.add_metric([told["workload"], told["road"]], told["times"])
        yield denied

    def _flows(self, facts: dict[str, Any]) -> Iterator[Metric]:
        yield GaugeMetricFamily("hostguard_flows", "Flows that are open.", facts["flows"]["open"])
        yield CounterMetricFamily("hostguard_flows_opened", "Flows since the start.", self._entrance.opened)
        yield CounterMetricFamily("hostguard_flows_refused", "Connections that did not become flows.", facts["flows"]["refused"])
        only = GaugeMetricFamily("hostguard_workload_observed", "1 for a workload that is only observed.", labels=["workload"])
        for workload in facts["workloads"]:
            if self._sees(workload["agent"]):
                only.add_metric([workload["name"]], workload["mode"] == "observe")
        yield only
        yield GaugeMetricFamily("hostguard_workers", "Workers that serve.", sum(w["ready"] for w in facts["workers"]["running"]))
        yield CounterMetricFamily("hostguard_workers_ended", "Workers that ended and were replaced.", facts["workers"]["ended"])
        operations = CounterMetricFamily("hostguard_operations", "Operations by the first verdict.", labels=["verdict"])
        verdicts = ("allow", "allowed"), ("deny", "denied"), ("hold", "held")
        for verdict, name in (*verdicts, ("would-deny", "would_deny"), ("would-hold", "would_hold")):
            operations.add_metric([verdict], facts["operations"][name])
        yield operations
        pending = facts["requests"]["pending"]
        yield GaugeMetricFamily("hostguard_requests_pending", "Held operations that wait for a user.", pending)
        faults = CounterMetricFamily("hostguard_faults", "Flows that ended out of order, by whose fault.", labels=["fault"])
        for fault, count in self._faults.counts.items():
            faults.add_metric([fault], count)
        yield faults


def everyone(_: str) -> bool:
    """For who may look at all agents, and for whoever may read it all."""
    return True


def _names(names: dict[str, Any]) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "hostguard_resolver_up", "1 while names are answered.", names["running"] and bool(names["redirected"])
    )
    yield CounterMetricFamily("hostguard_resolvers_ended", "Resolvers that ended and were replaced.", names["ended"])
    if "questions" not in names:
        return
    asked = CounterMetricFamily("hostguard_names_asked", "Names asked for, by verdict.", labels=["verdict"])
    for verdict, name in (("allow", "allowed"), ("deny", "denied")):
        asked.add_metric([verdict], names["questions"][name])
    yield asked
    upstream = CounterMetricFamily("hostguard_names_upstream", "Questions passed on to name servers.", labels=["outcome"])
    for outcome, count in names["upstream"].items():
        upstream.add_metric([outcome], count)
    yield upstream
    yield CounterMetricFamily("hostguard_names_cache_hits", "Questions that the cache answered.", names["hits"])
    yield GaugeMetricFamily("hostguard_names_cached", "Answers in the cache.", names["cached"])
    yield GaugeMetricFamily("hostguard_names_alarms", "Domains below which a tunnel was suspected.", len(names["alarms"]))
    yield GaugeMetricFamily("hostguard_names_failing", "1 when no name server answered last.", bool(names["failure"]))


def _log(log: dict[str, Any]) -> Iterator[Metric]:
    yield GaugeMetricFamily("hostguard_log_entries", "Entries of the log.", log["entries"])
    lag = log["entries"] - log["synced"]
    yield GaugeMetricFamily("hostguard_log_lag_entries", "Entries that a power cut would lose now.", lag)
    behind = log["journals_behind_bytes"]
    yield GaugeMetricFamily("hostguard_journal_lag_bytes", "Written by workers, and not yet in the log.", behind)
    yield GaugeMetricFamily("hostguard_log_available", "1 while the log can be written.", not log["failure"])
    for name, what in (("sealed", "Entries under a signed checkpoint."), ("witnessed", "Entries vouched for by a witness.")):
        if name in log:
            yield GaugeMetricFamily(f"hostguard_log_{name}_entries", what, log[name])


def _shipped(shipped: dict[str, Any], sealed: int) -> Iterator[Metric]:
    arrived, tried_at = shipped["entries"], shipped["tried_at"]
    yield GaugeMetricFamily("hostguard_shipped_entries", "Entries that have arrived in the bucket.", arrived)
    yield GaugeMetricFamily("hostguard_ship_lag_entries", "Sealed entries that have not arrived yet.", max(0, sealed - arrived))
    yield GaugeMetricFamily(
        "hostguard_ship_last_pass_time_seconds", "When the newest pass ended, since 1970; 0 for never.", tried_at
    )
    yield GaugeMetricFamily("hostguard_ship_failing", "1 when the newest pass failed.", bool(shipped["failure"]))


def histogram(name: str, what: str, latency: Latency) -> Metric:
    """A `Latency` as Prometheus has it."""
    return HistogramMetricFamily(name, what, buckets=latency.buckets(), sum_value=latency.total_ns / 1e9)
