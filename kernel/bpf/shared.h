/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The only ABI between the eBPF programs and user space: every struct, enumerator and limit that both sides must agree on.
 *
 * kernel/layouts.py reads these bytes; tests/kernel/test_kernel_layouts.py compiles this file and compares the two. All padding
 * is explicit and zero (map keys are compared byte by byte). Addresses are IPv6 in network byte order, IPv4 as ::ffff:a.b.c.d;
 * ports are in host byte order.
 */
#ifndef HG_SHARED_H
#define HG_SHARED_H

#include <linux/types.h>

#define HG_COMM_LENGTH 16
#define HG_MAX_GUARDED 16384
#define HG_MAX_LISTENERS 4096
#define HG_MAX_ORIGINS 65536

/* One listener for each network namespace and family (AF_INET, AF_INET6). */
struct hg_listener_key {
	__u64 netns_cookie;
	__u32 family;
	__u32 zero;
};

/* What accept() tells of a connection: enough to find who opened it. */
struct hg_origin_key {
	__u64 netns_cookie;
	__u32 address[4];
	__u16 port;
	__u16 zero[3];
};

/* Who opened a redirected connection, and where it was going. */
struct hg_origin {
	__u64 connect_ns; /* CLOCK_MONOTONIC */
	__u64 start_boottime_ns; /* of the thread group's leader; with tgid a key that pid reuse cannot forge */
	__u64 socket_cookie;
	__u64 task_cgroup;
	__u64 socket_cgroup;
	__u64 guarded_cgroup; /* the innermost guarded cgroup, of the task before the socket's */
	__u32 workload; /* what user space filed guarded_cgroup under */
	__u32 tgid;
	__u32 uid;
	__u32 gid;
	__u32 address[4];
	__u16 port;
	__u16 family; /* as the process asked: AF_INET6 for ::ffff:a.b.c.d */
	__u16 listener_port;
	__u16 ambiguous; /* two connections claimed this record before it was taken: it names neither */
	char comm[HG_COMM_LENGTH]; /* of the thread group's leader; not terminated when all are used */
};

/* Set before the programs are loaded. */
struct hg_settings {
	__u64 heartbeat_limit_ns;
};

/* Names of the counters: enumerators here, text in Python. */
#define HG_COUNTERS(X)                                                                                         \
	X(redirected) /* connects sent to a listener */                                                        \
	X(refused_no_listener) /* no daemon listens in this network namespace */                               \
	X(refused_stale_heartbeat) /* a daemon listens but does not beat */                                    \
	X(refused_ip_options) /* source routes and the like would carry the redirected packet elsewhere */     \
	X(refused_depth) /* the cgroup lies too deep to tell whether it is guarded */                          \
	X(refused_helper_failed) /* a kernel helper failed where going on would be unsafe */                   \
	X(passed_other_protocol) /* connects of guarded tasks that are not TCP: not redirected */              \
	X(published) /* records put where accept() finds them */                                               \
	X(publish_failed) /* records that could not be put there: the listener refuses the connection */       \
	X(ambiguous) /* records voided because a second connection had the same source before the first was taken */ \
	X(cleared_direct_dial) /* left-over records removed when another process dialled the listener itself */

enum hg_counter {
#define HG_COUNTER(name) HG_COUNT_##name,
	HG_COUNTERS(HG_COUNTER)
#undef HG_COUNTER
	HG_COUNTER_COUNT
};

_Static_assert(sizeof(struct hg_listener_key) == 16, "hg_listener_key");
_Static_assert(sizeof(struct hg_origin_key) == 32, "hg_origin_key");
_Static_assert(sizeof(struct hg_origin) == 104, "hg_origin");
_Static_assert(sizeof(struct hg_settings) == 8, "hg_settings");

#endif
