/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whether the current task is who sends a packet. libbpf's alone: what it reads, only BTF can find. */
#ifndef HG_SENDING_BPF_H
#define HG_SENDING_BPF_H

#include <bpf/bpf_core_read.h>

#include "kernel_types.bpf.h"
#include "uapi.bpf.h"

extern void *bpf_cast_to_kern_ctx(void *) __ksym __weak;

/* Came with Linux 6.2, as did that function. */
enum bpf_func_id___later { BPF_FUNC_cgrp_storage_get___later = 1 };

/* NFS and the like, and what the kernel itself answers: they send in anyone's time slice, or in the calls of whoever uses a file. */
static __always_inline int is_of_kernel(struct sock *sk)
{
	return BPF_CORE_READ_BITFIELD(sk, sk_kern_sock);
}

/*
 * Whether the current task sends this packet by a call of its own. A third of all packets leave in a soft interrupt, which is anyone's;
 * the count that would say so is not to be had on every kernel. But TCP touches a socket there only while nobody holds its lock, and
 * sockets of other protocols send there only if they are the kernel's own. (Linux 6.2 tells those; before it, only TCP is judged.)
 */
static __always_inline int is_sending_now(struct __sk_buff *skb, struct bpf_sock *sk)
{
	struct tcp_sock *tcp;
	struct sock *full;

	if (sk->protocol == IPPROTO_TCP && sk->type == SOCK_STREAM) {
		tcp = bpf_skc_to_tcp_sock(sk);
		if (!tcp || sk->state == BPF_TCP_LISTEN || !tcp->inet_conn.icsk_inet.sk.sk_lock.owned)
			return 0;
		return !is_of_kernel(&tcp->inet_conn.icsk_inet.sk);
	}
	if (!bpf_core_enum_value_exists(enum bpf_func_id___later, BPF_FUNC_cgrp_storage_get___later))
		return 0;
	full = ((struct sk_buff *)bpf_cast_to_kern_ctx(skb))->sk;
	return full && !is_of_kernel(full);
}

#endif
