/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Counting and telling what was refused. */
#ifndef HG_EVENTS_BPF_H
#define HG_EVENTS_BPF_H

#include <stdbool.h>

#include "guard.bpf.h"

#define NS_PER_SECOND 1000000000ULL

/* What was wanted; `family` 0 when there is no address. */
struct wish {
	__u32 address[4];
	__u16 port;
	__u16 family;
	__u16 protocol;
};

static __always_inline void count(enum hg_counter counter)
{
	__u32 key = counter;
	__u64 *value = bpf_map_lookup_elem(&hg_counters, &key);

	if (value)
		__sync_fetch_and_add(value, 1);
}

/* Two CPUs may both begin a second: then a few more are told. */
static __always_inline bool may_tell(enum hg_counter kind, __u64 now)
{
	__u32 key = kind;
	struct event_rate *rate = bpf_map_lookup_elem(&hg_rates, &key);
	__u64 second = now / NS_PER_SECOND;

	if (!rate)
		return false;
	if (rate->second != second) {
		rate->second = second;
		rate->told = 0;
	}
	return __sync_fetch_and_add(&rate->told, 1) < HG_EVENTS_PER_SECOND;
}

/* An event to fill in and submit; NULL when it may not be told, which is counted. */
static __always_inline struct hg_event *new_event(enum hg_counter kind, const struct guard *guard, const struct wish *wish)
{
	__u64 now = bpf_ktime_get_ns();
	struct hg_event *event;

	count(kind);
	if (is_observed(guard))
		count(HG_COUNT_observed);
	if (!may_tell(kind, now)) {
		count(HG_COUNT_events_suppressed);
		return NULL;
	}
	event = bpf_ringbuf_reserve(&hg_events, sizeof(*event), 0);
	if (!event) {
		count(HG_COUNT_events_lost);
		return NULL;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time_ns = now;
	event->kind = kind;
	event->workload = guard->workload;
	__builtin_memcpy(event->address, wish->address, sizeof(event->address));
	event->port = wish->port;
	event->family = wish->family;
	event->protocol = wish->protocol;
	event->observed = is_observed(guard);
	return event;
}

static __always_inline void describe_process(struct hg_event *event)
{
	event->tgid = bpf_get_current_pid_tgid() >> 32;
	event->uid = bpf_get_current_uid_gid();
	event->cgroup = bpf_get_current_cgroup_id();
	name_leader(&event->start_boottime_ns, event->comm);
}

/* Count and tell what the current process may not do; true when it is to be refused, false when it is only told. */
VERIFIED_ONCE int report(enum hg_counter kind, const struct guard *guard, const struct wish *wish)
{
	struct hg_event *event;

	if (!guard || !wish)
		return true;
	if (guard->pending)
		kind = HG_COUNT_refused_pending;
	else if (guard->too_deep)
		kind = HG_COUNT_refused_depth;
	event = new_event(kind, guard, wish);
	if (event) {
		describe_process(event);
		bpf_ringbuf_submit(event, 0);
	}
	return !is_observed(guard);
}

#endif
