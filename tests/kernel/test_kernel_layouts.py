"""The C header and the Python structs agree; records read back as what was written."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostguard.kernel import layouts
from hostguard.kernel.layouts import OriginKey, read_origin

HEADER = Path(layouts.__file__).parent / "bpf" / "shared.h"

STRUCTS = {
    "hg_listener_key": (layouts.LISTENER_KEY, ["netns_cookie", "family", "zero"]),
    "hg_origin_key": (layouts.ORIGIN_KEY, ["netns_cookie", "address", "port"]),
    "hg_origin": (
        layouts.ORIGIN,
        [
            *["connect_ns", "start_boottime_ns", "socket_cookie", "task_cgroup", "socket_cgroup", "guarded_cgroup", "workload"],
            *["tgid", "uid", "gid", "address", "port", "family", "listener_port", "ambiguous", "comm", "exe_inode", "exe_device"],
        ],
    ),
    "hg_program_key": (layouts.PROGRAM_KEY, ["inode", "device"]),
    "hg_unix_key": (layouts.UNIX_KEY, ["length", "path"]),
    "hg_unix_rule": (layouts.UNIX_RULE, ["verdict", "to.length", "to.path"]),
    "hg_path_key": (layouts.PATH_KEY, ["path"]),
    "hg_event": (
        layouts.EVENT,
        [
            *[
                "time_ns",
                "start_boottime_ns",
                "cgroup",
                "kind",
                "workload",
                "tgid",
                "uid",
                "address",
                "port",
                "family",
                "protocol",
            ],
            *["observed", "comm", "path.length", "path.path"],
        ],
    ),
    "hg_settings": (layouts.SETTINGS, ["heartbeat_limit_ns", "root_cgroup"]),
}


def python_offsets(layout: struct.Struct) -> list[tuple[int, int]]:
    """(offset, size) of each field that the format names; pad bytes are none."""
    offsets, position = [], 0
    for count, code in re.findall(r"(\d*)([a-zA-Z])", layout.format.lstrip("=")):
        for item in [f"{count}{code}"] if code in "sx" else [code] * int(count or 1):
            size = struct.calcsize("=" + item)
            if code != "x":
                offsets.append((position, size))
            position += size
    return offsets


@pytest.fixture(scope="module")
def c_facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What gcc makes of the header: sizes, offsets, names of the counters."""
    lines = [f'printf("counters %s\\n", {" ".join(["NAMES"])});']
    for name, (_, fields) in STRUCTS.items():
        lines.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        for field in fields:
            size = f"sizeof(((struct {name} *)0)->{field})"
            lines.append(f'printf("{name}.{field} %zu %zu\\n", offsetof(struct {name}, {field}), {size});')
    source = tmp_path_factory.mktemp("layouts") / "facts.c"
    source.write_text(
        f'#include <stddef.h>\n#include <stdio.h>\n#include "{HEADER}"\n#define X(name) #name ","\n'
        "#define NAMES HG_COUNTERS(X)\nint main(void)\n{\n" + "\n".join(lines) + "\n}\n"
    )
    program = source.with_suffix("")
    subprocess.run(["gcc", "-Wall", "-Werror", "-o", program, source], check=True)
    out = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return dict(line.split(" ", 1) for line in out.splitlines())


@pytest.mark.parametrize("name", STRUCTS)
def test_sizes_and_offsets_are_those_of_the_header(name: str, c_facts: dict[str, str]) -> None:
    layout, fields = STRUCTS[name]
    assert layout.size == int(c_facts[name])
    offsets = [tuple(map(int, c_facts[f"{name}.{field}"].split())) for field in fields]
    assert python_offsets(layout) == offsets


@pytest.mark.parametrize("name", ["SELF_TEST", "WATCHED", "CLEARED", "UNIX_ALLOW", "UNIX_REDIRECT", "UNIX_LENGTH", "PATH_LENGTH"])
def test_numbers_are_those_of_the_header(name: str) -> None:
    defined = re.search(rf"#define HG_{name} (\S+)", HEADER.read_text())
    assert defined is not None
    assert int(defined[1], 0) == getattr(layouts, name)


def test_modes_are_those_of_the_header() -> None:
    defined = {name: int(value) for name, value in re.findall(r"#define HG_MODE_(\w+) (\d+)", HEADER.read_text())}
    assert defined == {mode.name: mode.value for mode in layouts.Mode if mode}


def test_counters_are_those_of_the_header(c_facts: dict[str, str]) -> None:
    assert tuple(c_facts["counters"].rstrip(",").split(",")) == layouts.COUNTERS


@pytest.mark.parametrize(
    ("text", "packed"),
    [
        ("127.0.0.9", "00000000000000000000ffff7f000009"),
        ("::ffff:127.0.0.9", "00000000000000000000ffff7f000009"),
        ("2001:db8::7", "20010db8000000000000000000000007"),
        ("fe80::1%lo", "fe800000000000000000000000000001"),
        ("::1", "00000000000000000000000000000001"),
    ],
)
def test_addresses_pack_as_the_kernel_writes_them(text: str, packed: str) -> None:
    assert layouts.mapped_address(text) == bytes.fromhex(packed)


KEY = OriginKey(3, layouts.mapped_address("127.0.0.1"), 40000)


def record(ambiguous: int = 0, comm: bytes = b"psql") -> bytes:
    """A record as the kernel would write it."""
    address = layouts.mapped_address("203.0.113.7")
    numbers = (5_000_000_001, 123_456_789, 11, 12, 13, 14, 7, 4242, 1000, 1001)
    return layouts.ORIGIN.pack(*numbers, address, 5432, socket.AF_INET6, 999, ambiguous, comm, 77, 8 << 20 | 1)


def test_a_record_reads_field_by_field() -> None:
    origin = read_origin(KEY, record())
    assert origin is not None
    assert (origin.source_host, origin.source_port) == ("127.0.0.1", 40000)
    assert (origin.host, origin.port, origin.mapped, origin.ipv6) == ("203.0.113.7", 5432, True, False)
    assert (origin.connect_ns, origin.start_ticks, origin.socket_cookie) == (5_000_000_001, 12, 11)
    assert (origin.cgroup_id, origin.socket_cgroup_id, origin.guarded_cgroup_id) == (12, 13, 14)
    assert (origin.workload, origin.pid, origin.uid, origin.gid) == (7, 4242, 1000, 1001)
    assert (origin.comm, origin.listener_port) == ("psql", 999)
    assert (origin.netns_cookie, origin.exe) == (KEY.netns_cookie, (77, 8 << 20 | 1))


def test_a_void_record_names_nobody() -> None:
    assert read_origin(KEY, record(ambiguous=1)) is None


@given(st.binary(min_size=layouts.EVENT.size, max_size=layouts.EVENT.size))
def test_any_event_reads(data: bytes) -> None:
    assert len(layouts.read_event(data).path) <= layouts.UNIX_LENGTH


@pytest.mark.parametrize("address", [b"", b"a" * 109, b"/with\0nul"])
def test_what_is_no_unix_address_is_refused(address: bytes) -> None:
    with pytest.raises(ValueError, match=r"address|NUL"):
        layouts.unix_key(address)


@pytest.mark.parametrize("path", ["agents/a", "", "/" + "a" * 255])
def test_what_is_no_path_of_a_cgroup_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="cgroup2 mount"):
        layouts.path_key(path)


@given(st.binary(min_size=layouts.ORIGIN.size, max_size=layouts.ORIGIN.size))
def test_any_record_reads(data: bytes) -> None:
    origin = read_origin(KEY, data)
    assert origin is None or len(origin.comm) <= 16


def test_a_name_of_full_length_has_no_end_mark() -> None:
    origin = read_origin(KEY, record(comm=b"sixteen-letters!"))
    assert origin is not None
    assert origin.comm == "sixteen-letters!"
