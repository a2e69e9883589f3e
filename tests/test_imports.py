"""What each process must not import: a start costs a user processor time at every restart, and at every crash.

What stands here was found in processes that never used it. A caged process imports what it uses before its cage closes, so that
there is no later for it; the supervisor and the command line import what few configurations need where it is used.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

GRAMMAR = ("pglast",)
DETECTORS = ("hyperscan", "phonenumbers", "stdnum")
WEB = ("aiohttp",)
TOKENS = ("joserfc", "lxml", "signxml")
NAMES = ("dns",)
CERTIFICATES = ("cryptography.x509", "OpenSSL")
POLICIES = ("cedarpy",)
DISCOVERY = ("importlib.metadata",)
NEVER = ("boto3", "botocore", "hvac", "jinja2", "scapy", "unittest", "http.server")
"""Nothing that is used at each start of anything."""

FORBIDDEN = {
    "agent.daemon": (*GRAMMAR, *DETECTORS, *TOKENS, *NAMES, *CERTIFICATES, "rich", "click"),
    "agent.worker": (*WEB, *TOKENS, *NAMES, "rich", "click", *NEVER),
    "agent.names.process": (*GRAMMAR, *DETECTORS, *WEB, *TOKENS, "cryptography", "rich", "click", *NEVER),
    "agent.broker.process": (*GRAMMAR, *DETECTORS, *WEB, *TOKENS, *NAMES, *POLICIES, *DISCOVERY, "rich", "click", *NEVER),
    "agent.verifier.process": (*GRAMMAR, *DETECTORS, *NAMES, *POLICIES, "rich", "click", *NEVER),
    "agent.notices.process": (*GRAMMAR, *DETECTORS, *TOKENS, *POLICIES, "cryptography", "rich", "click", *NEVER),
    "agent.cli.main": (*GRAMMAR, *DETECTORS, *WEB, *TOKENS, *NAMES, *POLICIES, *CERTIFICATES, *DISCOVERY, "rich", *NEVER),
    "agent.cli.daemon": (*GRAMMAR, *DETECTORS, *WEB, *TOKENS, *NAMES, *POLICIES, *CERTIFICATES, *DISCOVERY, "rich", *NEVER),
    "agent.cli.exec": (*GRAMMAR, *DETECTORS, *WEB, *TOKENS, *NAMES, *POLICIES, *CERTIFICATES, *DISCOVERY, "rich", *NEVER),
    "agent.cli.status": (*GRAMMAR, *DETECTORS, *WEB, *TOKENS, *NAMES, *POLICIES, *CERTIFICATES, *DISCOVERY, "asyncio", *NEVER),
    "agent.cli.requests": (*GRAMMAR, *DETECTORS, *WEB, *TOKENS, *NAMES, *POLICIES, *CERTIFICATES, *DISCOVERY, "asyncio", *NEVER),
    "agent.cli.grants": (*GRAMMAR, *DETECTORS, *WEB, *TOKENS, *NAMES, *CERTIFICATES, *NEVER),
}


@pytest.mark.parametrize("module", FORBIDDEN)
def test_a_start_imports_nothing_that_it_does_not_use(module: str) -> None:
    told = f"import sys, hostguard.{module}; print(*sys.modules)"
    imported = subprocess.run([sys.executable, "-I", "-c", told], capture_output=True, text=True, check=True, cwd="/").stdout
    assert f"hostguard.{module}" in imported.split()
    assert sorted(set(FORBIDDEN[module]) & set(imported.split())) == []
