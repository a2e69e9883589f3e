/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* UAPI values whose headers do not compile for the bpf target. */
#ifndef HG_UAPI_BPF_H
#define HG_UAPI_BPF_H

#define AF_UNIX 1
#define AF_INET 2
#define AF_INET6 10
#define AF_NETLINK 16
#define NETLINK_ROUTE 0

#define SOCK_STREAM 1
#define SOCK_RAW 3
#define IPPROTO_ICMP 1
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_ICMPV6 58

#define SOL_IP 0
#define SOL_SOCKET 1
#define SOL_IPV6 41
#define SO_BINDTOIFINDEX 62

#define EPERM 1
#define EACCES 13
#define EPROTONOSUPPORT 93
#define ECONNREFUSED 111

#define DNS_PORT 53
#define LOOPBACK_DEVICE 1 /* `lo` is made first in every network namespace */

/* Return values of cgroup programs. */
#define REFUSE 0
#define PROCEED 1

#endif
