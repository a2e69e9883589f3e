/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What can be known of a process and of a socket's cgroup, in two ways.
 *
 * libbpf finds the offsets of kernel structs in the running kernel's BTF. The second loader (kernel/bcc.py) is for kernels where it
 * can't: HG_UAPI_ONLY keeps to what the system call interface promises. Lost with it: start times, executables, the leader's name, the
 * cgroup of a socket at connect. The fence asks for that by a helper, so a socket from another cgroup is dropped instead of redirected.
 */
#ifndef HG_PROCESS_BPF_H
#define HG_PROCESS_BPF_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "kernel_types.bpf.h"
#include "shared.h"

#ifdef HG_UAPI_ONLY

static __always_inline struct cgroup *cgroup_of_socket(struct tcp_sock *tcp)
{
	return 0;
}

static __always_inline __u64 id_of_cgroup(struct cgroup *cgroup)
{
	return 0;
}

static __always_inline struct tcp_sock *tcp_sock_of(struct bpf_sock *sk)
{
	return (struct tcp_sock *)sk;
}

static __always_inline void name_leader(__u64 *start_boottime_ns, char comm[HG_COMM_LENGTH])
{
	*start_boottime_ns = 0;
	bpf_get_current_comm(comm, HG_COMM_LENGTH);
}

static __always_inline void describe_program(__u64 *inode, __u32 *device)
{
	*inode = 0;
	*device = 0;
}

/* Such a packet carries its options, and the fence passes none that does. */
static __always_inline int has_ip_options(struct tcp_sock *tcp)
{
	return 0;
}

/* Nobody can tell: the fence then judges by the socket alone. */
static __always_inline int is_sending_now(struct __sk_buff *skb, struct bpf_sock *sk)
{
	return 0;
}

#else

static __always_inline struct cgroup *cgroup_of_socket(struct tcp_sock *tcp)
{
	return tcp->inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup;
}

static __always_inline __u64 id_of_cgroup(struct cgroup *cgroup)
{
	return cgroup->kn->id;
}

static __always_inline struct tcp_sock *tcp_sock_of(struct bpf_sock *sk)
{
	return bpf_skc_to_tcp_sock(sk);
}

/* The leader's name: an io_uring worker calls itself iou-wrk-N. Byte by byte: the verifier allows no wider reads of char arrays. */
static __always_inline void name_leader(__u64 *start_boottime_ns, char comm[HG_COMM_LENGTH])
{
	struct task_struct *leader = bpf_get_current_task_btf()->group_leader;

	*start_boottime_ns = leader->start_boottime;
	for (int i = 0; i < HG_COMM_LENGTH; i++)
		comm[i] = leader->comm[i];
}

/* What it runs: /proc shows what it runs later. */
static __always_inline void describe_program(__u64 *inode, __u32 *device)
{
	struct mm_struct *mm = bpf_get_current_task_btf()->mm;
	struct file *file = mm ? mm->exe_file : NULL;
	struct inode *found = file ? file->f_inode : NULL;

	*inode = found ? found->i_ino : 0;
	*device = found ? found->i_sb->s_dev : 0;
}

static __always_inline int has_ip_options(struct tcp_sock *tcp)
{
	struct inet_sock *inet = &tcp->inet_conn.icsk_inet;
	struct ipv6_pinfo *v6 = inet->pinet6;

	return inet->inet_opt || (v6 && v6->opt);
}

#include "sending.bpf.h"

#endif
#endif
