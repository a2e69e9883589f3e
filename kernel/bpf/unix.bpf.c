// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * UNIX sockets of guarded processes: resources' go to the enforcement loop, others only to the addresses that a rule names.
 *
 * The address is the bytes that the process passed: relative paths, links and bind mounts lead around any path rule. So the default is
 * to deny, and the rules are few and exact. EACCES is what unix(7) has for a socket that one may not write to; ECONNREFUSED would tell
 * of a server that is down, and have people look for it. What socketpair() makes passes no hook.
 *
 * Theory of operation, of a resource's socket
 *   unix_connect      See that the loop lives and beats; publish who asks under the cookie of the connecting socket; send the connect to
 *                     the listener that stands for the resource's socket, the stand-in. Its name is abstract: that leads to the same
 *                     socket whatever the process did to its mounts and root, and to none in a network namespace without one.
 *   unix_getsockname  The loop asks an accepted socket for its name, and is told its peer's cookie: the key of the record. (The peer
 *                     itself has no name, so the kernel calls nothing when it is asked for.)
 *   unix_getpeername  The process sees the address that it asked for.
 *
 * Invariants
 *   - A stand-in's name is dialled only while what vouches for it is in `hg_listeners`, which goes before the stand-in does: who takes the
 *     name after that is sent nobody.
 *   - A record is of one socket (cookies never come again) and one stand-in; a connection without one was not sent by these programs.
 *
 * In a cgroup that nobody has classified yet UNIX sockets that are no resource's pass: a service manager's child connects its output to
 * the journal from inside the new cgroup, and a daemon that is slow or dead must not keep the host's services from starting.
 *
 * Optional: needs Linux 6.7 for the hooks, and reads the address by bpf_probe_read_kernel (no BTF type fits it).
 *
 * Ugly: a blocking connect to a stand-in whose queue is full waits in the kernel, which looks the name up again afterwards, without us.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#include "flow.bpf.h"

#define FAMILY_BYTES 2
#define COOKIE_BYTES 8

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

VERIFIED_ONCE int tell(enum hg_counter why, const struct guard *guard, const struct hg_unix_key *key)
{
	struct wish wish = {.family = AF_UNIX};
	struct hg_event *event;

	if (!guard || !key)
		return 0;
	/* Keep it from being a constant: clang 14 loses the store before a copy out of one. */
	asm volatile("" : : "r"(&wish) : "memory");
	event = new_event(why, guard, &wish);
	if (event) {
		describe_process(event);
		__builtin_memcpy(&event->path, key, sizeof(event->path));
		bpf_ringbuf_submit(event, 0);
	}
	return 0;
}

/* Count and tell; what the hook answers, which the verifier has to see here. */
static __always_inline int turn_away(enum hg_counter why, const struct guard *guard, const struct hg_unix_key *key, int number)
{
	tell(why, guard, key);
	return is_observed(guard) ? PROCEED : refuse(number);
}

static __always_inline int deny(const struct guard *guard, const struct hg_unix_key *key)
{
	return turn_away(HG_COUNT_denied_unix, guard, key, EACCES);
}

static __always_inline bool has_stand_ins(struct bpf_sock_addr *ctx)
{
	struct hg_listener_key key = {.netns_cookie = bpf_get_netns_cookie(ctx), .family = AF_UNIX};
	struct bpf_sock *voucher = (struct bpf_sock *)bpf_map_lookup_elem(&hg_listeners, &key);

	if (!voucher)
		return false;
	bpf_sk_release(voucher);
	return true;
}

static __always_inline void key_of_peer(struct bpf_sock_addr *ctx, __u64 cookie, struct hg_origin_key *key)
{
	key->netns_cookie = bpf_get_netns_cookie(ctx);
	__builtin_memcpy(key->address, &cookie, sizeof(cookie));
}

/* Who asks, for which stand-in: where the loop finds it. False when it could not be put there. */
static __always_inline bool publish(struct bpf_sock_addr *ctx, const struct guard *guard, const struct hg_unix_rule *rule)
{
	struct wish to = {.family = AF_UNIX};
	struct hg_origin_key key = {};
	struct hg_origin origin = {};

	__builtin_memcpy(to.address, rule->to.path + HG_STAND_IN_PREFIX_LENGTH, sizeof(to.address));
	describe_origin(ctx, &origin, guard, &to, 0);
	key_of_peer(ctx, origin.socket_cookie, &key);
	return !bpf_map_update_elem(&hg_origins, &key, &origin, BPF_ANY);
}

/* A resource's socket. Only streams: what another kind of socket says is no conversation. */
static __always_inline int redirect(struct bpf_sock_addr *ctx, const struct guard *guard, const struct hg_unix_key *key,
				    const struct hg_unix_rule *rule)
{
	struct bpf_sock_addr_kern *kern = bpf_cast_to_kern_ctx(ctx);
	__u32 length = rule->to.length;

	if (guard->pending || guard->too_deep)
		return turn_away(guard->pending ? HG_COUNT_refused_pending : HG_COUNT_refused_depth, guard, key, ECONNREFUSED);
	if (kern->sk->sk_type != SOCK_STREAM)
		return deny(guard, key);
	if (!has_stand_ins(ctx))
		return turn_away(HG_COUNT_refused_no_listener, guard, key, ECONNREFUSED);
	if (!is_beating())
		return turn_away(HG_COUNT_refused_stale_heartbeat, guard, key, ECONNREFUSED);
	if (!publish(ctx, guard, rule))
		return turn_away(HG_COUNT_publish_failed, guard, key, ECONNREFUSED);
	if (!length || length > HG_UNIX_LENGTH || bpf_sock_addr_set_sun_path(kern, (__u8 *)rule->to.path, length))
		return turn_away(HG_COUNT_refused_helper_failed, guard, key, ECONNREFUSED);
	count(HG_COUNT_unix_redirected);
	return PROCEED;
}

/*
 * Whether nobody but this host's root has had a say in what paths mean to the process: who is root in a user namespace of his own makes
 * mounts and changes his root, and a path that a rule allows leads to whatever socket he likes.
 */
static __always_inline bool has_paths_of_root(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct nsproxy *namespaces = task->nsproxy;

	return namespaces && !namespaces->mnt_ns->user_ns->level && !task->cred->user_ns->level;
}

static __always_inline int judge_address(struct bpf_sock_addr *ctx)
{
	struct bpf_sock_addr_kern *kern = bpf_cast_to_kern_ctx(ctx);
	struct address address = {};
	struct hg_unix_rule *rule;
	struct guard guard = {};

	find_guard(&guard, NULL);
	if (!is_guarded(&guard))
		return PROCEED;
	rule = read_address(kern, &address) ? bpf_map_lookup_elem(&hg_unix, &address.key) : NULL;
	if (rule && rule->verdict == HG_UNIX_REDIRECT)
		return redirect(ctx, &guard, &address.key, rule);
	if (!guard.found || guard.mode & HG_MODE_UNIX_OPEN)
		return PROCEED;
	if (!rule || rule->verdict != HG_UNIX_ALLOW || (address.key.path[0] && !has_paths_of_root()))
		return deny(&guard, &address.key);
	count(HG_COUNT_unix_allowed);
	return PROCEED;
}

/* What the address in the context, a stand-in's, stands for; NULL when it is no stand-in's. */
static __always_inline struct hg_unix_rule *stood_for(struct bpf_sock_addr *ctx)
{
	struct address address = {};
	struct hg_unix_rule *rule;

	rule = read_address(bpf_cast_to_kern_ctx(ctx), &address) ? bpf_map_lookup_elem(&hg_unix, &address.key) : NULL;
	return rule && rule->verdict == HG_UNIX_STAND_IN ? rule : NULL;
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

/* Of an accepted socket that has a stand-in's name, from its listener. A listener itself has no peer. */
SEC("cgroup/getpeername4")
int hg_unix_getsockname(struct bpf_sock_addr *ctx)
{
	struct unix_sock *accepted = ctx->sk ? bpf_skc_to_unix_sock(ctx->sk) : NULL;
	struct sock *peer = accepted ? accepted->peer : NULL;
	__u8 name[1 + COOKIE_BYTES] = {};
	__u64 cookie;

	if (!peer || !stood_for(ctx))
		return PROCEED;
	cookie = peer->__sk_common.skc_cookie.counter;
	__builtin_memcpy(name + 1, &cookie, COOKIE_BYTES);
	bpf_sock_addr_set_sun_path(bpf_cast_to_kern_ctx(ctx), name, sizeof(name));
	return PROCEED;
}

SEC("cgroup/getpeername4")
int hg_unix_getpeername(struct bpf_sock_addr *ctx)
{
	struct hg_unix_rule *rule = stood_for(ctx);
	__u32 length = rule ? rule->to.length : 0;

	if (length && length <= HG_UNIX_LENGTH)
		bpf_sock_addr_set_sun_path(bpf_cast_to_kern_ctx(ctx), (__u8 *)rule->to.path, length);
	return PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
