// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Ends guarded processes that make a socket of a family that no cgroup hook sees: packet, vsock and the like.
 *
 * A tracepoint cannot refuse, but it can send SIGKILL, which takes effect before the process sees the socket. Processes that hostguard
 * launches have a seccomp filter that refuses with an errno, and never come here; this is for those that it does not launch, for
 * io_uring, which seccomp does not see, and for those that got rid of nothing.
 *
 * Optional: where they don't attach, the remedy is RestrictAddressFamilies= in the agent's unit with kernel.io_uring_disabled=2. Not
 * seen: the socket calls of 32-bit programs (the kernel traces no compat system calls).
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "events.bpf.h"
#include "uapi.bpf.h"

#define SIGKILL 9
#define IORING_OP_SOCKET 45

/* /sys/kernel/tracing/events/syscalls/sys_enter_socket/format */
struct socket_call {
	__u64 common;
	__u64 number;
	__s64 family;
	__s64 type;
	__s64 protocol;
};

static __always_inline bool is_allowed(int family, int protocol)
{
	return family == AF_UNIX || family == AF_INET || family == AF_INET6 || (family == AF_NETLINK && protocol == NETLINK_ROUTE);
}

static __always_inline void end_if_guarded(enum hg_counter kind, int family, int protocol)
{
	struct wish wish = {.family = family, .protocol = protocol};
	struct guard guard = {};

	if (is_allowed(family, protocol))
		return;
	find_guard(&guard, NULL, NULL);
	if (guard.mode & HG_MODE_FAMILIES)
		return;
	/* Only a verdict kills: the cgroup that is not classified yet may be anybody's. */
	if (guard.found && report(kind, &guard, &wish))
		bpf_send_signal(SIGKILL);
}

SEC("tp/syscalls/sys_enter_socket")
int hg_sys_enter_socket(struct socket_call *ctx)
{
	end_if_guarded(HG_COUNT_killed_family, ctx->family, ctx->protocol);
	return 0;
}

SEC("tp_btf/io_uring_submit_req")
int hg_uring_submit(__u64 *ctx)
{
	struct io_kiocb *request = (struct io_kiocb *)ctx[0];
	struct io_socket *wanted;
	int family = 0, protocol = 0;

	if (request->opcode != IORING_OP_SOCKET)
		return 0;
	/* What the request's preparation has put into its command area. */
	wanted = (struct io_socket *)&request->cmd;
	if (bpf_core_read(&family, sizeof(family), &wanted->domain) ||
	    bpf_core_read(&protocol, sizeof(protocol), &wanted->protocol))
		family = 0;
	end_if_guarded(HG_COUNT_killed_uring, family, protocol);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
