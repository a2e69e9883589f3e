/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The maps of the eBPF programs. kernel/loader.py pins each under its name, so they outlive the daemon. */
#ifndef HG_MAPS_BPF_H
#define HG_MAPS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "shared.h"

/* What a socket remembers of its own redirection; dies with the socket. */
struct socket_state {
	struct hg_origin origin;
	__u32 unpublished; /* set by connect, cleared when sockops has published the record */
	__u32 zero;
};
_Static_assert(sizeof(struct socket_state) == 112, "socket_state");

/* cgroup id -> workload. Descendants of these are guarded as well. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, HG_MAX_GUARDED);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64);
	__type(value, __u32);
} hg_guarded SEC(".maps");

/* The kernel drops an entry when the last descriptor of the listener closes: a dead daemon cannot be impersonated. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, HG_MAX_LISTENERS);
	__type(key, struct hg_listener_key);
	__type(value, __u64);
} hg_listeners SEC(".maps");

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

/* Records that wait for accept(). An evicted record means a refused connection, never a wrong one. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, HG_MAX_ORIGINS);
	__type(key, struct hg_origin_key);
	__type(value, struct hg_origin);
} hg_origins SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, HG_COUNTER_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} hg_counters SEC(".maps");

#endif
