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
#define HG_MAX_QUERIES 16384
#define HG_MAX_USERS 4096
#define HG_MAX_PROGRAMS 4096
#define HG_MAX_MODES 4096
#define HG_MAX_PATHS 4096
#define HG_MAX_UNIX 4096
#define HG_MAX_COUNTERS 64 /* room for later ones: the map outlives upgrades */
#define HG_EVENT_BYTES (256 * 1024)
#define HG_EVENTS_PER_SECOND 200 /* of each kind; what is above is counted, not told */
#define HG_UNIX_LENGTH 108
#define HG_PATH_LENGTH 256

/* What `hg_guarded` files a cgroup under, beside the numbers of workloads, which start at 1. */
#define HG_SELF_TEST 0xffffffff
#define HG_WATCHED 0xfffffffe /* below it, a cgroup that nobody has classified yet is refused */
#define HG_CLEARED 0xfffffffd /* classified, and not ours */

/* Flags of a workload in `hg_modes`. */
#define HG_MODE_OBSERVE 1 /* nothing is refused, everything is told */
#define HG_MODE_UNIX_OPEN 2 /* UNIX sockets are not restricted */
#define HG_MODE_INBOUND 4 /* servers may answer peers that are not on loopback */
#define HG_MODE_FAMILIES 8 /* its configuration allows families that no hook sees: nobody is ended for one */

/* What a rule for a UNIX socket's address says. */
#define HG_UNIX_ALLOW 1
#define HG_UNIX_REDIRECT 2 /* to a listener of the loop's, which stands for the resource's socket */
#define HG_UNIX_STAND_IN 3 /* of such a listener's own name: `to` is what it stands for; nobody may dial it by this name */

/* The names of these listeners: abstract, 16 letters behind this, by which an origin's `address` names the listener. */
#define HG_STAND_IN_PREFIX "\0hostguard/"
#define HG_STAND_IN_PREFIX_LENGTH 11

/* One listener (or resolver) for each network namespace and family (AF_INET, AF_INET6); AF_UNIX: what vouches for all stand-ins. */
struct hg_listener_key {
	__u64 netns_cookie;
	__u32 family;
	__u32 zero;
};

/*
 * What accept(), or recvfrom() in the resolver, tells of a peer: enough to find who it is. Of a UNIX socket, which has no address:
 * the cookie of the peer's socket in the first two words of the address, port 0.
 */
struct hg_origin_key {
	__u64 netns_cookie;
	__u32 address[4];
	__u16 port;
	__u16 zero[3];
};

/* Who opened a redirected connection, or sent a query, and where it was going. */
struct hg_origin {
	__u64 connect_ns; /* CLOCK_MONOTONIC */
	__u64 start_boottime_ns; /* of the thread group's leader; with tgid a key that pid reuse cannot forge */
	__u64 socket_cookie;
	__u64 task_cgroup;
	__u64 socket_cgroup; /* 0 for a query */
	__u64 guarded_cgroup; /* the innermost guarded cgroup, of the task before the socket's; 0: by user or executable */
	__u32 workload; /* what user space filed guarded_cgroup, the user or the executable under */
	__u32 tgid;
	__u32 uid;
	__u32 gid;
	__u32 address[4]; /* AF_UNIX: the letters of the stand-in's name */
	__u16 port;
	__u16 family; /* as the process asked: AF_INET6 for ::ffff:a.b.c.d */
	__u16 listener_port;
	__u16 ambiguous; /* two connections claimed this record before it was taken: it names neither */
	char comm[HG_COMM_LENGTH]; /* of the thread group's leader; not terminated when all are used */
	__u64 exe_inode; /* the program that it ran; 0 when it has none */
	__u32 exe_device; /* as the kernel writes it: major << 20 | minor */
	__u32 zero;
};

/* An executable: the inode that the kernel runs, whatever its path. */
struct hg_program_key {
	__u64 inode;
	__u32 device; /* as the kernel writes it: major << 20 | minor */
	__u32 zero;
};

/* The address of a UNIX socket: `length` bytes; a path without its NUL, an abstract name with its leading NUL. */
struct hg_unix_key {
	__u32 length;
	char path[HG_UNIX_LENGTH];
};

struct hg_unix_rule {
	__u32 verdict; /* HG_UNIX_ALLOW or HG_UNIX_REDIRECT */
	struct hg_unix_key to; /* for HG_UNIX_REDIRECT: the stand-in's name */
};

/* Path of a cgroup below the cgroup2 mount: "/agents/a", padded with zeros. */
struct hg_path_key {
	char path[HG_PATH_LENGTH];
};

/* Something that was refused, dropped or ended, or would have been. */
struct hg_event {
	__u64 time_ns; /* CLOCK_MONOTONIC */
	__u64 start_boottime_ns; /* of the thread group's leader; 0 when no process can be named */
	__u64 cgroup; /* of the task; of the socket for what the fence drops */
	__u32 kind; /* enum hg_counter */
	__u32 workload; /* HG_WATCHED: not classified yet; 0: cannot be told */
	__u32 tgid; /* 0 when no process can be named */
	__u32 uid;
	__u32 address[4]; /* destination */
	__u16 port;
	__u16 family;
	__u16 protocol; /* the option for denied_option */
	__u16 observed; /* it was only told: the workload is observed */
	char comm[HG_COMM_LENGTH];
	struct hg_unix_key path; /* of a UNIX socket */
};

/* Set before the programs are loaded. */
struct hg_settings {
	__u64 heartbeat_limit_ns;
	__u64 root_cgroup; /* where the programs are attached; nothing above or beside it is judged */
};

/* Names of the counters, which are the kinds of events too: enumerators here, text in Python. */
#define HG_COUNTERS(X)                                                                                         \
	X(redirected) /* connects sent to a listener */                                                        \
	X(refused_no_listener) /* no daemon listens in this network namespace */                               \
	X(refused_stale_heartbeat) /* a daemon listens but does not beat */                                    \
	X(refused_ip_options) /* source routes and the like would carry the redirected packet elsewhere */     \
	X(refused_depth) /* the cgroup lies too deep to tell whether it is guarded */                          \
	X(refused_helper_failed) /* a kernel helper failed where going on would be unsafe */                   \
	X(refused_pending) /* in a new cgroup that nobody has classified yet */                                \
	X(refused_no_resolver) /* a DNS query, but no resolver lives and beats in this network namespace */    \
	X(denied_datagram) /* UDP to anything but a name server */                                             \
	X(denied_protocol) /* connects of protocols other than TCP and UDP */                                  \
	X(denied_socket) /* sockets of protocols other than TCP and UDP */                                     \
	X(denied_option) /* socket options that lead packets elsewhere */                                      \
	X(denied_unix) /* UNIX sockets that no rule allows */                                                  \
	X(dropped) /* packets that the fence stopped */                                                        \
	X(killed_family) /* processes ended for a socket of a family that no hook sees */                      \
	X(killed_uring) /* the same, through io_uring */                                                       \
	X(published) /* records put where accept() finds them */                                               \
	X(publish_failed) /* records that could not be put there: the listener refuses the connection */       \
	X(ambiguous) /* records voided because a second connection had the same source before the first was taken */ \
	X(cleared_direct_dial) /* left-over records removed when another process dialled the listener itself */ \
	X(queries_redirected) /* datagrams sent to the resolver */                                             \
	X(queries_published) /* records put where the resolver finds them */                                   \
	X(unix_redirected) /* UNIX connects sent to the loop */                                                \
	X(unix_allowed) /* UNIX connects that a rule allows */                                                 \
	X(cgroups_filed) /* new cgroups filed by their path, before a process could enter */                   \
	X(observed) /* what would have been refused, dropped or ended, had the workload not been observed */   \
	X(events_suppressed) /* events above HG_EVENTS_PER_SECOND */                                           \
	X(events_lost) /* events that found the ring full */                                                      \
	X(tainted) /* sockets from outside on which a guarded process has sent: nothing of theirs leaves any more */ \
	X(killed_send) /* processes ended for sending on a socket of a family that no hook sees */

enum hg_counter {
#define HG_COUNTER(name) HG_COUNT_##name,
	HG_COUNTERS(HG_COUNTER)
#undef HG_COUNTER
	HG_COUNTER_COUNT
};

_Static_assert(sizeof(struct hg_listener_key) == 16, "hg_listener_key");
_Static_assert(sizeof(struct hg_origin_key) == 32, "hg_origin_key");
_Static_assert(sizeof(struct hg_origin) == 120, "hg_origin");
_Static_assert(sizeof(struct hg_program_key) == 16, "hg_program_key");
_Static_assert(sizeof(struct hg_unix_key) == 112, "hg_unix_key");
_Static_assert(sizeof(struct hg_unix_rule) == 116, "hg_unix_rule");
_Static_assert(sizeof(struct hg_path_key) == 256, "hg_path_key");
_Static_assert(sizeof(struct hg_event) == 192, "hg_event");
_Static_assert(sizeof(struct hg_settings) == 16, "hg_settings");
_Static_assert(HG_COUNTER_COUNT <= HG_MAX_COUNTERS, "hg_counters");

#endif
