/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What redirecting a connection and redirecting a query have in common: addresses, listeners, the record of who and where. */
#ifndef HG_FLOW_BPF_H
#define HG_FLOW_BPF_H

#include <bpf/bpf_endian.h>

#include "events.bpf.h"
#include "uapi.bpf.h"

#define LOOPBACK4 0x7f000001
#define MAPPED_WORD 0xffff

static __always_inline bool is_mapped(const __u32 address[4])
{
	return !address[0] && !address[1] && address[2] == bpf_htonl(MAPPED_WORD);
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

/* The family to redirect to: that of 127.0.0.1 for ::ffff:a.b.c.d. */
static __always_inline __u32 listener_family(const struct wish *to)
{
	return is_mapped(to->address) ? AF_INET : AF_INET6;
}

/* Port of the listener or resolver in the socket's namespace, 0 if none lives there. */
static __always_inline __u16 listening_port(struct bpf_sock_addr *ctx, void *map, const struct wish *to)
{
	struct hg_listener_key key = {.netns_cookie = bpf_get_netns_cookie(ctx), .family = listener_family(to)};
	struct bpf_sock *listener = (struct bpf_sock *)bpf_map_lookup_elem(map, &key);
	__u16 port = 0;

	if (!listener)
		return 0;
	/* A UDP socket is BPF_TCP_CLOSE for all its life. */
	if (listener->state == (to->protocol == IPPROTO_UDP ? BPF_TCP_CLOSE : BPF_TCP_LISTEN))
		port = listener->src_port;
	bpf_sk_release(listener);
	return port;
}

static __always_inline void wish4(struct bpf_sock_addr *ctx, struct wish *to)
{
	to->family = ctx->family;
	to->protocol = ctx->protocol;
	to->port = bpf_ntohs(ctx->user_port);
	to->address[2] = bpf_htonl(MAPPED_WORD);
	/* 0.0.0.0 means this host. */
	to->address[3] = ctx->user_ip4 ?: bpf_htonl(LOOPBACK4);
}

static __always_inline void wish6(struct bpf_sock_addr *ctx, struct wish *to)
{
	bool mapped;

	to->family = AF_INET6;
	to->protocol = ctx->protocol;
	to->port = bpf_ntohs(ctx->user_port);
	to->address[0] = ctx->user_ip6[0];
	to->address[1] = ctx->user_ip6[1];
	to->address[2] = ctx->user_ip6[2];
	to->address[3] = ctx->user_ip6[3];
	mapped = is_mapped(to->address);
	/* :: and ::ffff:0.0.0.0 mean this host. */
	if (!to->address[0] && !to->address[1] && (mapped || !to->address[2]) && !to->address[3])
		to->address[3] = mapped ? bpf_htonl(LOOPBACK4) : bpf_htonl(1);
}

static __always_inline void rewrite4(struct bpf_sock_addr *ctx, __u16 port)
{
	ctx->user_ip4 = bpf_htonl(LOOPBACK4);
	ctx->user_port = bpf_htons(port);
}

/* A mapped destination stays mapped: ::1 fails for a socket bound to ::ffff:x, and the reverse for IPV6_V6ONLY. */
static __always_inline void rewrite6(struct bpf_sock_addr *ctx, const struct wish *to, __u16 port)
{
	bool mapped = is_mapped(to->address);

	ctx->user_ip6[0] = 0;
	ctx->user_ip6[1] = 0;
	ctx->user_ip6[2] = mapped ? bpf_htonl(MAPPED_WORD) : 0;
	ctx->user_ip6[3] = mapped ? bpf_htonl(LOOPBACK4) : bpf_htonl(1);
	ctx->user_port = bpf_htons(port);
}

/* Who asks, and for what: the record that the loop or the resolver will find. */
static __always_inline void describe_origin(struct bpf_sock_addr *ctx, struct hg_origin *origin, const struct guard *guard,
					    const struct wish *to, __u16 port)
{
	__u64 uid_gid = bpf_get_current_uid_gid();

	origin->connect_ns = bpf_ktime_get_ns();
	origin->socket_cookie = bpf_get_socket_cookie(ctx);
	origin->task_cgroup = bpf_get_current_cgroup_id();
	origin->socket_cgroup = 0;
	origin->guarded_cgroup = guard->cgroup;
	origin->workload = guard->workload;
	origin->tgid = bpf_get_current_pid_tgid() >> 32;
	origin->uid = uid_gid;
	origin->gid = uid_gid >> 32;
	__builtin_memcpy(origin->address, to->address, sizeof(origin->address));
	origin->port = to->port;
	origin->family = to->family;
	origin->listener_port = port;
	origin->ambiguous = 0;
	describe_program(&origin->exe_inode, &origin->exe_device);
	origin->zero = 0;
	name_leader(&origin->start_boottime_ns, origin->comm);
}

/* The record of a socket whose peer, as the hook has it, has the port that we gave it. */
static __always_inline struct hg_origin *origin_of_peer(struct bpf_sock_addr *ctx)
{
	struct socket_state *state = ctx->sk ? bpf_sk_storage_get(&hg_sockets, ctx->sk, NULL, 0) : NULL;

	if (!state || bpf_ntohs(ctx->user_port) != state->origin.listener_port)
		return NULL;
	return &state->origin;
}

static __always_inline bool is_loopback(const __u32 address[4])
{
	bool zero = !address[0] && !address[1];

	return zero && ((!address[2] && address[3] == bpf_htonl(1)) ||
			(address[2] == bpf_htonl(MAPPED_WORD) && address[3] == bpf_htonl(LOOPBACK4)));
}

static __always_inline int restore4(struct bpf_sock_addr *ctx)
{
	struct hg_origin *origin = origin_of_peer(ctx);

	/* The address as well: a stranger may send from a port of the same number. */
	if (origin && ctx->user_ip4 == bpf_htonl(LOOPBACK4)) {
		ctx->user_ip4 = origin->address[3];
		ctx->user_port = bpf_htons(origin->port);
	}
	return PROCEED;
}

static __always_inline int restore6(struct bpf_sock_addr *ctx)
{
	__u32 address[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
	struct hg_origin *origin = origin_of_peer(ctx);

	if (origin && is_loopback(address)) {
		ctx->user_ip6[0] = origin->address[0];
		ctx->user_ip6[1] = origin->address[1];
		ctx->user_ip6[2] = origin->address[2];
		ctx->user_ip6[3] = origin->address[3];
		ctx->user_port = bpf_htons(origin->port);
	}
	return PROCEED;
}

static __always_inline int refuse(int number)
{
	bpf_set_retval(-number);
	return REFUSE;
}

#endif
