// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Redirects the connects of guarded processes: TCP to the enforcement loop, UDP port 53 to the resolver; refuses all others.
 *
 * Theory of operation
 *   connect4/6      A guarded task or socket connects: look up the loop's listener in the socket's network namespace, see that it
 *                   lives and beats, remember in the socket who asked for what, rewrite the address. Anything missing: refuse.
 *   sockops         The source address is chosen, the SYN not yet sent (TCP_CONNECT_CB): publish the record under the source
 *                   address, where the loop finds it right after accept(). ACTIVE_ESTABLISHED would be too late under TCP Fast Open.
 *                   A connection that a server accepts is marked, for the fence to know it.
 *   getpeername4/6  The process sees the peer that it asked for.
 *
 * Invariants
 *   - A connection whose source has no record in `hg_origins` was not made by these programs; the loop refuses it.
 *   - A record is taken once, and names the one connection that owned the source address from publication until it was taken. A
 *     second claim in between (the first client gone, its connection still in the accept queue) voids the record: both are refused.
 *   - Guarded is decided by the task or by the socket: a socket runs the programs of the cgroup it was created in, for ever, so these
 *     programs are attached at a common ancestor and each of the two may have moved.
 *
 * Ugly: sockets made outside the ancestor, and connections older than the attachment, are not seen here (the fence, fence.bpf.c, and
 * kernel/enrol.py take care of those); of a UDP socket only the task is judged, because its cgroup cannot be read here.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flow.bpf.h"

/* What a connect comes to when it can't be redirected: a negative errno, or 0 to let it pass. */
static __always_inline int fail(enum hg_counter why, const struct guard *guard, const struct wish *to, int number)
{
	return report(why, guard, to) ? -number : 0;
}

/* Port to redirect to, 0 to let it pass, or a negative errno. */
static __always_inline int find_port(struct bpf_sock_addr *ctx, const struct guard *guard, const struct wish *to)
{
	bool is_query = to->protocol == IPPROTO_UDP;
	int no_device = 0;
	__u16 port;

	if (is_query)
		port = listening_port(ctx, &hg_resolvers, to);
	else
		port = listening_port(ctx, &hg_listeners, to);
	if (!port)
		return fail(is_query ? HG_COUNT_refused_no_resolver : HG_COUNT_refused_no_listener, guard, to, ECONNREFUSED);
	if (!is_beating())
		return fail(HG_COUNT_refused_stale_heartbeat, guard, to, ECONNREFUSED);
	/* A socket bound to a device would send the packet for 127.0.0.1 out of that device. */
	if (ctx->sk->bound_dev_if && bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTOIFINDEX, &no_device, sizeof(no_device)))
		return fail(HG_COUNT_refused_helper_failed, guard, to, ECONNREFUSED);
	return port;
}

static __always_inline int remember(struct bpf_sock_addr *ctx, struct cgroup *of_socket, const struct guard *guard,
				    const struct wish *to, __u16 port)
{
	struct socket_state *state = bpf_sk_storage_get(&hg_sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);

	if (!state)
		return fail(HG_COUNT_refused_helper_failed, guard, to, ECONNREFUSED);
	if (!guard->cgroup)
		keep_mark(bpf_sk_storage_get(&hg_marks, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE), guard);
	describe_origin(ctx, &state->origin, guard, to, port);
	if (of_socket)
		state->origin.socket_cgroup = id_of_cgroup(of_socket);
	state->unpublished = 1;
	return port;
}

static __always_inline struct tcp_sock *tcp_of(struct bpf_sock_addr *ctx)
{
	return ctx->protocol == IPPROTO_TCP ? tcp_sock_of(ctx->sk) : NULL;
}

/* The cgroup in which the socket was made. */
VERIFIED_ONCE int walk_socket(struct bpf_sock_addr *ctx, struct guard *guard)
{
#ifndef HG_UAPI_ONLY
	struct tcp_sock *tcp = tcp_of(ctx);

	if (guard && tcp)
		walk_cgroup(cgroup_of_socket(tcp), guard);
#endif
	return 0;
}

/* Who connects. First of all, and before the address is read: most connects are nobody's. */
static __always_inline bool find_connecting(struct bpf_sock_addr *ctx, struct guard *guard)
{
	bool inside;

	walk_task(guard);
	inside = guard->inside;
	if (is_undecided(guard))
		walk_socket(ctx, guard);
	find_otherwise(guard, inside, bpf_sk_storage_get(&hg_marks, ctx->sk, NULL, 0));
	/* A socket can be connected again after connect(AF_UNSPEC): nothing of an earlier redirection may stick. */
	if (!is_guarded(guard))
		bpf_sk_storage_delete(&hg_sockets, ctx->sk);
	return is_guarded(guard);
}

static __always_inline int decide(struct bpf_sock_addr *ctx, struct tcp_sock *tcp, const struct guard *guard, const struct wish *to)
{
	int port;

	if (guard->pending || guard->too_deep)
		return fail(HG_COUNT_refused_pending, guard, to, tcp ? ECONNREFUSED : EPERM);
	if (to->protocol == IPPROTO_UDP && to->port != DNS_PORT)
		return fail(HG_COUNT_denied_datagram, guard, to, EPERM);
	if (to->protocol != IPPROTO_UDP && !tcp)
		return fail(HG_COUNT_denied_protocol, guard, to, EPERM);
	if (tcp && has_ip_options(tcp))
		return fail(HG_COUNT_refused_ip_options, guard, to, ECONNREFUSED);
	port = find_port(ctx, guard, to);
	return port > 0 ? remember(ctx, tcp ? cgroup_of_socket(tcp) : NULL, guard, to, port) : port;
}

/* Port to rewrite the connect to; 0 to leave it alone; a negative errno to refuse it. */
static __always_inline int redirect(struct bpf_sock_addr *ctx, struct tcp_sock *tcp, const struct guard *guard, const struct wish *to)
{
	int port = decide(ctx, tcp, guard, to);

	if (port <= 0)
		bpf_sk_storage_delete(&hg_sockets, ctx->sk);
	return port;
}

static __always_inline int finish(const struct wish *to, int port)
{
	if (port < 0)
		return refuse(-port);
	if (port > 0)
		count(to->protocol == IPPROTO_UDP ? HG_COUNT_queries_redirected : HG_COUNT_redirected);
	return PROCEED;
}

static __always_inline void source_of(struct bpf_sock_ops *ctx, struct hg_origin_key *key)
{
	__u32 ip4 = ctx->local_ip4, ip6_0 = ctx->local_ip6[0], ip6_1 = ctx->local_ip6[1];
	__u32 ip6_2 = ctx->local_ip6[2], ip6_3 = ctx->local_ip6[3];

	/* Keep the loads up there: merged into the branch they become a load through a computed ctx pointer, which does not verify. */
	asm volatile("" : "+r"(ip4), "+r"(ip6_0), "+r"(ip6_1), "+r"(ip6_2), "+r"(ip6_3));
	key->netns_cookie = bpf_get_netns_cookie(ctx);
	key->port = ctx->local_port;
	/* By family: local_ip4 of a pure IPv6 socket is not an address, and a mapped one has it in local_ip6. */
	if (ctx->family == AF_INET) {
		key->address[2] = bpf_htonl(MAPPED_WORD);
		key->address[3] = ip4;
		return;
	}
	key->address[0] = ip6_0;
	key->address[1] = ip6_1;
	key->address[2] = ip6_2;
	key->address[3] = ip6_3;
}

/* What an earlier connection left under this source and nobody has taken yet. */
static __always_inline struct hg_origin *left_over(const struct hg_origin_key *key, __u16 remote_port)
{
	struct hg_origin *origin = bpf_map_lookup_elem(&hg_origins, key);

	return origin && origin->listener_port == remote_port ? origin : NULL;
}

static __always_inline void publish(struct bpf_sock_ops *ctx)
{
	__u16 remote_port = bpf_ntohl(ctx->remote_port);
	struct bpf_sock *sk = ctx->sk;
	struct socket_state *state = sk ? bpf_sk_storage_get(&hg_sockets, sk, NULL, 0) : NULL;
	struct hg_origin_key key = {};
	struct hg_origin *earlier;

	source_of(ctx, &key);
	earlier = left_over(&key, remote_port);
	if (!state || !state->unpublished || state->origin.listener_port != remote_port) {
		/* Not redirected, but perhaps dialling the listener itself: it must not find another's record. */
		if (earlier && !bpf_map_delete_elem(&hg_origins, &key))
			count(HG_COUNT_cleared_direct_dial);
		return;
	}
	state->unpublished = 0;
	if (earlier) {
		state->origin.ambiguous = 1;
		count(HG_COUNT_ambiguous);
	}
	if (bpf_map_update_elem(&hg_origins, &key, &state->origin, BPF_ANY)) {
		bpf_map_delete_elem(&hg_origins, &key);
		count(HG_COUNT_publish_failed);
		return;
	}
	count(HG_COUNT_published);
}

static __always_inline void mark_passive(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket_mark *mark = sk ? bpf_sk_storage_get(&hg_marks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE) : NULL;

	if (mark)
		mark->passive = 1;
}

SEC("cgroup/connect4")
int hg_connect4(struct bpf_sock_addr *ctx)
{
	struct tcp_sock *tcp = tcp_of(ctx);
	struct guard guard = {};
	struct wish to = {};
	int port;

	if (!find_connecting(ctx, &guard))
		return PROCEED;
	wish4(ctx, &to);
	port = redirect(ctx, tcp, &guard, &to);
	if (port > 0)
		rewrite4(ctx, port);
	return finish(&to, port);
}

SEC("cgroup/connect6")
int hg_connect6(struct bpf_sock_addr *ctx)
{
	struct tcp_sock *tcp = tcp_of(ctx);
	struct guard guard = {};
	struct wish to = {};
	int port;

	if (!find_connecting(ctx, &guard))
		return PROCEED;
	wish6(ctx, &to);
	port = redirect(ctx, tcp, &guard, &to);
	if (port > 0)
		rewrite6(ctx, &to, port);
	return finish(&to, port);
}

SEC("cgroup/getpeername4")
int hg_getpeername4(struct bpf_sock_addr *ctx)
{
	return restore4(ctx);
}

SEC("cgroup/getpeername6")
int hg_getpeername6(struct bpf_sock_addr *ctx)
{
	return restore6(ctx);
}

SEC("sockops")
int hg_sockops(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		publish(ctx);
	else if (ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		mark_passive(ctx);
	return PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
