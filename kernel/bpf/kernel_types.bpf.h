/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The few fields of kernel structs that we read, so that neither vmlinux.h nor the build host's BTF is needed.
 *
 * preserve_access_index makes libbpf look up the true offsets in the running kernel's BTF when it loads the object. All reads are
 * plain dereferences of BTF pointers: bpf_probe_read_kernel would not load under lockdown=confidentiality. (Where only it can do,
 * the program is an optional one.)
 */
#ifndef HG_KERNEL_TYPES_BPF_H
#define HG_KERNEL_TYPES_BPF_H

#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct cgroup;

struct kernfs_node {
	__u64 id;
};

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
};

struct cgroup_root {
	int hierarchy_id;
};

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	struct cgroup_root *root;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

struct super_block {
	__u32 s_dev;
};

struct inode {
	struct super_block *i_sb;
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
};

struct mm_struct {
	struct file *exe_file;
};

struct thread_info {
	__u32 status;
};

/* x86's, as a system call leaves them: arguments of i386 in bx, cx, dx, of x32 in di, si, dx. */
struct pt_regs {
	unsigned long bx;
	unsigned long cx;
	unsigned long dx;
	unsigned long di;
};

struct user_namespace {
	int level; /* 0: the initial one */
};

struct cred {
	struct user_namespace *user_ns;
};

struct mnt_namespace {
	struct user_namespace *user_ns;
};

struct nsproxy {
	struct mnt_namespace *mnt_ns;
};

struct task_struct {
	struct thread_info thread_info;
	struct task_struct *group_leader;
	struct mm_struct *mm;
	__u64 start_boottime;
	int tgid;
	char comm[16];
	struct css_set *cgroups;
	struct cred *cred;
	struct nsproxy *nsproxy;
};

struct sock_cgroup_data {
	struct cgroup *cgroup;
};

typedef struct {
	__s64 counter;
} atomic64_t;

struct sock_common {
	unsigned short skc_family;
	atomic64_t skc_cookie;
};

typedef struct {
	int owned;
} socket_lock_t;

struct sock {
	struct sock_common __sk_common;
	socket_lock_t sk_lock;
	__u16 sk_type;
	__u16 sk_protocol;
	__u8 sk_kern_sock : 1;
	struct sock_cgroup_data sk_cgrp_data;
};

struct unix_sock {
	struct sock sk;
	struct sock *peer;
};

struct sk_buff {
	struct sock *sk;
};

struct ipv6_txoptions;
struct ip_options_rcu;

struct ipv6_pinfo {
	struct ipv6_txoptions *opt;
};

struct inet_sock {
	struct sock sk;
	struct ipv6_pinfo *pinet6;
	struct ip_options_rcu *inet_opt;
};

struct inet_connection_sock {
	struct inet_sock icsk_inet;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
};

/* The context of a UNIX socket's hooks: its address is not in struct bpf_sock_addr. */
struct sockaddr;

struct bpf_sock_addr_kern {
	struct sock *sk;
	struct sockaddr *uaddr;
	__u32 uaddrlen;
};

/* io_uring/net.c keeps what an OP_SOCKET asks for in the request. */
struct io_cmd_data {
	struct file *file;
	__u8 data[56];
};

struct io_kiocb {
	struct io_cmd_data cmd;
	__u8 opcode;
};

struct io_socket {
	struct file *file;
	int domain;
	int type;
	int protocol;
};

#pragma clang attribute pop

#endif
