"""What this host has around the kernel hooks: what confines processes, what runs the daemon, who can read its things."""

from __future__ import annotations

import stat
from pathlib import Path

from ..kernel import confine
from ..kernel.errors import KernelError
from ..kernel.features import Feature
from ..policy.document import ConfigErrors, load, load_daemon
from ..policy.sections import SEEN_FAMILIES, Daemon
from .authority.stores import stores
from .failures import Failure
from .install import host, manifest
from .install.parts import CONFIG, UNIT, USER, parts
from .install.place import digest
from .modes import observed
from .sandbox import landlock


def checks(config: Path) -> list[Feature]:
    """All of them, in the order in which one would mend them. Changes nothing."""
    confining = [_seccomp(), _landlock(), _user(), _systemd(), unit(Path("/"))]
    return [*confining, _configuration(config), _modes(config), _state(config), *stores()]


def _seccomp() -> Feature:
    """Make the filter of `hostguard exec` without loading it."""
    try:
        confine.call_filter(SEEN_FAMILIES, io_uring=False)
    except KernelError as error:
        return Feature("seccomp", False, str(error), "apt-get install libseccomp2")
    if "\nSeccomp:" not in Path("/proc/self/status").read_text(encoding="utf-8"):
        return Feature("seccomp", False, "not in this kernel", "use a kernel with CONFIG_SECCOMP_FILTER=y")
    return Feature("seccomp", True, "filters system calls of guarded programs", "")


def _landlock() -> Feature:
    try:
        version = landlock.abi()
    except landlock.NoLandlock as error:
        remedy = "boot with lsm=landlock,… in front of what /sys/kernel/security/lsm lists (CONFIG_SECURITY_LANDLOCK=y)"
        return Feature("Landlock", False, str(error), remedy, required=False)
    return Feature("Landlock", True, f"ABI {version}", "", required=False)


def _user() -> Feature:
    if host.has_user():
        return Feature("user", True, USER, "", required=False)
    return Feature("user", False, f"no user {USER} for the workers", "hostguard install", required=False)


def _systemd() -> Feature:
    if host.SYSTEMD_RUNS.is_dir():
        return Feature("systemd", True, "runs", "", required=False)
    remedy = "start `hostguard daemon` with what starts services here, again whenever it ends"
    return Feature("systemd", False, "does not run", remedy, required=False)


def unit(root: Path) -> Feature:
    """Installed, and as this version would write it."""
    try:
        installed = manifest.read(root)
        found = (root / UNIT.lstrip("/")).read_bytes()
    except Failure as error:
        return Feature("unit", False, str(error), "run as root, to know", required=False)
    except OSError as error:
        return Feature("unit", False, f"{UNIT}: {error.strerror}", "hostguard install", required=False)
    wanted = next(part.text for part in parts(installed.program) if part.path == UNIT)
    if found == wanted.encode():
        return Feature("unit", True, f"{UNIT}, up to date", "", required=False)
    if digest(found) == installed.files.get(UNIT):
        remedy = f"hostguard install --exec {installed.program} && systemctl restart {host.SERVICE}"
        return Feature("unit", False, f"{UNIT} is of hostguard {installed.version}", remedy, required=False)
    remedy = f"rm {UNIT} && hostguard install; changes belong in a drop-in: systemctl edit {host.SERVICE}"
    return Feature("unit", False, f"{UNIT} was edited", remedy, required=False)


def _configuration(config: Path) -> Feature:
    """Whoever can write it decides what agents may do."""
    if not config.exists():
        remedy = "hostguard install" if str(config).startswith(f"{CONFIG}/") else f"write {config}"
        return Feature("configuration", False, f"no {config}", remedy, required=False)
    loose = [place for place in (config.parent, config) if _open_to_others(place, stat.S_IWGRP | stat.S_IWOTH)]
    if loose:
        places = " ".join(map(str, loose))
        return Feature(
            "configuration", False, f"others than root can write {places}", f"chown root {places} && chmod go-w {places}"
        )
    return Feature("configuration", True, str(config), "")


def _modes(config: Path) -> Feature:
    """What is only observed is not guarded, however well the host is."""
    try:
        names = observed(load(config)) if config.exists() else []
    except ConfigErrors:
        return Feature("modes", True, "not known: the configuration has mistakes", "", required=False)
    if names:
        remedy = 'hostguard report tells what would have been denied; then mode = "enforce", and reload'
        return Feature("modes", False, f"ONLY OBSERVED, nothing is refused: {', '.join(names)}", remedy, required=False)
    return Feature("modes", True, "no workload is only observed", "", required=False)


def _state(config: Path) -> Feature:
    """The log holds what agents asked; the keys beside it sign it."""
    try:
        daemon = load_daemon(config) if config.exists() else Daemon()
    except ConfigErrors as errors:
        return Feature(
            "state", False, f"not known: {errors.errors[0]}", f"hostguard policy check --config {config}", required=False
        )
    place = Path(daemon.state_dir)
    if not place.exists():
        return Feature("state", True, f"{place}, made when the daemon starts", "")
    if _open_to_others(place, stat.S_IRWXG | stat.S_IRWXO):
        return Feature("state", False, f"{place} is open to others than root", f"chown root {place} && chmod 700 {place}")
    return Feature("state", True, f"{place}, root's alone", "")


def _open_to_others(place: Path, bits: int) -> bool:
    found = place.stat()
    return bool(found.st_uid != 0 or found.st_mode & bits)
