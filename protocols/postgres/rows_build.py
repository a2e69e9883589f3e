"""Build script of the cffi extension (placeholder until its room fills it)."""
from cffi import FFI

ffibuilder = FFI()
ffibuilder.cdef("int hg_abi(void);")
ffibuilder.set_source("hostguard.protocols.postgres._rows_cffi", "int hg_abi(void) { return 1; }")
