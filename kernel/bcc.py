"""The second loader: the same C sources, compiled on this host by bcc.

For a kernel in which libbpf can't place the object's programs. libbpf still makes the maps, which takes nothing of the kernel's
types; the sources are compiled with HG_UAPI_ONLY (process.bpf.h says what that loses), each map named by its descriptor. What
comes out is a program like any other: attached by links, pinned, swapped as ever. Takes Debian's python3-bpfcc with the headers
of a kernel, this one's where they are there.
"""

from __future__ import annotations

import errno
import importlib.util
import os
import platform
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from . import libbpf
from .errors import KernelError
from .hooks import HOOKS
from .layouts import SETTINGS

PACKAGE = Path("/usr/lib/python3/dist-packages/bcc")
HEADERS = Path("/usr/src")
REMEDY = "apt-get install python3-bpfcc linux-headers-$(dpkg --print-architecture)"

# enum bpf_attach_type to enum bpf_prog_type (linux/bpf.h)
CGROUP_SKB, CGROUP_SOCK, SOCK_OPS, CGROUP_SOCK_ADDR, CGROUP_SOCKOPT = 8, 9, 13, 18, 25
PROGRAM_TYPES = {
    **dict.fromkeys((10, 11, 14, 15, 19, 20, 29, 30), CGROUP_SOCK_ADDR),
    **dict.fromkeys((2, 34), CGROUP_SOCK),
    1: CGROUP_SKB,
    3: SOCK_OPS,
    22: CGROUP_SOCKOPT,
}

LIBBPF_ALONE = {"kernel_types.bpf.h", "sending.bpf.h"}
"""Headers of what only BTF can find."""

_INCLUDE = re.compile(r'^#include "(.+)"$', re.MULTILINE)
_LIBRARY_INCLUDE = re.compile(r"^#include <(?:bpf/.+|linux/types\.h|stdbool\.h)>$", re.MULTILINE)
_MAP = re.compile(r'^struct \{\n(?:\t__.*\n)+\} hg_\w+ SEC\("\.maps"\);$', re.MULTILINE)
_MAP_USE = re.compile(r"&(hg_\w+)\b")
_SETTINGS = re.compile(r"^const volatile struct hg_settings settings [^;]+;$", re.MULTILINE)
_LICENSE = re.compile(r"^char LICENSE\[\].*$", re.MULTILINE)


class Object:
    """As `libbpf.Object`, of the same path: the sources lie beside the object file. Each map must be given a pin."""

    def __init__(self, path: Path) -> None:
        self._bcc = _import_bcc()
        self._source = path.with_suffix(".c")
        self._maps = libbpf.Object(path)
        self._maps.only(set())
        self._wanted: set[str] = set()
        self._pins: dict[str, Path] = {}
        self._settings = ""
        self._programs: dict[str, int] = {}
        self._module: Any = None

    def only(self, names: set[str]) -> None:
        """Load these programs alone."""
        self._wanted = names

    def map_shape(self, name: str) -> libbpf.MapShape:
        """Of a map as the object declares it."""
        return self._maps.map_shape(name)

    def pin_map(self, name: str, path: Path) -> None:
        """At load, take over the map pinned at `path`, or pin a new one there."""
        self._maps.pin_map(name, path)
        self._pins[name] = path

    def set_data(self, section: str, data: bytes) -> None:
        """Set the initial bytes of a data section; `data` has its exact size."""
        self._maps.set_data(section, data)
        limit_ns, root = SETTINGS.unpack(data)
        self._settings = f"{{.heartbeat_limit_ns = {limit_ns}ULL, .root_cgroup = {root}ULL}}"

    def load(self) -> None:
        """Make or reuse the maps, compile, verify, load the programs."""
        self._maps.load()
        with ExitStack() as opened:
            fds: dict[str, int] = {}
            for name, path in self._pins.items():
                fd = libbpf.pinned(path)
                if fd is None:
                    raise KernelError(errno.ENOENT, name, "the map's pin vanished while loading")
                opened.callback(os.close, fd)
                fds[name] = fd
            with _headers():
                try:
                    self._module = self._bcc.BPF(text=translate(self._source, fds, self._settings), cflags=["-Wno-everything"])
                    for name in sorted(self._wanted):
                        kind = HOOKS[name.removeprefix("hg_")].attach_type
                        loaded = self._module.load_func(name.encode(), PROGRAM_TYPES[kind], attach_type=kind)
                        self._programs[name] = loaded.fd
                except Exception as error:  # bcc raises no other
                    raise KernelError(0, self._source.name, f"bcc does not load it: {error}") from None

    def program_fd(self, name: str) -> int:
        """Descriptor of a loaded program, owned by this object."""
        return self._programs[name]

    def close(self) -> None:
        """Release programs and maps; what is attached or pinned stays."""
        self._maps.close()
        if self._module is not None:
            self._module.cleanup()
            self._module = None

    def __enter__(self) -> Object:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def translate(source: Path, fds: dict[str, int], settings: str) -> str:
    """The source as bcc takes it: one text, maps by descriptor, constants written out. settings: a C initializer."""
    text = _inlined(source, set())
    text = _MAP.sub("", _LICENSE.sub("", _LIBRARY_INCLUDE.sub("", text)))
    text = _SETTINGS.sub(f"static const struct hg_settings settings = {settings};", text)
    text = _MAP_USE.sub(lambda found: f"((void *)bpf_pseudo_fd(1, {fds[found[1]]}))", text)
    return f"#define HG_UAPI_ONLY\n#define SEC(name)\n{text}"


def _inlined(source: Path, seen: set[str]) -> str:
    """With our own headers in it, each once."""

    def include(found: re.Match[str]) -> str:
        name = found[1]
        if name in seen or name in LIBBPF_ALONE:
            return ""
        seen.add(name)
        return _inlined(source.with_name(name), seen)

    return _INCLUDE.sub(include, source.read_text(encoding="utf-8"))


def _import_bcc() -> ModuleType:
    """Debian's module, also for another Python than Debian's: it is Python with ctypes."""
    if "bcc" in sys.modules:
        return sys.modules["bcc"]
    spec = importlib.util.spec_from_file_location("bcc", PACKAGE / "__init__.py", submodule_search_locations=[str(PACKAGE)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["bcc"] = module
    try:
        spec.loader.exec_module(module)
    except (ImportError, OSError) as error:
        del sys.modules["bcc"]
        raise KernelError(errno.ENOENT, "bcc", f"not installed ({error}): {REMEDY}") from None
    return module


def version() -> str:
    """Version of the bcc that would be used, with the headers. Raises KernelError when either is missing."""
    number = getattr(_import_bcc(), "__version__", "of unknown version")
    return f"bcc {number}, headers {_header_folders()[-1].name if _header_folders() else 'of this kernel'}"


def _header_folders() -> list[Path]:
    """Debian's two folders of kernel headers, which overlap; empty when this kernel's own are there. Raises KernelError."""
    if Path(f"/lib/modules/{platform.release()}/build").exists():
        return []
    common = sorted(HEADERS.glob("linux-headers-*-common"))
    if not common:
        raise KernelError(errno.ENOENT, str(HEADERS), f"no kernel headers: {REMEDY}")
    flavours = [path for path in sorted(HEADERS.glob(f"{common[-1].name.removesuffix('common')}*")) if path != common[-1]]
    return [*flavours[:1], common[-1]]


@contextmanager
def _headers() -> Iterator[None]:
    """Kernel headers for bcc for the length of a block: Debian's are merged in a folder of our own, the host stays as it is."""
    folders = _header_folders()
    if not folders:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="hostguard-headers-") as folder:
        _merge(folders, Path(folder))
        os.environ["BCC_KERNEL_SOURCE"] = folder
        try:
            yield
        finally:
            del os.environ["BCC_KERNEL_SOURCE"]


def _merge(sources: list[Path], into: Path) -> None:
    """Links to the first that has it; a folder that several have is made of links itself."""
    names = {name for source in sources for name in os.listdir(source)}
    for name in names:
        found = [source / name for source in sources if (source / name).exists()]
        if len(found) > 1 and all(place.is_dir() for place in found):
            (into / name).mkdir()
            _merge(found, into / name)
        elif found:
            (into / name).symlink_to(found[0])
