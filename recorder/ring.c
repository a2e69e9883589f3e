/*
 * The part of the journal that must be fast or ordered: stamping entries, the ring in shared memory, checking what was read from it.
 *
 * The ring file: one page of header (struct ring_header), then `size` bytes of frames, a power of two. Positions count bytes since
 * the journal began and never wrap; a frame stands at its position modulo the size. The producer maps the frames twice in a row,
 * so that each frame is one piece of memory to it. The consumer never maps this file: its producer is not trusted, could shorten
 * it, and a mapping would then be a SIGBUS. It reads copies, which don't change while they are checked.
 *
 * The control page is a memfd that is sealed against resizing: both map it. Its words are hints to the consumer (which checks
 * them, and keeps its own position to itself) and the truth to the producer.
 *
 * Order. The producer writes a frame, then stores `written` with release; the consumer loads `written` with acquire, then reads
 * the frame. The consumer stores `read` with release when what is before it is in the log; the producer loads it with acquire
 * before it writes over those bytes. One producer and one consumer, so nothing needs more.
 *
 * Sleep. A consumer that found nothing says `asleep` before it looks a last time; a producer looks at `asleep` after it has stored
 * `written`, and rings. Each has a full fence between its store and its look, so one of both sees the other's.
 */

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096
#define FRAME_HEAD 32
#define MAX_ENTRY 0xFFFF
/* Bytes that stamping adds to an entry at most: its length, and four integers that grow from one byte to nine. */
#define MAX_GROWTH (2 + 4 * 8)

enum { ENTRIES = 0x48470001, LARGE = 0x48470002 };
enum { E_FULL = -1, E_LARGE = -2, E_STAMPED = -3, E_MALFORMED = -4, E_CLOSED = -5, E_TOO_LONG = -6 };
enum { WHOLE = 0, BAD = 1, IS_LARGE = 2, MORE = 3 };

struct ring_header {
    char magic[8];
    uint64_t number, size;
    char unused[40];
    uint64_t written; /* a copy, for whoever finds the file after both sides have died */
};

struct control {
    uint64_t written; /* by the producer */
    uint32_t rings;   /* by the producer: it wakes a consumer that sleeps; one of an earlier version doesn't */
    char unused[52];
    uint64_t read, synced; /* by the consumer */
    uint32_t state;        /* 0: go on; 1: the log can't be written; 2: this journal was ended */
    char reason[512];      /* why; UTF-8, ends with 0 */
    uint32_t asleep;       /* by both: the consumer looks at nothing until it is woken */
};

struct frame {
    uint32_t kind, length; /* of what follows this head, without the padding to eight bytes */
    uint64_t position, number;
    uint32_t count; /* entries */
    uint32_t crc;   /* of this head up to here and, for LARGE, the body; entries carry their own */
};

typedef struct {
    struct ring_header *header;
    unsigned char *frames;
    struct control *control;
    uint64_t number, size, written, read;
    int doorbell;
} hg_ring;

typedef struct {
    uint64_t used, log_bytes, array_bytes, body, length;
    uint32_t entries, frames, status;
} hg_checked;

_Static_assert(sizeof(struct frame) == FRAME_HEAD, "the frame's head");
_Static_assert(sizeof(struct ring_header) == 72 && sizeof(struct control) <= PAGE, "one page each");

/* What msgspec writes for the fields that every entry has before they are filled in (entry.py, Entry). */
static const unsigned char UNSTAMPED[] =
    "\xa1v\x01\xa7wall_ns\x00\xa7mono_ns\x00\xa4" "flow\x00\xa3seq\x00\xa3" "crc\xce\xff\xff\xff\xff";
#define TRAILER (sizeof(UNSTAMPED) - 1)

static uint64_t padded(uint64_t size) { return (size + 7) & ~(uint64_t)7; }

static uint64_t big(const unsigned char *at, int bytes)
{
    uint64_t value = 0;
    while (bytes--)
        value = value << 8 | *at++;
    return value;
}

static unsigned char *put_big(unsigned char *at, uint64_t value, int bytes)
{
    for (int n = bytes - 1; n >= 0; n--, value >>= 8)
        at[n] = (unsigned char)value;
    return at + bytes;
}

/* An unsigned integer in as few bytes as msgpack allows, as msgspec does it. */
static unsigned char *put_integer(unsigned char *at, uint64_t value)
{
    if (value < 0x80) {
        *at = (unsigned char)value;
        return at + 1;
    }
    int wide = value > 0xFFFFFFFF ? 3 : value > 0xFFFF ? 2 : value > 0xFF ? 1 : 0;
    *at = (unsigned char)(0xCC + wide);
    return put_big(at + 1, value, 1 << wide);
}

/*
 * The end of the msgpack value at `at`, or NULL when it does not end before `end`. Containers are counted, not entered.
 * `huge`, unless NULL, is set for an integer of 2^63 or more.
 */
static const unsigned char *skip(const unsigned char *at, const unsigned char *end, int *huge)
{
    uint64_t left = 1;

    while (left) {
        uint64_t length = 0;
        int wide = 0;
        if (at >= end)
            return NULL;
        unsigned char tag = *at++;
        left--;
        if (tag < 0x80 || tag >= 0xE0 || tag == 0xC0 || tag == 0xC2 || tag == 0xC3)
            continue;
        if (tag < 0x90)
            left += 2 * (tag & 15);
        else if (tag < 0xA0)
            left += tag & 15;
        else if (tag < 0xC0)
            length = tag & 31;
        else if (tag >= 0xC4 && tag <= 0xC6)
            wide = 1 << (tag - 0xC4);
        else if (tag == 0xCA || tag == 0xCB)
            length = 4 << (tag - 0xCA);
        else if (tag >= 0xCC && tag <= 0xD3)
            length = 1 << ((tag - 0xCC) & 3);
        else if (tag >= 0xD9 && tag <= 0xDB)
            wide = 1 << (tag - 0xD9);
        else if (tag >= 0xDC && tag <= 0xDF) {
            int bytes = 2 << (tag & 1);
            if (end - at < bytes)
                return NULL;
            left += big(at, bytes) * (tag >= 0xDE ? 2 : 1);
            at += bytes;
        } else
            return NULL; /* extensions: no entry has any */
        if (wide) {
            if (end - at < wide)
                return NULL;
            length = big(at, wide);
            at += wide;
        }
        if ((uint64_t)(end - at) < length)
            return NULL;
        if (huge && tag == 0xCF && *at & 0x80)
            *huge = 1;
        at += length;
    }
    return at;
}

/* The first entry in a msgpack array, with how many there are. */
static const unsigned char *first_of(const unsigned char *at, const unsigned char *end, uint32_t *count)
{
    if (at < end && (*at & 0xF0) == 0x90) {
        *count = *at & 15;
        return at + 1;
    }
    if (end - at >= 3 && *at == 0xDC) {
        *count = (uint32_t)big(at + 1, 2);
        return at + 3;
    }
    if (end - at >= 5 && *at == 0xDD) {
        *count = (uint32_t)big(at + 1, 4);
        return at + 5;
    }
    return NULL;
}

/*
 * Fill in the fields that every entry has, and put each entry behind its length, as it stands in the log.
 * `array`: the entries as one msgpack array, none filled in yet. `out` has room for size + count * MAX_GROWTH bytes.
 * Returns the bytes written, or E_LARGE when an entry is too long for its length, E_STAMPED when one is filled in already.
 */
static int64_t stamp(const unsigned char *array, uint64_t size, uint64_t flow, uint64_t seq, int ordered, uint64_t wall_ns,
                     uint64_t mono_ns, unsigned char *out, uint32_t *count)
{
    const unsigned char *end = array + size, *at = first_of(array, end, count);
    unsigned char *begin = out;

    if (!at)
        return E_MALFORMED;
    for (uint32_t n = 0; n < *count; n++) {
        const unsigned char *next = skip(at, end, NULL);
        if (!next || (uint64_t)(next - at) < TRAILER)
            return E_MALFORMED;
        uint64_t own = next - at - TRAILER;
        if (memcmp(at + own, UNSTAMPED, TRAILER))
            return E_STAMPED;
        if (own + TRAILER > MAX_ENTRY - MAX_GROWTH)
            return E_LARGE;
        unsigned char *entry = out + 2, *to = entry;
        memcpy(to, at, own);
        to += own;
        memcpy(to, UNSTAMPED, 11); /* v, and the key wall_ns */
        to = put_integer(to + 11, wall_ns);
        memcpy(to, UNSTAMPED + 12, 8);
        to = put_integer(to + 8, mono_ns);
        memcpy(to, UNSTAMPED + 21, 5);
        to = put_integer(to + 5, flow);
        memcpy(to, UNSTAMPED + 27, 4);
        to = put_integer(to + 4, ordered ? ++seq : 0);
        memcpy(to, UNSTAMPED + 32, 5);
        to += 5;
        to = put_big(to, hg_crc(0, entry, to - entry), 4);
        put_big(out, to - entry, 2);
        out = to;
        at = next;
    }
    return out - begin;
}

/* Entries as the log has them, for whoever writes the log itself; `room` is what `out` has. */
int64_t hg_frames(const char *array, size_t size, uint64_t flow, uint64_t seq, int ordered, uint64_t wall_ns, uint64_t mono_ns,
                  char *out, size_t room)
{
    const unsigned char *from = (const unsigned char *)array;
    uint32_t count;

    if (!first_of(from, from + size, &count))
        return E_MALFORMED;
    if (size + (uint64_t)count * MAX_GROWTH > room)
        return E_TOO_LONG;
    return stamp(from, size, flow, seq, ordered, wall_ns, mono_ns, (unsigned char *)out, &count);
}

/* The producer's side. */

static void unmap(void *at, size_t size)
{
    if (at && at != MAP_FAILED)
        munmap(at, size);
}

void hg_close(hg_ring *ring)
{
    if (!ring)
        return;
    unmap(ring->header, PAGE);
    unmap(ring->frames, 2 * ring->size);
    unmap(ring->control, PAGE);
    free(ring);
}

/* Map a journal; NULL with errno when that fails or the file is none of `size` bytes. */
hg_ring *hg_open(int ring_fd, int control_fd, int doorbell)
{
    hg_ring *ring = calloc(1, sizeof(*ring));
    int error;

    if (!ring)
        return NULL;
    ring->header = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, ring_fd, 0);
    ring->control = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, control_fd, 0);
    if (ring->header == MAP_FAILED || ring->control == MAP_FAILED)
        goto failed;
    ring->number = ring->header->number;
    if (memcmp(ring->header->magic, "hgring1\n", 8) || !ring->header->size || ring->header->size % PAGE) {
        errno = EINVAL;
        goto failed;
    }
    unsigned char *twice = mmap(NULL, 2 * ring->header->size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (twice == MAP_FAILED)
        goto failed;
    ring->frames = twice;
    ring->size = ring->header->size;
    for (int half = 0; half < 2; half++)
        if (mmap(twice + half * ring->size, ring->size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, ring_fd, PAGE) == MAP_FAILED)
            goto failed;
    /* The file system's work for a page that is written for the first time is done here, not within an append. */
    for (volatile unsigned char *page = twice; page < twice + 2 * ring->size; page += PAGE)
        *page = *page;
    ring->written = ring->control->written;
    ring->doorbell = doorbell;
    __atomic_store_n(&ring->control->rings, 1, __ATOMIC_RELEASE);
    return ring;
failed:
    error = errno;
    hg_close(ring);
    errno = error;
    return NULL;
}

/* Where the next frame goes if there is room for `size` bytes, else NULL. */
static unsigned char *room_for(hg_ring *ring, uint64_t size)
{
    if (ring->size - (ring->written - ring->read) < size) {
        ring->read = __atomic_load_n(&ring->control->read, __ATOMIC_ACQUIRE);
        if (ring->size - (ring->written - ring->read) < size)
            return NULL;
    }
    return ring->frames + ring->written % ring->size;
}

static uint32_t frame_crc(const struct frame *head, const unsigned char *body)
{
    uint32_t crc = hg_crc(0, head, FRAME_HEAD - 4);
    return head->kind == LARGE ? hg_crc(crc, body, head->length) : crc;
}

static void wake(hg_ring *ring)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&ring->control->asleep, __ATOMIC_RELAXED) || !__atomic_exchange_n(&ring->control->asleep, 0, __ATOMIC_RELAXED))
        return;
    /* A full pipe has woken it already; one without a reader has nobody to wake. */
    if (write(ring->doorbell, "!", 1) < 0)
        return;
}

static int64_t publish(hg_ring *ring, unsigned char *at, uint32_t kind, uint64_t length, uint32_t count)
{
    struct frame head = {kind, (uint32_t)length, ring->written, ring->number, count, 0};

    head.crc = frame_crc(&head, at + FRAME_HEAD);
    memcpy(at, &head, FRAME_HEAD);
    ring->written += padded(FRAME_HEAD + length);
    ring->header->written = ring->written;
    __atomic_store_n(&ring->control->written, ring->written, __ATOMIC_RELEASE);
    wake(ring);
    return (int64_t)ring->written;
}

static uint64_t now_ns(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/*
 * Append entries (see `stamp`) of now as one frame, all or none, numbered after `seq`, or not at all when that is negative.
 * Returns the position after it, or why not.
 */
int64_t hg_append(hg_ring *ring, const char *array, size_t size, uint64_t flow, int64_t seq)
{
    const unsigned char *from = (const unsigned char *)array;
    uint32_t count;

    if (__atomic_load_n(&ring->control->state, __ATOMIC_ACQUIRE))
        return E_CLOSED;
    if (!first_of(from, from + size, &count))
        return E_MALFORMED;
    if (!count)
        return (int64_t)ring->written;
    uint64_t most = padded(FRAME_HEAD + size + (uint64_t)count * MAX_GROWTH);
    if (most > ring->size / 2)
        return E_TOO_LONG;
    unsigned char *at = room_for(ring, most);
    if (!at)
        return E_FULL;
    int64_t length = stamp(from, size, flow, (uint64_t)seq, seq >= 0, now_ns(CLOCK_REALTIME), now_ns(CLOCK_MONOTONIC),
                           at + FRAME_HEAD, &count);
    return length < 0 ? length : publish(ring, at, ENTRIES, length, count);
}

/* Append entries that are too long for the log as they are: one msgpack array of them, filled in. */
int64_t hg_append_large(hg_ring *ring, const char *array, size_t size, uint32_t count)
{
    if (__atomic_load_n(&ring->control->state, __ATOMIC_ACQUIRE))
        return E_CLOSED;
    if (padded(FRAME_HEAD + size) > ring->size / 2)
        return E_TOO_LONG;
    unsigned char *at = room_for(ring, padded(FRAME_HEAD + size));
    if (!at)
        return E_FULL;
    memcpy(at + FRAME_HEAD, array, size);
    return publish(ring, at, LARGE, size, count);
}

uint64_t hg_written(const hg_ring *ring) { return ring->written; }
uint64_t hg_read(const hg_ring *ring) { return __atomic_load_n(&ring->control->read, __ATOMIC_ACQUIRE); }
uint64_t hg_synced(const hg_ring *ring) { return __atomic_load_n(&ring->control->synced, __ATOMIC_ACQUIRE); }
uint32_t hg_state(const hg_ring *ring) { return __atomic_load_n(&ring->control->state, __ATOMIC_ACQUIRE); }
const char *hg_reason(const hg_ring *ring) { return ring->control->reason; }

/* The consumer's side. */

struct control *hg_control(int control_fd)
{
    void *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, control_fd, 0);
    return at == MAP_FAILED ? NULL : at;
}

void hg_control_close(struct control *control) { unmap(control, PAGE); }
uint64_t hg_published(const struct control *control) { return __atomic_load_n(&control->written, __ATOMIC_ACQUIRE); }
void hg_set_read(struct control *control, uint64_t read) { __atomic_store_n(&control->read, read, __ATOMIC_RELEASE); }
void hg_set_synced(struct control *control, uint64_t synced) { __atomic_store_n(&control->synced, synced, __ATOMIC_RELEASE); }
uint32_t hg_rings(const struct control *control) { return __atomic_load_n(&control->rings, __ATOMIC_ACQUIRE); }

/* Whether the producer is to ring. What it has published is to be looked at after this, not before. */
void hg_set_asleep(struct control *control, uint32_t asleep)
{
    __atomic_store_n(&control->asleep, asleep, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void hg_set_state(struct control *control, uint32_t state, const char *reason, size_t size)
{
    if (size >= sizeof(control->reason))
        size = sizeof(control->reason) - 1;
    memcpy(control->reason, reason, size);
    control->reason[size] = 0;
    __atomic_store_n(&control->state, state, __ATOMIC_RELEASE);
}

/* Whether these bytes are one msgpack value without integers that a signed 64-bit number can't hold (SQLite's, Java's). */
int hg_fits(const char *data, size_t size)
{
    const unsigned char *at = (const unsigned char *)data;
    int huge = 0;

    return skip(at, at + size, &huge) == at + size && !huge;
}

/* One frame of entries: their bytes to `log`, and without lengths and CRCs to `array`. 0 when it is not whole. */
static int take(const struct frame *head, const unsigned char *body, unsigned char *log, unsigned char *array, uint64_t *array_bytes)
{
    const unsigned char *at = body, *end = body + head->length;
    unsigned char *to = array;
    uint32_t count = 0;

    for (; end - at > 2; count++) {
        uint64_t size = big(at, 2);
        at += 2;
        if (size < TRAILER || (uint64_t)(end - at) < size || memcmp(at + size - 9, UNSTAMPED + TRAILER - 9, 5) ||
            hg_crc(0, at, size - 4) != big(at + size - 4, 4))
            return 0;
        memcpy(to, at, size - 4);
        memset(to + size - 4, 0xFF, 4);
        to += size;
        at += size;
    }
    if (at != end || count != head->count || !count)
        return 0;
    memcpy(log, body, head->length);
    *array_bytes = to - array;
    return 1;
}

/*
 * Check the frames in `data`, a copy of the ring's bytes from `position` on, of which `size` are published (or may be).
 * Stops after `max_frames`, and before what is not whole (BAD), is of kind LARGE (IS_LARGE; `body` and `length` say where its
 * entries are), or goes on behind `size` (MORE; `length` says how many bytes it takes). `log` and `array` have room for `size`.
 */
void hg_check(const char *data, size_t size, uint64_t position, uint64_t number, uint32_t max_frames, char *log, char *array,
              hg_checked *found)
{
    const unsigned char *at = (const unsigned char *)data;
    struct frame head;

    memset(found, 0, sizeof(*found));
    while (found->used < size && found->frames < max_frames) {
        uint64_t left = size - found->used, bytes = 0;
        if (left < FRAME_HEAD) {
            found->status = MORE;
            found->length = FRAME_HEAD;
            return;
        }
        memcpy(&head, at + found->used, FRAME_HEAD);
        uint64_t whole = padded(FRAME_HEAD + (uint64_t)head.length);
        const unsigned char *body = at + found->used + FRAME_HEAD;
        found->status = BAD;
        if ((head.kind != ENTRIES && head.kind != LARGE) || head.position != position + found->used || head.number != number)
            return;
        if (whole > left) {
            found->status = MORE;
            found->length = whole;
            return;
        }
        if (frame_crc(&head, body) != head.crc)
            return;
        if (head.kind == LARGE) {
            found->status = IS_LARGE;
            found->body = found->used + FRAME_HEAD;
            found->length = head.length;
            return;
        }
        if (!take(&head, body, (unsigned char *)log + found->log_bytes, (unsigned char *)array + found->array_bytes, &bytes))
            return;
        found->status = WHOLE;
        found->used += whole;
        found->log_bytes += head.length;
        found->array_bytes += bytes;
        found->entries += head.count;
        found->frames++;
    }
}
