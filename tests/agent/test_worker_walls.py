"""What runs in a worker has nothing in its memory that only the supervisor needs, and everything that it will need."""

from __future__ import annotations

import subprocess
import sys

SUPERVISOR = (
    "authority", "broker", "logins", "secrecy", "trust",
    "beginning", "bequest", "berth", "cancels", "child", "cli", "client", "control", "crew", "daemon", "desk", "dialling",
    "entrance", "flows", "forwarding", "guarded", "handover", "lease", "predecessor", "preflight", "restart",
    "holds", "logwriter", "metrics", "paths", "records", "reload", "report", "resources", "retention", "s3", "sealing",
    "selftest", "shipping", "status", "witnesses",
)  # fmt: skip
NOT_IN_A_WORKER = (
    "hostguard.kernel", "hostguard.identity.process", "hostguard.recorder.drain", "hostguard.recorder.seal",
    *(f"hostguard.agent.{name}" for name in SUPERVISOR),
    "aiohttp", "boto3", "click", "cryptography", "jinja2", "prometheus_client", "pyroute2",
    "pyseccomp", "rich",
)  # fmt: skip
LOADED = "import sys, hostguard.agent.worker; print(*sorted(sys.modules))"


def loaded() -> list[str]:
    out = subprocess.run([sys.executable, "-I", "-c", LOADED], capture_output=True, text=True, check=True, timeout=60)
    return out.stdout.split()


def test_a_worker_has_nothing_of_the_supervisors() -> None:
    modules = loaded()
    assert "hostguard.agent.relay" in modules
    assert [name for name in modules for wall in NOT_IN_A_WORKER if name == wall or name.startswith(f"{wall}.")] == []
