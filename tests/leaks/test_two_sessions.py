"""What a name means may change while a text waits for a lock that another session of the agent's has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import guard
from leaks import vault
from servers import Server

WAITER = [sys.executable, str(Path(__file__).with_name("waiter.py"))]


def test_what_was_hidden_by_a_table_that_is_dropped_meanwhile_stays_hidden(postgres15: Server) -> None:
    with vault.twins(postgres15), guard.guarding(vault.setup(postgres15)) as running:
        environment = postgres15.environment("twin_a")
        ran = running.run(vault.WORKLOAD, WAITER, environment)
        assert ran.stderr == ""
        before, guarded = json.loads(ran.stdout)
        direct = subprocess.run(WAITER, env={**os.environ, **environment}, capture_output=True, text=True, check=True).stdout
    assert before == []
    assert guarded == [[None]] * 5
    assert ["tk-Zeppelin77kWolfram"] in json.loads(direct)[1], "so the test can fail"
