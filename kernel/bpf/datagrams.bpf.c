// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Denies the datagrams of guarded processes, but for DNS queries, which go to the resolver.
 *
 * Theory of operation
 *   sendmsg4/6  Runs for each datagram that names a destination. Port 53: remember in the socket who asks whom, rewrite. Others: EPERM.
 *   recvmsg4/6  An answer of the resolver comes from the server that was asked last: a socket that asks two servers at once sees both
 *               answers come from the second. Resolvers of libc match answers by their id.
 *   Who asks is published by the fence, which alone knows the source address (fence.bpf.c).
 *
 * Traps, each met: an AF_INET6 socket that sends to ::ffff:a.b.c.d runs sendmsg4, then recvmsg6; once such a socket is connected,
 * sendmsg4 runs again for each send() with the address that we gave it. An AF_INET destination on an AF_INET6 socket runs sendmsg4.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flow.bpf.h"

/* Of a connected socket that connect has redirected already. */
static __always_inline bool is_redirected(struct bpf_sock_addr *ctx, const struct wish *to)
{
	return is_loopback(to->address) && origin_of_peer(ctx);
}

static __always_inline int fail(enum hg_counter why, const struct guard *guard, const struct wish *to, int number)
{
	return report(why, guard, to) ? -number : 0;
}

/* Port of the resolver; 0 to let it pass; a negative errno. */
static __always_inline int decide(struct bpf_sock_addr *ctx, const struct guard *guard, const struct wish *to)
{
	struct socket_state *state;
	__u16 port;

	if (is_redirected(ctx, to))
		return 0;
	if (guard->pending || guard->too_deep || to->protocol != IPPROTO_UDP || to->port != DNS_PORT)
		return fail(HG_COUNT_denied_datagram, guard, to, EPERM);
	port = listening_port(ctx, &hg_resolvers, to);
	if (!port)
		return fail(HG_COUNT_refused_no_resolver, guard, to, ECONNREFUSED);
	if (!is_beating())
		return fail(HG_COUNT_refused_stale_heartbeat, guard, to, ECONNREFUSED);
	state = bpf_sk_storage_get(&hg_sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!state)
		return fail(HG_COUNT_refused_helper_failed, guard, to, ECONNREFUSED);
	if (!guard->cgroup)
		keep_mark(bpf_sk_storage_get(&hg_marks, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE), guard);
	describe_origin(ctx, &state->origin, guard, to, port);
	state->unpublished = 1;
	count(HG_COUNT_queries_redirected);
	return port;
}

SEC("cgroup/sendmsg4")
int hg_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct guard guard = {};
	struct wish to = {};
	int port;

	/* Before the address is read: most datagrams are nobody's. */
	find_guard(&guard, bpf_sk_storage_get(&hg_marks, ctx->sk, NULL, 0));
	if (!is_guarded(&guard))
		return PROCEED;
	wish4(ctx, &to);
	port = decide(ctx, &guard, &to);
	if (port < 0)
		return refuse(-port);
	if (port > 0)
		rewrite4(ctx, port);
	return PROCEED;
}

SEC("cgroup/sendmsg6")
int hg_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct guard guard = {};
	struct wish to = {};
	int port;

	/* Before the address is read: most datagrams are nobody's. */
	find_guard(&guard, bpf_sk_storage_get(&hg_marks, ctx->sk, NULL, 0));
	if (!is_guarded(&guard))
		return PROCEED;
	wish6(ctx, &to);
	port = decide(ctx, &guard, &to);
	if (port < 0)
		return refuse(-port);
	if (port > 0)
		rewrite6(ctx, &to, port);
	return PROCEED;
}

SEC("cgroup/recvmsg4")
int hg_recvmsg4(struct bpf_sock_addr *ctx)
{
	return restore4(ctx);
}

SEC("cgroup/recvmsg6")
int hg_recvmsg6(struct bpf_sock_addr *ctx)
{
	return restore6(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
