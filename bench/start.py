"""What importing each process costs, in times an interpreter that does nothing, measured in the same rounds.

Processor time (user and system) of the children, so that what else the machine does counts for little; the least of the rounds,
since nothing makes it less than it takes. `tests/test_imports.py` keeps what makes most of it out.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import click

PROCESSES = {
    "supervisor": "agent.daemon",
    "worker": "agent.worker",
    "resolver": "agent.names.process",
    "broker": "agent.broker.process",
    "verifier": "agent.verifier.process",
    "messenger": "agent.notices.process",
    "hostguard status": "agent.cli.status",
    "hostguard requests": "agent.cli.requests",
    "hostguard grants": "agent.cli.grants",
}


def spent(code: str) -> float:
    """Seconds of processor time that a fresh interpreter takes for it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-I", "-c", code], check=True, cwd="/")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@click.command()
@click.option("--rounds", default=7, show_default=True, help="How often each is started.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
def main(rounds: int, as_json: bool) -> None:
    """Start every process as far as its imports, and say what that costs."""
    codes = {"nothing": "pass", **{name: f"import hostguard.{module}" for name, module in PROCESSES.items()}}
    least = dict.fromkeys(codes, float("inf"))
    for _ in range(rounds):
        for name, code in codes.items():
            least[name] = min(least[name], spent(code))
    found = {name: {"seconds": seconds, "ratio": seconds / least["nothing"]} for name, seconds in least.items()}
    if as_json:
        print(json.dumps(found, indent=2))
        return
    for name, line in found.items():
        print(f"{name:<20} {line['seconds']:.3f} s  {line['ratio']:5.1f}x")


if __name__ == "__main__":
    main()
