// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Sockets from outside in a guarded hand: inherited, received by SCM_RIGHTS, taken by pidfd_getfd, kept while moving in.
 *
 * No hook at a cgroup sees who sends on a connected socket, and the fence, which knows sockets, sees one of an unguarded cgroup. Its
 * packet may leave long after the call, in anyone's time slice, when the peer opens its window. So the socket is marked as the
 * sender's before the kernel has taken a byte, and the fence judges it as theirs from then on, whoever sends.
 *
 *   tcp_send   Each time that TCP is about to take data, with the socket locked: an acknowledgement that comes now has to wait.
 *              All roads come by here: write, sendmsg, splice, sendfile, io_uring.
 *   send       After any other socket has taken a message. Of UDP and raw sockets the packet leaves in the call, where the fence sees
 *              who calls; here the socket is marked, for what is left of the message (corks). Packet and vsock sockets pass no fence: who
 *              sends on one is ended, behind its first message.
 *
 * Optional: tcp_send needs Linux 6.16, send 6.3. Without tcp_send, data that is queued while the peer's window is closed can leave in a
 * soft interrupt; without both the fence still marks what leaves in a guarded task's call.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "events.bpf.h"
#include "uapi.bpf.h"

#define SIGKILL 9

/* UAPI's, and the helper's, of Linux 6.2: older than either tracepoint, newer than Debian 12's headers. */
#define BPF_MAP_TYPE_CGRP_STORAGE 32
#define CGRP_STORAGE_CREATE 1
static void *(*const cgrp_storage_get)(void *map, struct cgroup *cgroup, void *value, __u64 flags) = (void *)210;

/*
 * What a walk from this cgroup found, while hg_guarded stays as it is: most senders of a host are nobody's, and would walk for each
 * send. Only that is kept; a verdict is always looked up. A cgroup's ancestors never change. A new one (cgroup_mkdir files it) has none
 * of this yet.
 */
struct kept_walk {
	__u64 epoch_inside; /* epoch + 1 of a walk that found nothing, shifted by one; lowest bit: guard.inside */
};

struct {
	__uint(type, BPF_MAP_TYPE_CGRP_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct kept_walk);
} hg_walks SEC(".maps");

/* Exists where the tracepoint does: then `send` leaves TCP to `tcp_send`. */
struct trace_event_raw_tcp_sendmsg_locked {
	int size_goal;
} __attribute__((preserve_access_index));

/* As walk_task, and kept. */
static __always_inline void walk_task_once(struct guard *guard)
{
	struct cgroup *cgroup = bpf_get_current_task_btf()->cgroups->dfl_cgrp;
	struct kept_walk *kept = cgrp_storage_get(&hg_walks, cgroup, NULL, CGRP_STORAGE_CREATE);
	__u32 key = 0;
	__u64 *epoch = bpf_map_lookup_elem(&hg_epoch, &key), now;

	if (!kept || !epoch) {
		walk_task(guard);
		return;
	}
	now = kept->epoch_inside;
	if (now >> 1 == *epoch + 1) {
		guard->inside = now & 1;
		return;
	}
	/* The epoch is read before the walk: a change meanwhile makes what is kept here an older one's. */
	now = __sync_fetch_and_add(epoch, 0);
	walk_task(guard);
	if (is_undecided(guard) && !(now & 1))
		kept->epoch_inside = (now + 1) << 1 | guard->inside;
}

VERIFIED_ONCE int find_sender(struct guard *guard)
{
	if (!guard)
		return 0;
	walk_task_once(guard);
	if (is_undecided(guard) && guard->inside)
		find_by_process(guard);
	find_mode(guard);
	return 0;
}

/* Make it the sender's, for the fence. What is told: that it came from outside. */
static __always_inline void mark_sender(struct sock *sk, int protocol)
{
	struct wish wish = {.family = sk->__sk_common.skc_family, .protocol = protocol};
	struct socket_mark *mark;
	struct guard guard = {}, maker = {};

	find_sender(&guard);
	/* While a cgroup is not classified its packets are refused, but its sockets are nobody's. */
	if (!guard.found)
		return;
	mark = bpf_sk_storage_get(&hg_marks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!mark || mark->workload == guard.workload)
		return;
	mark->workload = guard.workload;
	walk_cgroup(sk->sk_cgrp_data.cgroup, &maker);
	if (!mark->passive && !is_guarded(&maker))
		report(HG_COUNT_tainted, &guard, &wish);
}

SEC("tp_btf/tcp_sendmsg_locked")
int hg_tcp_send(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];

	if (is_of_kernel(sk) || bpf_sk_storage_get(&hg_sockets, sk, NULL, 0))
		return 0;
	mark_sender(sk, IPPROTO_TCP);
	return 0;
}

static __always_inline void end_sender(int family, int protocol)
{
	struct wish wish = {.family = family, .protocol = protocol};
	struct guard guard = {};

	find_sender(&guard);
	if (guard.found && !(guard.mode & HG_MODE_FAMILIES) && report(HG_COUNT_killed_send, &guard, &wish))
		bpf_send_signal(SIGKILL);
}

SEC("tp_btf/sock_send_length")
int hg_send(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	int family = sk->__sk_common.skc_family;
	int protocol = sk->sk_protocol;

	if (family == AF_UNIX || family == AF_NETLINK || is_of_kernel(sk))
		return 0;
	if (family != AF_INET && family != AF_INET6) {
		end_sender(family, protocol);
		return 0;
	}
	if (protocol == IPPROTO_TCP && bpf_core_type_exists(struct trace_event_raw_tcp_sendmsg_locked))
		return 0;
	if (!bpf_sk_storage_get(&hg_sockets, sk, NULL, 0))
		mark_sender(sk, protocol);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
