// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Files a cgroup when it is made, if its path is one that is to be guarded: before a process can enter it, also while the daemon is dead.
 *
 * A cgroup that is removed and made again has another id, which `hg_guarded` does not know. The old id stays filed: sockets that were
 * made in a cgroup outlive it, in the hands of others. Paths are read by bpf_probe_read_kernel_str,
 * so these are optional; the daemon files new cgroups by itself as well, a moment later.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>

#include "events.bpf.h"

/* cgroup2 is hierarchy 0 (cgroups(7), /proc/PID/cgroup). */
static __always_inline bool is_cgroup2(struct cgroup *cgroup)
{
	return cgroup->root->hierarchy_id == 0;
}

SEC("tp_btf/cgroup_mkdir")
int hg_cgroup_mkdir(__u64 *ctx)
{
	struct cgroup *cgroup = (struct cgroup *)ctx[0];
	struct hg_path_key key = {};
	__u32 *workload;
	__u64 id;

	if (!is_cgroup2(cgroup))
		return 0;
	if (bpf_probe_read_kernel_str(key.path, sizeof(key.path), (void *)ctx[1]) < 0)
		return 0;
	workload = bpf_map_lookup_elem(&hg_paths, &key);
	if (!workload)
		return 0;
	id = cgroup->kn->id;
	if (!bpf_map_update_elem(&hg_guarded, &id, workload, BPF_ANY))
		count(HG_COUNT_cgroups_filed);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
