// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * The fence: the last look at every packet of a guarded socket, behind routing and NAT. Only what goes to the loop passes.
 *
 * The hooks before it rewrite addresses, but a socket option, ancillary data, a source route or a NAT rule can still lead a packet
 * elsewhere, and a socket that was connected before its process was guarded runs no hook at all. So a packet passes only if
 *   - its socket was redirected, and it goes out of `lo` to 127.0.0.1 or ::1, to the port that the socket was redirected to, with TCP
 *     or UDP directly behind the IP header (a header made by the process may say anything: what counts is that no raw socket has
 *     been redirected);
 *   - or it belongs to a server: the answer of a listener, or a connection that one accepted. Such a connection carries data out to
 *     whoever dialled in, so only over loopback, unless the workload may serve others (HG_MODE_INBOUND).
 *
 * Whose packet it is, is told by the socket first: its cgroup, its user, its mark, who redirected it. The current task is anyone's here: a
 * third of these packets leave in the time slice of another process. It only counts where it is seen to send by a call of its own
 * (is_sending_now): a socket from outside in a guarded hand. See senders.bpf.c.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "flow.bpf.h"

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
#define PASS 1
#define DROP 0

struct ip4_header {
	__u8 version_length;
	__u8 service;
	__u16 length;
	__u16 id;
	__u16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__u32 source;
	__u32 destination;
};

struct ip6_header {
	__u32 version_flow;
	__u16 length;
	__u8 next;
	__u8 hops;
	__u32 source[4];
	__u32 destination[4];
};

/* The first words of a packet. `ports` are only read where TCP or UDP follow the IP header directly. */
struct packet {
	__u32 source[4];
	struct wish to;
	__u16 source_port;
	bool is_read;
	bool is_local; /* out of `lo`, to a loopback address */
};

static __always_inline void read_ports(struct __sk_buff *skb, int offset, struct packet *packet)
{
	__u16 ports[2];

	if (packet->to.protocol != IPPROTO_TCP && packet->to.protocol != IPPROTO_UDP)
		return;
	if (bpf_skb_load_bytes(skb, offset, ports, sizeof(ports)))
		return;
	packet->source_port = bpf_ntohs(ports[0]);
	packet->to.port = bpf_ntohs(ports[1]);
	packet->is_read = true;
}

VERIFIED_ONCE int read_packet(struct __sk_buff *skb, struct packet *packet)
{
	struct ip4_header ip4;
	struct ip6_header ip6;

	if (!packet)
		return 0;
	if (skb->protocol == bpf_htons(ETH_P_IP) && !bpf_skb_load_bytes(skb, 0, &ip4, sizeof(ip4))) {
		packet->to.family = AF_INET;
		packet->to.protocol = ip4.protocol;
		packet->source[2] = packet->to.address[2] = bpf_htonl(MAPPED_WORD);
		packet->source[3] = ip4.source;
		packet->to.address[3] = ip4.destination;
		packet->is_local = bpf_ntohl(ip4.destination) >> 24 == LOOPBACK4 >> 24;
		if (ip4.version_length == 0x45)
			read_ports(skb, sizeof(ip4), packet);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6) && !bpf_skb_load_bytes(skb, 0, &ip6, sizeof(ip6))) {
		packet->to.family = AF_INET6;
		packet->to.protocol = ip6.next;
		__builtin_memcpy(packet->source, ip6.source, sizeof(ip6.source));
		__builtin_memcpy(packet->to.address, ip6.destination, sizeof(ip6.destination));
		packet->is_local = is_loopback(packet->to.address);
		read_ports(skb, sizeof(ip6), packet);
	}
	packet->is_local = packet->is_local && skb->ifindex == LOOPBACK_DEVICE;
	return 0;
}

/* The same walk as `walk`, by helpers: a packet's socket is no BTF pointer here. */
VERIFIED_ONCE int walk_socket(struct __sk_buff *skb, struct guard *guard)
{
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : NULL;
	int innermost = 0;

	if (!sk || !guard)
		return 0;

	/* There is an ancestor at each level down to the innermost, and none below it. */
	for (int step = MAX_DEPTH / 2; step; step /= 2) {
		if (bpf_sk_ancestor_cgroup_id(sk, innermost + step))
			innermost += step;
	}
	/* Through the packet's scratch space, or the verifier goes through the walk for each depth that it knows to be possible. */
#ifndef HG_UAPI_ONLY /* as bcc compiles it, the verifier would then not see that the walk ends */
	skb->cb[0] = innermost;
	innermost = *(volatile __u32 *)&skb->cb[0];
#endif
	if (innermost == MAX_DEPTH - 1) {
		guard->too_deep = true;
		return 0;
	}
	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		if (depth > innermost || judge(guard, bpf_sk_ancestor_cgroup_id(sk, innermost - depth), depth == 0))
			return 0;
	}
	return 0;
}

static __always_inline void find_owner(struct __sk_buff *skb, const struct socket_mark *mark,
				       const struct socket_state *state, struct guard *guard)
{
	__u32 uid = bpf_get_socket_uid(skb);
	__u32 *workload;

	walk_socket(skb, guard);
	if (is_undecided(guard) && guard->inside && (workload = bpf_map_lookup_elem(&hg_users, &uid))) {
		guard->workload = *workload;
		guard->found = true;
	}
	if (is_undecided(guard) && mark && mark->workload) {
		guard->workload = mark->workload;
		guard->found = true;
	}
	if (is_undecided(guard) && state) {
		guard->workload = state->origin.workload;
		guard->found = true;
	}
	find_mode(guard);
}

/* A guarded task that sends, by a call, on a socket of somebody else: from here on it is theirs. */
static __always_inline bool find_sender(struct __sk_buff *skb, struct bpf_sock *sk, struct guard *guard)
{
	struct socket_mark *mark;

	if (!is_sending_now(skb, sk))
		return false;
	find_guard(guard, NULL);
	if (guard->found && sk->protocol == IPPROTO_TCP) {
		mark = bpf_sk_storage_get(&hg_marks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
		if (mark)
			mark->workload = guard->workload;
	}
	return is_guarded(guard);
}

static __always_inline bool is_to_loop(const struct packet *packet, const struct bpf_sock *sk, const struct socket_state *state)
{
	return state && packet->is_read && packet->is_local && is_loopback(packet->to.address) &&
	       packet->to.protocol == sk->protocol && packet->to.port == state->origin.listener_port;
}

static __always_inline bool is_of_server(const struct packet *packet, const struct bpf_sock *sk, const struct socket_mark *mark,
					 const struct guard *guard)
{
	if (!packet->is_read || sk->protocol != IPPROTO_TCP || packet->to.protocol != IPPROTO_TCP)
		return false;
	if (sk->state != BPF_TCP_LISTEN && !(mark && mark->passive))
		return false;
	return packet->is_local || guard->mode & HG_MODE_INBOUND;
}

/* Tell the resolver who asks: the source of a query is known only now. */
static __always_inline void publish_query(struct __sk_buff *skb, struct bpf_sock *sk, struct socket_state *state,
					  const struct packet *packet)
{
	struct socket_mark *mark = bpf_sk_storage_get(&hg_marks, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	struct hg_origin_key key = {.netns_cookie = bpf_get_netns_cookie(skb), .port = packet->source_port};

	__builtin_memcpy(key.address, packet->source, sizeof(key.address));
	/* Without its mark the record would outlive the socket. */
	if (!mark || bpf_map_update_elem(&hg_queries, &key, &state->origin, BPF_ANY)) {
		count(HG_COUNT_publish_failed);
		return;
	}
	mark->query = key;
	state->unpublished = 0;
	count(HG_COUNT_queries_published);
}

static __always_inline int drop(struct __sk_buff *skb, struct bpf_sock *sk, const struct guard *guard, const struct packet *packet,
				bool by_sender)
{
	struct hg_event *event = new_event(guard->pending ? HG_COUNT_refused_pending : HG_COUNT_dropped, guard, &packet->to);

	if (event && by_sender)
		describe_process(event);
	if (event) {
		event->cgroup = bpf_sk_cgroup_id(sk);
		event->uid = bpf_get_socket_uid(skb);
		bpf_ringbuf_submit(event, 0);
	}
	return is_observed(guard) ? PASS : DROP;
}

SEC("cgroup_skb/egress")
int hg_egress(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk ? bpf_sk_fullsock(skb->sk) : NULL;
	struct packet packet = {};
	struct socket_state *state;
	struct socket_mark *mark;
	struct guard guard = {};
	bool by_sender = false;

	if (!sk)
		return PASS;
	mark = bpf_sk_storage_get(&hg_marks, sk, NULL, 0);
	state = bpf_sk_storage_get(&hg_sockets, sk, NULL, 0);
	find_owner(skb, mark, state, &guard);
	if (!is_guarded(&guard))
		by_sender = find_sender(skb, sk, &guard);
	if (!is_guarded(&guard))
		return PASS;
	read_packet(skb, &packet);
	if (is_to_loop(&packet, sk, state)) {
		if (packet.to.protocol == IPPROTO_UDP && state->unpublished)
			publish_query(skb, sk, state, &packet);
		return PASS;
	}
	if (is_of_server(&packet, sk, mark, &guard))
		return PASS;
	return drop(skb, sk, &guard, &packet, by_sender);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
