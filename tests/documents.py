"""A small configuration to make mistakes in."""

from __future__ import annotations

from pathlib import Path

import pytest

from hostguard.policy.document import ConfigErrors, load

SMALL = """
[workloads.bot]
cgroup = "hostguard/bot"
agent = "bot"
[agents.bot]
owner = "alice"
roles = ["reader"]
[users.alice]
[resources.shop]
protocol = "postgres"
addresses = ["127.0.0.1:5432"]
"""
RULE = '@id("readers read")\npermit (principal in Role::"reader", action in Action::"read", resource in Database::"shop/shop");\n'


def write(folder: Path, toml: str = SMALL, cedar: str = RULE) -> Path:
    (folder / "policies").mkdir(exist_ok=True)
    (folder / "policies" / "rules.cedar").write_text(cedar)
    (folder / "hostguard.toml").write_text(toml)
    return folder / "hostguard.toml"


def mistakes(folder: Path, toml: str = SMALL, cedar: str = RULE) -> list[str]:
    """The mistakes as they are printed, with paths relative to the folder."""
    with pytest.raises(ConfigErrors) as caught:
        load(write(folder, toml, cedar))
    return [str(error).replace(f"{folder}/", "") for error in caught.value.errors]


def of_workloads(folder: Path, toml: str) -> list[str]:
    """The mistakes of workloads, beside one elsewhere."""
    found = mistakes(folder, toml + "[nowhere]\n")
    assert "nowhere" in found[-1]
    return [line.partition(": workloads.")[2] for line in found[:-1]]
