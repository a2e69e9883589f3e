"""Build script of the native row walker, ``hostguard.protocols.postgres._rows_cffi``."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

_DECLARATIONS = """
typedef struct { uint32_t action; uint32_t keep; uint32_t at; uint32_t size; } hg_column;
typedef struct { uint32_t column; uint32_t size; size_t at; } hg_cell;
typedef struct { uint64_t h[8]; uint64_t length; uint8_t empty[16]; } hg_hash;
typedef struct { size_t used; size_t out; size_t payload; uint32_t rows; uint32_t cells; uint32_t status; } hg_batch;
void hg_count(const char *data, size_t start, size_t end, int tag, uint32_t max_length, hg_batch *b);
void hg_scan(const char *data, size_t start, size_t end, uint32_t max_length, const hg_column *columns, uint32_t count,
             hg_cell *cells, uint32_t max_cells, hg_batch *b);
void hg_hash_begin(hg_hash *state, const char *key, uint32_t size, const char *empty);
size_t hg_write(const char *data, size_t start, size_t used, const hg_column *columns, uint32_t count, int utf8,
                const char *constants, size_t constants_size, const hg_hash *hashes, uint32_t n_hashes,
                const hg_cell *cells, uint32_t n_cells, const char *values, size_t values_size, char *into, size_t room);
"""

ffibuilder = FFI()
ffibuilder.cdef(_DECLARATIONS)
_FOLDER = Path(__file__).resolve().parent
# The sources go in whole: an #include would need this folder on the include path of an isolated build. memrchr is GNU's.
ffibuilder.set_source(
    "hostguard.protocols.postgres._rows_cffi",
    "#ifndef _GNU_SOURCE\n#define _GNU_SOURCE\n#endif\n"
    + "".join((_FOLDER / name).read_text() for name in ("blake2b.c", "rows.c")),
    extra_compile_args=["-O2", "-Wall", "-Wextra"],
)
