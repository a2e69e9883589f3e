"""Build script of the cffi extension that calls libbpf (API mode, ``hostguard.kernel._libbpf_cffi``)."""

from __future__ import annotations

from cffi import FFI

ffibuilder = FFI()

ffibuilder.cdef(
    """
    struct hg_link { uint32_t id; uint32_t program_id; uint64_t cgroup_id; uint32_t attach_type; uint32_t type; };
    struct hg_map { uint32_t type; uint32_t key_size; uint32_t value_size; uint32_t max_entries; };
    extern "Python" int hg_event_arrived(void *handle, void *data, size_t size);

    void hg_log_start(void);
    const char *hg_log_text(void);
    int hg_link_info(int fd, struct hg_link *out);
    int hg_map_info(int fd, struct hg_map *out);
    int hg_tracepoint_open(uint64_t id);

    struct ring_buffer;
    struct ring_buffer *ring_buffer__new(int map_fd, int (*callback)(void *, void *, size_t), void *handle, const void *opts);
    void ring_buffer__free(struct ring_buffer *ring);
    int ring_buffer__consume(struct ring_buffer *ring);
    int ring_buffer__epoll_fd(const struct ring_buffer *ring);

    struct bpf_object;
    struct bpf_program;
    struct bpf_map;
    struct bpf_object *bpf_object__open_file(const char *path, const void *opts);
    int bpf_object__load(struct bpf_object *obj);
    void bpf_object__close(struct bpf_object *obj);
    struct bpf_program *bpf_object__find_program_by_name(const struct bpf_object *obj, const char *name);
    struct bpf_program *bpf_object__next_program(const struct bpf_object *obj, struct bpf_program *prog);
    const char *bpf_program__name(const struct bpf_program *prog);
    int bpf_program__set_autoload(struct bpf_program *prog, bool autoload);
    int bpf_program__set_expected_attach_type(struct bpf_program *prog, int type);
    int bpf_program__fd(const struct bpf_program *prog);
    struct bpf_map *bpf_object__find_map_by_name(const struct bpf_object *obj, const char *name);
    uint32_t bpf_map__type(const struct bpf_map *map);
    uint32_t bpf_map__key_size(const struct bpf_map *map);
    uint32_t bpf_map__value_size(const struct bpf_map *map);
    uint32_t bpf_map__max_entries(const struct bpf_map *map);
    int bpf_map__set_pin_path(struct bpf_map *map, const char *path);
    int bpf_map__set_initial_value(struct bpf_map *map, const char *data, size_t size);
    const char *libbpf_version_string(void);

    int bpf_obj_get(const char *path);
    int bpf_obj_pin(int fd, const char *path);
    int bpf_link_create(int prog_fd, int target_fd, int attach_type, const void *opts);
    int bpf_link_update(int link_fd, int new_prog_fd, const void *opts);
    int bpf_link_detach(int link_fd);
    int bpf_prog_get_fd_by_id(uint32_t id);
    int bpf_map_update_elem(int fd, const char *key, const char *value, uint64_t flags);
    int bpf_map_lookup_elem(int fd, const char *key, char *value);
    int bpf_map_lookup_and_delete_elem(int fd, const char *key, char *value);
    int bpf_map_delete_elem(int fd, const char *key);
    int bpf_map_get_next_key(int fd, const char *key, char *next_key);
    """
)

# The print callback takes a va_list, which Python can't receive; without it the verifier's log would go to stderr or nowhere.
ffibuilder.set_source(
    "hostguard.kernel._libbpf_cffi",
    r"""
    #include <errno.h>
    #include <stdarg.h>
    #include <stdbool.h>
    #include <stdint.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/syscall.h>
    #include <unistd.h>
    #include <linux/perf_event.h>
    #include <bpf/bpf.h>
    #include <bpf/libbpf.h>

    struct hg_link { uint32_t id; uint32_t program_id; uint64_t cgroup_id; uint32_t attach_type; uint32_t type; };
    struct hg_map { uint32_t type; uint32_t key_size; uint32_t value_size; uint32_t max_entries; };

    /* The verifier's verdict stands at the end of its log: when full, the oldest half goes. */
    static char log_text[1 << 18];
    static size_t log_length;

    static int collect(enum libbpf_print_level level, const char *format, va_list arguments)
    {
        va_list again;
        int needed;

        if (level == LIBBPF_DEBUG)
            return 0;
        va_copy(again, arguments);
        needed = vsnprintf(NULL, 0, format, again);
        va_end(again);
        if (needed < 0)
            return needed;
        if (log_length + needed >= sizeof(log_text) && (size_t)needed < sizeof(log_text) / 2) {
            size_t kept = log_length < sizeof(log_text) / 2 ? log_length : sizeof(log_text) / 2;
            memmove(log_text, log_text + log_length - kept, kept);
            log_length = kept;
        }
        vsnprintf(log_text + log_length, sizeof(log_text) - log_length, format, arguments);
        log_length += strlen(log_text + log_length);
        return needed;
    }

    static void hg_log_start(void)
    {
        libbpf_set_print(collect);
        log_length = 0;
        log_text[0] = 0;
    }

    static const char *hg_log_text(void)
    {
        return log_text;
    }

    static int hg_link_info(int fd, struct hg_link *out)
    {
        struct bpf_link_info info;
        uint32_t length = sizeof(info);
        int error;

        memset(&info, 0, sizeof(info));
        error = bpf_obj_get_info_by_fd(fd, &info, &length);
        if (error)
            return error;
        out->id = info.id;
        out->program_id = info.prog_id;
        out->type = info.type;
        out->cgroup_id = info.type == BPF_LINK_TYPE_CGROUP ? info.cgroup.cgroup_id : 0;
        out->attach_type = info.type == BPF_LINK_TYPE_CGROUP ? info.cgroup.attach_type : 0;
        return 0;
    }

    static int hg_map_info(int fd, struct hg_map *out)
    {
        struct bpf_map_info info;
        uint32_t length = sizeof(info);
        int error;

        memset(&info, 0, sizeof(info));
        error = bpf_obj_get_info_by_fd(fd, &info, &length);
        if (error)
            return error;
        out->type = info.type;
        out->key_size = info.key_size;
        out->value_size = info.value_size;
        out->max_entries = info.max_entries;
        return 0;
    }

    /* One descriptor does for all CPUs: the kernel runs a tracepoint's programs wherever it is hit (perf_event_open(2)). */
    static int hg_tracepoint_open(uint64_t id)
    {
        struct perf_event_attr attributes;
        int fd;

        memset(&attributes, 0, sizeof(attributes));
        attributes.type = PERF_TYPE_TRACEPOINT;
        attributes.size = sizeof(attributes);
        attributes.config = id;
        attributes.sample_period = 1;
        attributes.wakeup_events = 1;
        fd = syscall(SYS_perf_event_open, &attributes, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
        return fd < 0 ? -errno : fd;
    }
    """,
    libraries=["bpf"],
)
