"""Build script of the journal's native part, ``hostguard.recorder._ring_cffi``."""

from __future__ import annotations

from pathlib import Path

from cffi import FFI

_DECLARATIONS = """
typedef struct { ...; } hg_ring;
struct control { ...; };
typedef struct { uint64_t used, log_bytes, array_bytes, body, length; uint32_t entries, frames, status; } hg_checked;

int64_t hg_frames(const char *array, size_t size, uint64_t flow, uint64_t seq, int ordered, uint64_t wall_ns, uint64_t mono_ns,
                  char *out, size_t room);

hg_ring *hg_open(int ring_fd, int control_fd, int doorbell);
void hg_close(hg_ring *ring);
int64_t hg_append(hg_ring *ring, const char *array, size_t size, uint64_t flow, int64_t seq);
int64_t hg_append_large(hg_ring *ring, const char *array, size_t size, uint32_t count);
uint64_t hg_written(const hg_ring *ring);
uint64_t hg_read(const hg_ring *ring);
uint64_t hg_synced(const hg_ring *ring);
uint32_t hg_state(const hg_ring *ring);
const char *hg_reason(const hg_ring *ring);

struct control *hg_control(int control_fd);
void hg_control_close(struct control *control);
uint64_t hg_published(const struct control *control);
void hg_set_read(struct control *control, uint64_t read);
void hg_set_synced(struct control *control, uint64_t synced);
uint32_t hg_rings(const struct control *control);
void hg_set_asleep(struct control *control, uint32_t asleep);
void hg_set_state(struct control *control, uint32_t state, const char *reason, size_t size);
uint32_t hg_crc(uint32_t crc, const void *data, size_t size);
int hg_fits(const char *data, size_t size);
void hg_check(const char *data, size_t size, uint64_t position, uint64_t number, uint32_t max_frames, char *log, char *array,
              hg_checked *found);
"""

ffibuilder = FFI()
ffibuilder.cdef(_DECLARATIONS)
# The sources go in whole: an #include would need this folder on the include path of an isolated build.
ffibuilder.set_source(
    "hostguard.recorder._ring_cffi",
    "".join((Path(__file__).resolve().parent / name).read_text() for name in ("crc.c", "ring.c")),
    libraries=["z"],
    extra_compile_args=["-O2", "-Wall", "-Wextra"],
)
