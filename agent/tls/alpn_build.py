"""Build script of the choice by ALPN, ``hostguard.agent.tls._alpn_cffi``."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

ffibuilder = FFI()
ffibuilder.cdef("size_t hg_protocol_chooser(void);")
# The source goes in whole: an #include would need this folder on the include path of an isolated build.
ffibuilder.set_source(
    "hostguard.agent.tls._alpn_cffi",
    (Path(__file__).resolve().parent / "alpn.c").read_text(),
    extra_compile_args=["-O2", "-Wall", "-Wextra"],
)
