/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who is guarded: the one place that decides it.
 *
 * The innermost guarded cgroup of the task, else of the socket, else what the task's real user is filed under, else what its
 * executable is. On the way out from the innermost cgroup a watched one (HG_WATCHED) refuses everything that came to it without a
 * verdict from below: a new cgroup that the daemon has not classified yet. HG_CLEARED is such a verdict, and so is a watched cgroup
 * for the watch above it; the walk goes on behind both.
 */
#ifndef HG_GUARD_BPF_H
#define HG_GUARD_BPF_H

#include <stdbool.h>

#include "maps.bpf.h"
#include "process.bpf.h"

/* The walk from a cgroup to the root needs an end that the verifier can see; deeper ones are refused, not passed. */
#define MAX_DEPTH 32

/*
 * A function that the verifier goes through once, by itself, knowing nothing of who calls it; the caller then knows nothing of what it
 * wrote. A walk inlined ends at each depth in a state of its own, from each of which the verifier goes on to the program's end: that was
 * most of the time that attaching took. Pointers have to be looked at, because to the verifier they may be NULL. bcc must inline all.
 */
#ifdef HG_UAPI_ONLY
#define VERIFIED_ONCE static __always_inline
#else
#define VERIFIED_ONCE __noinline
#endif

const volatile struct hg_settings settings SEC(".rodata.settings") = {.heartbeat_limit_ns = 2000000000ULL, .root_cgroup = 1};

/* What is known of who acts. All zero: nobody that concerns us. */
struct guard {
	__u64 cgroup;
	__u32 workload;
	__u32 mode; /* HG_MODE_ flags */
	bool found;
	bool too_deep;
	bool pending;
	bool cleared; /* of the walk: a verdict was met */
	bool inside; /* of the walk: it came to the cgroup that the programs are attached to */
};

/* One cgroup of a walk from the innermost outwards; true when the walk is over. */
static __always_inline bool judge(struct guard *guard, __u64 id, bool innermost)
{
	__u32 *filed = bpf_map_lookup_elem(&hg_guarded, &id);

	if (filed && *filed == HG_WATCHED && !innermost && !guard->cleared) {
		guard->cgroup = id;
		guard->workload = HG_WATCHED;
		guard->pending = true;
		return true;
	}
	if (filed && *filed != HG_WATCHED && *filed != HG_CLEARED) {
		guard->cgroup = id;
		guard->workload = *filed;
		guard->found = true;
		return true;
	}
	if (filed)
		guard->cleared = true;
	guard->inside = id == settings.root_cgroup;
	return guard->inside;
}

#ifdef HG_UAPI_ONLY

/* There is an ancestor at each level down to the innermost, and none below it. */
static __always_inline int walk_task(struct guard *guard)
{
	int innermost = 0;

	guard->cleared = false;
	for (int step = MAX_DEPTH / 2; step; step /= 2) {
		if (bpf_get_current_ancestor_cgroup_id(innermost + step))
			innermost += step;
	}
	if (innermost == MAX_DEPTH - 1) {
		guard->too_deep = true;
		return 0;
	}
	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		if (depth > innermost || judge(guard, bpf_get_current_ancestor_cgroup_id(innermost - depth), depth == 0))
			return 0;
	}
	return 0;
}

#else

static __always_inline void walk_cgroup(struct cgroup *cgroup, struct guard *guard)
{
	guard->cleared = false;
	for (int depth = 0; depth < MAX_DEPTH; depth++) {
		struct cgroup_subsys_state *parent;

		if (!cgroup || judge(guard, cgroup->kn->id, depth == 0))
			return;
		parent = cgroup->self.parent;
		if (!parent)
			return;
		cgroup = parent->cgroup;
	}
	guard->too_deep = true;
}

VERIFIED_ONCE int walk_task(struct guard *guard)
{
	if (guard)
		walk_cgroup(bpf_get_current_task_btf()->cgroups->dfl_cgrp, guard);
	return 0;
}

#endif

static __always_inline __u32 *find_by_executable(void)
{
#ifdef HG_UAPI_ONLY
	return NULL;
#else
	struct mm_struct *mm = bpf_get_current_task_btf()->mm;
	struct file *file = mm ? mm->exe_file : NULL;
	struct inode *inode = file ? file->f_inode : NULL;
	struct hg_program_key program = {};

	if (!inode)
		return NULL;
	program.inode = inode->i_ino;
	program.device = inode->i_sb->s_dev;
	return bpf_map_lookup_elem(&hg_programs, &program);
#endif
}

/* By user, then by executable. */
VERIFIED_ONCE int find_by_process(struct guard *guard)
{
	__u32 uid = bpf_get_current_uid_gid();
	__u32 *workload = bpf_map_lookup_elem(&hg_users, &uid);

	if (!workload)
		workload = find_by_executable();
	if (guard && workload) {
		guard->workload = *workload;
		guard->found = true;
	}
	return 0;
}

static __always_inline void find_mode(struct guard *guard)
{
	__u32 *mode = guard->found ? bpf_map_lookup_elem(&hg_modes, &guard->workload) : NULL;

	if (mode)
		guard->mode = *mode;
}

static __always_inline bool is_undecided(const struct guard *guard)
{
	return !guard->found && !guard->pending && !guard->too_deep;
}

/* What is left to ask once no cgroup has decided. inside: of the task's walk. mark: what the socket is known for, if known. */
static __always_inline void find_otherwise(struct guard *guard, bool inside, const struct socket_mark *mark)
{
	if (is_undecided(guard) && inside)
		find_by_process(guard);
	if (is_undecided(guard) && mark && mark->workload) {
		guard->workload = mark->workload;
		guard->found = true;
	}
	find_mode(guard);
}

/* The task that makes this call with a socket, or without one. */
static __always_inline void find_guard(struct guard *guard, const struct socket_mark *mark)
{
	walk_task(guard);
	find_otherwise(guard, guard->inside, mark);
}

/* Whether anything is to be refused to it. */
static __always_inline bool is_guarded(const struct guard *guard)
{
	return guard->found || guard->pending || guard->too_deep;
}

static __always_inline bool is_observed(const struct guard *guard)
{
	return guard->mode & HG_MODE_OBSERVE;
}

/* A socket that a user's or an executable's process uses stays theirs: the fence cannot ask who sends. */
static __always_inline void keep_mark(struct socket_mark *mark, const struct guard *guard)
{
	if (mark && guard->found && !guard->cgroup)
		mark->workload = guard->workload;
}

#endif
