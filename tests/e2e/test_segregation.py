"""The example of duties that must be apart, run as a reader would: on a real PostgreSQL, through the real hooks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "segregation" / "demo.py"


@pytest.mark.timeout(500)
def test_the_example_is_what_it_says() -> None:
    result = subprocess.run([sys.executable, DEMO], capture_output=True, text=True, timeout=480, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.count("✓") >= 9
