// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What guarded processes may make and set: TCP and UDP sockets, without the options that lead packets elsewhere.
 *
 *   sock_create   Sockets of another protocol get the errno that programs know for "not here". The sockets of processes that are
 *                 guarded by user or executable are marked, for the fence to know them.
 *   setsockopt    Device binding, source routes, routing headers, forged headers: EPERM. What goes by ancillary data is the fence's.
 *   sock_release  A closed socket asks nothing any more: the next owner of its port must not be taken for it.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#include "events.bpf.h"
#include "uapi.bpf.h"

/* include/uapi/asm-generic/socket.h, linux/in.h, linux/in6.h */
#define SO_BINDTODEVICE 25
#define SO_MARK 36
#define IP_HDRINCL 3
#define IP_OPTIONS 4
#define IP_IPSEC_POLICY 16
#define IP_XFRM_POLICY 17
#define IP_TRANSPARENT 19
#define IP_UNICAST_IF 50
#define IPV6_2292PKTINFO 2
#define IPV6_2292PKTOPTIONS 6
#define IPV6_NEXTHOP 9
#define IPV6_IPSEC_POLICY 34
#define IPV6_XFRM_POLICY 35
#define IPV6_HDRINCL 36
#define IPV6_PKTINFO 50
#define IPV6_HOPOPTS 54
#define IPV6_RTHDRDSTOPTS 55
#define IPV6_RTHDR 57
#define IPV6_DSTOPTS 59
#define IPV6_TRANSPARENT 75
#define IPV6_UNICAST_IF 76

static __always_inline bool leads_elsewhere(__s32 level, __s32 name)
{
	switch (level) {
	case SOL_SOCKET:
		return name == SO_BINDTODEVICE || name == SO_BINDTOIFINDEX || name == SO_MARK;
	case SOL_IP:
		return name == IP_HDRINCL || name == IP_OPTIONS || name == IP_IPSEC_POLICY || name == IP_XFRM_POLICY ||
		       name == IP_TRANSPARENT || name == IP_UNICAST_IF;
	case SOL_IPV6:
		return name == IPV6_2292PKTINFO || name == IPV6_2292PKTOPTIONS || name == IPV6_NEXTHOP ||
		       name == IPV6_IPSEC_POLICY || name == IPV6_XFRM_POLICY || name == IPV6_HDRINCL || name == IPV6_PKTINFO ||
		       name == IPV6_HOPOPTS || name == IPV6_RTHDRDSTOPTS || name == IPV6_RTHDR || name == IPV6_DSTOPTS ||
		       name == IPV6_TRANSPARENT || name == IPV6_UNICAST_IF;
	}
	return false;
}

/* What the kernel itself answers where such a socket cannot be had: not configured, or not allowed. */
static __always_inline int refusal(struct bpf_sock *ctx)
{
	if (ctx->type == SOCK_RAW)
		return EPERM;
	if (ctx->protocol == IPPROTO_ICMP || ctx->protocol == IPPROTO_ICMPV6)
		return EACCES;
	return EPROTONOSUPPORT;
}

SEC("cgroup/sock_create")
int hg_sock_create(struct bpf_sock *ctx)
{
	struct wish wish = {.family = ctx->family, .protocol = ctx->protocol};
	bool is_plain = ctx->type != SOCK_RAW && (ctx->protocol == IPPROTO_TCP || ctx->protocol == IPPROTO_UDP);
	struct guard guard = {};
	int number = refusal(ctx);

	find_guard(&guard, NULL);
	if (!is_guarded(&guard))
		return PROCEED;
	if (!is_plain && report(HG_COUNT_denied_socket, &guard, &wish)) {
		bpf_set_retval(-number);
		return REFUSE;
	}
	if (!guard.cgroup)
		keep_mark(bpf_sk_storage_get(&hg_marks, ctx, NULL, BPF_SK_STORAGE_GET_F_CREATE), &guard);
	return PROCEED;
}

SEC("cgroup/sock_release")
int hg_sock_release(struct bpf_sock *ctx)
{
	struct socket_state *state = bpf_sk_storage_get(&hg_sockets, ctx, NULL, 0);
	struct socket_mark *mark = state ? bpf_sk_storage_get(&hg_marks, ctx, NULL, 0) : NULL;
	struct hg_origin *published;
	struct hg_origin_key key;

	if (!mark || !mark->query.port)
		return PROCEED;
	key = mark->query;
	published = bpf_map_lookup_elem(&hg_queries, &key);
	if (published && published->socket_cookie == state->origin.socket_cookie)
		bpf_map_delete_elem(&hg_queries, &key);
	return PROCEED;
}

SEC("cgroup/setsockopt")
int hg_setsockopt(struct bpf_sockopt *ctx)
{
	struct wish wish = {.protocol = ctx->optname};
	struct guard guard = {};

	if (!leads_elsewhere(ctx->level, ctx->optname))
		return PROCEED;
	find_guard(&guard, ctx->sk ? bpf_sk_storage_get(&hg_marks, ctx->sk, NULL, 0) : NULL);
	if (is_guarded(&guard) && report(HG_COUNT_denied_option, &guard, &wish))
		return REFUSE;
	return PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
