// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Redirects the TCP connects of guarded processes to the enforcement loop.
 *
 * Theory of operation
 *   connect4/6      A guarded task or socket connects: look up the loop's listener in the socket's network namespace, see that it
 *                   lives and beats, remember in the socket who asked for what, rewrite the address. Anything missing: refuse.
 *   sockops         The source address is chosen, the SYN not yet sent (TCP_CONNECT_CB): publish the record under the source
 *                   address, where the loop finds it right after accept(). ACTIVE_ESTABLISHED would be too late under TCP Fast Open.
 *   getpeername4/6  The process sees the peer that it asked for.
 *
 * Invariants
 *   - A connection whose source has no record in `hg_origins` was not made by these programs; the loop refuses it.
 *   - A record is taken once, and names the one connection that owned the source address from publication until it was taken. A
 *     second claim in between (the first client gone, its connection still in the accept queue) voids the record: both are refused.
 *   - Guarded is decided by the task or by the socket: a socket runs the programs of the cgroup it was created in, for ever, so these
 *     programs are attached at a common ancestor and each of the two may have moved.
 *
 * Ugly: sockets made outside the ancestor, and connections older than the attachment, are not seen here; nor is UDP.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "kernel_types.bpf.h"
#include "maps.bpf.h"
#include "shared.h"

/* UAPI values whose headers do not compile for the bpf target. */
#define AF_INET 2
#define AF_INET6 10
#define IPPROTO_TCP 6
#define SOL_SOCKET 1
#define SO_BINDTOIFINDEX 62
#define ECONNREFUSED 111
#define LOOPBACK4 0x7f000001
#define MAPPED_WORD 0xffff

/* Return values of cgroup programs. */
#define REFUSE 0
#define PROCEED 1

/* The walk from a cgroup to the root needs an end that the verifier can see; deeper ones are refused, not passed. */
#define MAX_DEPTH 64

const volatile struct hg_settings settings SEC(".rodata.settings") = {.heartbeat_limit_ns = 2000000000ULL};

struct destination {
	__u32 address[4];
	__u16 port;
	__u16 family;
	__u32 listener_family;
};

/* Which guarded cgroup holds a connect, if any. */
struct guard {
	__u64 cgroup;
	__u32 workload;
	bool found;
	bool too_deep;
};

static __always_inline void count(enum hg_counter counter)
{
	__u32 key = counter;
	__u64 *value = bpf_map_lookup_elem(&hg_counters, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline int refuse(enum hg_counter why)
{
	count(why);
	return -ECONNREFUSED;
}

static __always_inline bool is_mapped(const __u32 address[4])
{
	return !address[0] && !address[1] && address[2] == bpf_htonl(MAPPED_WORD);
}

/* Innermost first, so that a workload inside another workload's cgroup is the one that counts. */
static __always_inline void find_guard(struct cgroup *cgroup, struct guard *guard)
{
	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		struct cgroup_subsys_state *parent;
		__u32 *workload;
		__u64 id;

		if (!cgroup)
			return;
		id = cgroup->kn->id;
		workload = bpf_map_lookup_elem(&hg_guarded, &id);
		if (workload) {
			guard->cgroup = id;
			guard->workload = *workload;
			guard->found = true;
			return;
		}
		parent = cgroup->self.parent;
		if (!parent)
			return;
		cgroup = parent->cgroup;
	}
	guard->too_deep = true;
}

static __always_inline bool has_ip_options(struct tcp_sock *tcp)
{
	struct inet_sock *inet = &tcp->inet_conn.icsk_inet;
	struct ipv6_pinfo *v6 = inet->pinet6;

	return inet->inet_opt || (v6 && v6->opt);
}

static __always_inline bool is_beating(void)
{
	__u32 key = 0;
	__u64 *beat = bpf_map_lookup_elem(&hg_heartbeat, &key);
	__s64 age, limit = settings.heartbeat_limit_ns;

	if (!beat)
		return false;
	/* Signed: another CPU may have beaten since this clock was read. A beat from the far future is as wrong as an old one. */
	age = (__s64)(bpf_ktime_get_ns() - *(volatile __u64 *)beat);
	return age <= limit && age >= -limit;
}

/* Port of the listener in the socket's namespace, 0 if none listens. */
static __always_inline __u16 listener_port(struct bpf_sock_addr *ctx, __u32 family)
{
	struct hg_listener_key key = {.netns_cookie = bpf_get_netns_cookie(ctx), .family = family};
	struct bpf_sock *listener = (struct bpf_sock *)bpf_map_lookup_elem(&hg_listeners, &key);
	__u16 port = 0;

	if (!listener)
		return 0;
	if (listener->state == BPF_TCP_LISTEN)
		port = listener->src_port;
	bpf_sk_release(listener);
	return port;
}

static __always_inline void describe_task(struct hg_origin *origin)
{
	struct task_struct *leader = bpf_get_current_task_btf()->group_leader;
	__u64 uid_gid = bpf_get_current_uid_gid();

	origin->start_boottime_ns = leader->start_boottime;
	origin->tgid = bpf_get_current_pid_tgid() >> 32;
	origin->uid = uid_gid;
	origin->gid = uid_gid >> 32;
	origin->task_cgroup = bpf_get_current_cgroup_id();
	/* The leader's name: an io_uring worker calls itself iou-wrk-N. Byte by byte: the verifier allows no wider reads of char arrays. */
	for (int i = 0; i < HG_COMM_LENGTH; i++)
		origin->comm[i] = leader->comm[i];
}

static __always_inline int remember(struct bpf_sock_addr *ctx, struct tcp_sock *tcp, const struct destination *to,
				    const struct guard *guard, __u16 port)
{
	struct socket_state *state = bpf_sk_storage_get(&hg_sockets, ctx->sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	struct cgroup *cgroup = tcp->inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup;
	struct hg_origin *origin;

	if (!state)
		return refuse(HG_COUNT_refused_helper_failed);
	origin = &state->origin;
	describe_task(origin);
	origin->connect_ns = bpf_ktime_get_ns();
	origin->socket_cookie = bpf_get_socket_cookie(ctx);
	origin->socket_cgroup = cgroup ? cgroup->kn->id : 0;
	origin->guarded_cgroup = guard->cgroup;
	origin->workload = guard->workload;
	__builtin_memcpy(origin->address, to->address, sizeof(origin->address));
	origin->port = to->port;
	origin->family = to->family;
	origin->listener_port = port;
	origin->ambiguous = 0;
	state->unpublished = 1;
	return port;
}

static __always_inline int decide(struct bpf_sock_addr *ctx, struct tcp_sock *tcp, const struct destination *to)
{
	struct guard guard = {};
	int no_device = 0;
	__u16 port;

	find_guard(bpf_get_current_task_btf()->cgroups->dfl_cgrp, &guard);
	if (!guard.found && tcp)
		find_guard(tcp->inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup, &guard);
	if (!guard.found)
		return guard.too_deep ? refuse(HG_COUNT_refused_depth) : 0;
	if (!tcp) {
		count(HG_COUNT_passed_other_protocol);
		return 0;
	}
	if (has_ip_options(tcp))
		return refuse(HG_COUNT_refused_ip_options);
	port = listener_port(ctx, to->listener_family);
	if (!port)
		return refuse(HG_COUNT_refused_no_listener);
	if (!is_beating())
		return refuse(HG_COUNT_refused_stale_heartbeat);
	/* A socket bound to a device would send the packet for 127.0.0.1 out of that device. */
	if (ctx->sk->bound_dev_if && bpf_setsockopt(ctx, SOL_SOCKET, SO_BINDTOIFINDEX, &no_device, sizeof(no_device)))
		return refuse(HG_COUNT_refused_helper_failed);
	return remember(ctx, tcp, to, &guard, port);
}

/* Port to rewrite the connect to; 0 to leave it alone; a negative errno to refuse it. */
static __always_inline int redirect(struct bpf_sock_addr *ctx, const struct destination *to)
{
	struct tcp_sock *tcp = ctx->protocol == IPPROTO_TCP ? bpf_skc_to_tcp_sock(ctx->sk) : NULL;
	int port = decide(ctx, tcp, to);

	/* A socket can be connected again after connect(AF_UNSPEC): nothing of an earlier redirection may stick. */
	if (port <= 0 && tcp)
		bpf_sk_storage_delete(&hg_sockets, ctx->sk);
	return port;
}

static __always_inline int finish(int port)
{
	if (port < 0) {
		bpf_set_retval(port);
		return REFUSE;
	}
	if (port > 0)
		count(HG_COUNT_redirected);
	return PROCEED;
}

/* The record of a socket whose peer is still the one that we gave it. */
static __always_inline struct hg_origin *origin_of_peer(struct bpf_sock_addr *ctx)
{
	struct socket_state *state = ctx->sk ? bpf_sk_storage_get(&hg_sockets, ctx->sk, NULL, 0) : NULL;

	if (!state || bpf_ntohs(ctx->user_port) != state->origin.listener_port)
		return NULL;
	return &state->origin;
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

SEC("cgroup/connect4")
int hg_connect4(struct bpf_sock_addr *ctx)
{
	struct destination to = {.family = AF_INET, .listener_family = AF_INET, .port = bpf_ntohs(ctx->user_port)};
	int port;

	to.address[2] = bpf_htonl(MAPPED_WORD);
	/* 0.0.0.0 means this host. */
	to.address[3] = ctx->user_ip4 ?: bpf_htonl(LOOPBACK4);
	port = redirect(ctx, &to);
	if (port > 0) {
		ctx->user_ip4 = bpf_htonl(LOOPBACK4);
		ctx->user_port = bpf_htons(port);
	}
	return finish(port);
}

SEC("cgroup/connect6")
int hg_connect6(struct bpf_sock_addr *ctx)
{
	struct destination to = {.family = AF_INET6, .listener_family = AF_INET6, .port = bpf_ntohs(ctx->user_port)};
	bool mapped;
	int port;

	to.address[0] = ctx->user_ip6[0];
	to.address[1] = ctx->user_ip6[1];
	to.address[2] = ctx->user_ip6[2];
	to.address[3] = ctx->user_ip6[3];
	mapped = is_mapped(to.address);
	if (mapped)
		to.listener_family = AF_INET;
	/* :: and ::ffff:0.0.0.0 mean this host. */
	if (!to.address[0] && !to.address[1] && (mapped || !to.address[2]) && !to.address[3])
		to.address[3] = mapped ? bpf_htonl(LOOPBACK4) : bpf_htonl(1);
	port = redirect(ctx, &to);
	if (port > 0) {
		/* A mapped destination stays mapped: ::1 fails for a socket bound to ::ffff:x, and the reverse for IPV6_V6ONLY. */
		ctx->user_ip6[0] = 0;
		ctx->user_ip6[1] = 0;
		ctx->user_ip6[2] = mapped ? bpf_htonl(MAPPED_WORD) : 0;
		ctx->user_ip6[3] = mapped ? bpf_htonl(LOOPBACK4) : bpf_htonl(1);
		ctx->user_port = bpf_htons(port);
	}
	return finish(port);
}

SEC("cgroup/getpeername4")
int hg_getpeername4(struct bpf_sock_addr *ctx)
{
	struct hg_origin *origin = origin_of_peer(ctx);

	if (origin) {
		ctx->user_ip4 = origin->address[3];
		ctx->user_port = bpf_htons(origin->port);
	}
	return PROCEED;
}

SEC("cgroup/getpeername6")
int hg_getpeername6(struct bpf_sock_addr *ctx)
{
	struct hg_origin *origin = origin_of_peer(ctx);

	if (origin) {
		ctx->user_ip6[0] = origin->address[0];
		ctx->user_ip6[1] = origin->address[1];
		ctx->user_ip6[2] = origin->address[2];
		ctx->user_ip6[3] = origin->address[3];
		ctx->user_port = bpf_htons(origin->port);
	}
	return PROCEED;
}

SEC("sockops")
int hg_sockops(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_TCP_CONNECT_CB)
		publish(ctx);
	return PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
