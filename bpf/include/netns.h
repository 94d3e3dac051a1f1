/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces. Constant from user space: OWN_NETNS, the number of the service's own.
 */
#pragma once

#include "include/layout.h"
#include "include/tally.h"

/*
 * A network namespace. The kernel reuses an inode number as soon as it is free, so the number alone
 * may mean another namespace; hash_mix is random for each (commit 355b98553789 "netns: provide pure
 * entropy for net_hash_mix()", in v5.1). Both are 0 for the service's own.
 */
struct netns {
	u32 inum;
	u32 hash_mix;
};

static __always_inline u32 read_inum(void *net)
{
	u32 inum = 0;

	bpf_probe_read_kernel(&inum, sizeof(inum), net + FIELD(net, ns) + FIELD(ns_common, inum));
	return inum;
}

/* Fill in the identity of a namespace, 0 and 0 for the service's own. Return its number. */
static __always_inline u32 identify_netns(void *net, struct netns *netns)
{
	u32 inum = read_inum(net);

	if (inum == OWN_NETNS)
		return inum;
	netns->inum = inum;
	READ_FIELD(netns->hash_mix, net, FIELD(net, hash_mix));
	return inum;
}

static __always_inline u32 read_netns(void *sk)
{
	void *net = NULL;

	READ_FIELD(net, sk, FIELD(sock_common, skc_net));
	return read_inum(net);
}

/* Count only in the service's own namespace: the kernel's counters are per network namespace. */
static __always_inline void tally_own(const struct netns *netns, u32 which)
{
	if (!netns->inum)
		tally(which);
}
