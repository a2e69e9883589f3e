/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The maps of the eBPF programs. kernel/attach.py pins each under its name: the objects share them, and they outlive the daemon. */
#ifndef HG_MAPS_BPF_H
#define HG_MAPS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"

/* What a socket remembers of its own redirection; dies with the socket. */
struct socket_state {
	struct hg_origin origin;
	__u32 unpublished; /* set by connect or sendmsg, cleared when the record has been published */
	__u32 zero;
};
_Static_assert(sizeof(struct socket_state) == 128, "socket_state");

/* What a socket is known for, beside its cgroup. */
struct socket_mark {
	struct hg_origin_key query; /* where its last query was published */
	__u32 workload; /* it was made or used by a process that a user or an executable puts there; 0: no such */
	__u32 passive; /* accepted by a server */
};
_Static_assert(sizeof(struct socket_mark) == 40, "socket_mark");

/* How many events of a kind were told in the running second. */
struct event_rate {
	__u64 second;
	__u64 told;
};

/* cgroup id -> workload, or one of the reserved numbers. Descendants of these are guarded as well. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HG_MAX_GUARDED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} hg_guarded SEC(".maps");

/* How often hg_guarded was changed, doubled; odd while it is being changed: then what was seen in it must not be kept. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} hg_epoch SEC(".maps");

/* real uid (initial user namespace) -> workload */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HG_MAX_USERS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} hg_users SEC(".maps");

/* executable -> workload */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HG_MAX_PROGRAMS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hg_program_key);
	__type(value, __u32);
} hg_programs SEC(".maps");

/* workload -> HG_MODE_ flags; none: all of them off */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HG_MAX_MODES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, __u32);
} hg_modes SEC(".maps");

/* path of a cgroup that is to be guarded as soon as it is made -> workload, or one of the reserved numbers */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HG_MAX_PATHS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hg_path_key);
	__type(value, __u32);
} hg_paths SEC(".maps");

/* UNIX address -> what may be done with it, or what it stands for; any other is denied */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HG_MAX_UNIX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct hg_unix_key);
	__type(value, struct hg_unix_rule);
} hg_unix SEC(".maps");

/*
 * The kernel drops an entry when the last descriptor of the listener closes: a dead daemon cannot be impersonated. It takes no
 * listening UNIX socket, so what is in here for those is one end of a pair that holds them in its queue: they outlive the entry.
 */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, HG_MAX_LISTENERS);
	__type(key, struct hg_listener_key);
	__type(value, __u64);
} hg_listeners SEC(".maps");

/* The same for the resolver's UDP sockets. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, HG_MAX_LISTENERS);
	__type(key, struct hg_listener_key);
	__type(value, __u64);
} hg_resolvers SEC(".maps");

/* CLOCK_MONOTONIC of the daemon's last sign of life, written through mmap. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} hg_heartbeat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_state);
} hg_sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct socket_mark);
} hg_marks SEC(".maps");

/* Records that wait for accept(). An evicted record means a refused connection, never a wrong one. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, HG_MAX_ORIGINS);
	__type(key, struct hg_origin_key);
	__type(value, struct hg_origin);
} hg_origins SEC(".maps");

/* Who asks the resolver; removed when the asking socket closes. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, HG_MAX_QUERIES);
	__type(key, struct hg_origin_key);
	__type(value, struct hg_origin);
} hg_queries SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, HG_EVENT_BYTES);
} hg_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HG_MAX_COUNTERS);
	__type(key, __u32);
	__type(value, struct event_rate);
} hg_rates SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HG_MAX_COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} hg_counters SEC(".maps");

#endif
