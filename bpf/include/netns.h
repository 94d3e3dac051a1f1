/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces. Constant from user space: OWN_NETNS, the number of the service's own.
 */
#pragma once

#include "include/layout.h"
#include "include/tally.h"

/*
 * A network namespace. The kernel gives an inode number again as soon as it is free, and with it
 * the same namespace to another owner; hash_mix is drawn at random for each (commit 355b98553789
 * "netns: provide pure entropy for net_hash_mix()", in v5.1). The service's own is 0 and 0.
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

/* What tells a namespace from all others: 0 and 0 for the service's own. Return its number. */
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

/* What is held against the kernel's own counters, which each network namespace has for itself. */
static __always_inline void tally_own(const struct netns *netns, u32 which)
{
	if (!netns->inum)
		tally(which);
}
