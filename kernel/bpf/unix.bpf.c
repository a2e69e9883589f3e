// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * UNIX sockets of guarded processes: only to the addresses that a rule names, or on to another that it names instead.
 *
 * The address is the bytes that the process passed: relative paths, links and bind mounts lead around any path rule. So the default is
 * to deny, and the rules are few and exact. EACCES is what unix(7) has for a socket that one may not write to; ECONNREFUSED would tell
 * of a server that is down, and have people look for it. What socketpair() makes passes no hook.
 *
 * In a cgroup that nobody has classified yet UNIX sockets pass: a service manager's child connects its output to the journal from
 * inside the new cgroup, and a daemon that is slow or dead must not keep the host's services from starting.
 *
 * Optional: needs Linux 6.7 for the hooks, and reads the address by bpf_probe_read_kernel (no BTF type fits it).
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#include "events.bpf.h"
#include "uapi.bpf.h"

#define FAMILY_BYTES 2

extern int bpf_sock_addr_set_sun_path(struct bpf_sock_addr_kern *, const __u8 *sun_path, __u32 sun_path__sz) __ksym;

/* A key with room for the NUL behind a path that uses all its bytes. */
struct address {
	struct hg_unix_key key;
	char past_end[4];
};

/* False when there is no address. Bytes behind its length are garbage in the kernel, zero in the key. */
static __always_inline bool read_address(struct bpf_sock_addr_kern *kern, struct address *address)
{
	const char *path = (const char *)kern->uaddr + FAMILY_BYTES;
	__u32 length = kern->uaddrlen - FAMILY_BYTES;
	long taken;
	char first;

	if (!length || length > HG_UNIX_LENGTH || bpf_probe_read_kernel(&first, 1, path))
		return false;
	if (!first) {
		address->key.length = length;
		return !bpf_probe_read_kernel(address->key.path, length, path);
	}
	/* Whether a path's NUL is counted is up to the process. */
	taken = bpf_probe_read_kernel_str(address->key.path, length + 1, path);
	address->key.length = taken - 1;
	return taken > 1;
}

static __always_inline int deny(const struct guard *guard, const struct hg_unix_key *key)
{
	struct wish wish = {.family = AF_UNIX};
	struct hg_event *event;

	/* Keep it from being a constant: clang 14 loses the store before a copy out of one. */
	asm volatile("" : : "r"(&wish) : "memory");
	event = new_event(HG_COUNT_denied_unix, guard, &wish);
	if (event) {
		describe_process(event);
		__builtin_memcpy(&event->path, key, sizeof(event->path));
		bpf_ringbuf_submit(event, 0);
	}
	if (is_observed(guard))
		return PROCEED;
	bpf_set_retval(-EACCES);
	return REFUSE;
}

static __always_inline int judge_address(struct bpf_sock_addr *ctx)
{
	struct bpf_sock_addr_kern *kern = bpf_cast_to_kern_ctx(ctx);
	struct address address = {};
	struct hg_unix_rule *rule;
	struct guard guard = {};

	find_guard(&guard, NULL, NULL);
	if (!guard.found || guard.mode & HG_MODE_UNIX_OPEN)
		return PROCEED;
	rule = read_address(kern, &address) ? bpf_map_lookup_elem(&hg_unix, &address.key) : NULL;
	if (!rule)
		return deny(&guard, &address.key);
	if (rule->verdict == HG_UNIX_REDIRECT) {
		__u32 length = rule->to.length;

		if (!length || length > HG_UNIX_LENGTH || bpf_sock_addr_set_sun_path(kern, (__u8 *)rule->to.path, length))
			return deny(&guard, &address.key);
		count(HG_COUNT_unix_redirected);
		return PROCEED;
	}
	count(HG_COUNT_unix_allowed);
	return PROCEED;
}

/* libbpf 1.1 knows no section for these hooks: the loader sets their attach types. */
SEC("cgroup/connect4")
int hg_unix_connect(struct bpf_sock_addr *ctx)
{
	return judge_address(ctx);
}

SEC("cgroup/sendmsg4")
int hg_unix_sendmsg(struct bpf_sock_addr *ctx)
{
	return judge_address(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
