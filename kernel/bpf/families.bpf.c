// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Ends guarded processes that make a socket of a family that no cgroup hook sees: packet, vsock and the like.
 *
 * A tracepoint cannot refuse, but it can send SIGKILL, which takes effect before the process sees the socket. Processes that hostguard
 * launches have a seccomp filter that refuses with an errno, and never come here; this is for those that it does not launch, for
 * io_uring, which seccomp does not see, and for those that got rid of nothing.
 *
 * sys_enter_socket is told of no call of another ABI (arch_trace_is_compat_syscall), so compat_socket looks at all system calls, at
 * their numbers first. What socketcall(2) of i386 asks for lies in memory that another thread can change behind our look: sockets made
 * that way end the process whatever their family. (glibc for i386 makes them that way where it is built for kernels before 4.3.)
 *
 * Optional: where they don't attach, the remedy is RestrictAddressFamilies= in the agent's unit with kernel.io_uring_disabled=2, and
 * SystemCallArchitectures=native for compat_socket, which knows x86 alone.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

#include "events.bpf.h"
#include "uapi.bpf.h"

#define SIGKILL 9
/* arch/x86: entry/syscalls/syscall_32.tbl, include/asm/thread_info.h, include/uapi/asm/unistd.h; linux/net.h */
#define I386_SOCKETCALL 102
#define I386_SOCKET 359
#define SYS_SOCKET 1
#define TS_COMPAT 0x0002
#define X32_BIT 0x40000000
#define X86_64_SOCKET 41
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

static __always_inline void end_guarded(enum hg_counter kind, int family, int protocol)
{
	struct wish wish = {.family = family, .protocol = protocol};
	struct guard guard = {};

	find_guard(&guard, NULL);
	if (guard.mode & HG_MODE_FAMILIES)
		return;
	/* Only a verdict kills: the cgroup that is not classified yet may be anybody's. */
	if (guard.found && report(kind, &guard, &wish))
		bpf_send_signal(SIGKILL);
}

static __always_inline void end_if_guarded(enum hg_counter kind, int family, int protocol)
{
	if (!is_allowed(family, protocol))
		end_guarded(kind, family, protocol);
}

SEC("tp/syscalls/sys_enter_socket")
int hg_sys_enter_socket(struct socket_call *ctx)
{
	end_if_guarded(HG_COUNT_killed_family, ctx->family, ctx->protocol);
	return 0;
}

SEC("tp_btf/sys_enter")
int hg_compat_socket(__u64 *ctx)
{
	struct pt_regs *regs = (struct pt_regs *)ctx[0];
	__u64 number = ctx[1];

	if (number == (X32_BIT | X86_64_SOCKET)) {
		end_if_guarded(HG_COUNT_killed_family, regs->di, regs->dx);
		return 0;
	}
	if (number != I386_SOCKET && number != I386_SOCKETCALL)
		return 0;
	if (!(bpf_get_current_task_btf()->thread_info.status & TS_COMPAT))
		return 0;
	if (number == I386_SOCKET)
		end_if_guarded(HG_COUNT_killed_family, regs->bx, regs->dx);
	else if ((__u32)regs->bx == SYS_SOCKET)
		end_guarded(HG_COUNT_killed_family, 0, 0);
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
