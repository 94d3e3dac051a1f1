/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter: destinations that user space wants watched. Constant from user space: WATCH_MAX.
 */
#pragma once

#include "include/destination.h"

#define IPPROTO_TCP_ 6

/* Key of the filter (longest prefix match): a port, 0 for any, then an address. */
struct watch_key {
	u32 prefixlen; /* bits of dport and daddr that must match */
	u32 dport;     /* network order */
	union address daddr;
};

BPF_LPM_TRIE(watched, struct watch_key, u8, WATCH_MAX);

/* Whether user space wants this destination: its address on any port, or on this one. */
static __always_inline bool is_watched(const struct destination *to)
{
	struct watch_key key = {.prefixlen = 8 * (sizeof(key.dport) + sizeof(key.daddr))};

	key.daddr = to->daddr;
	if (watched.lookup(&key))
		return true;
	key.dport = bpf_htonl(to->dport);
	return watched.lookup(&key);
}

/* Read the destination of a TCP socket and its namespace's number; false if it is not watched. */
static __always_inline bool read_watched(void *sk, struct destination *to, u32 *inum)
{
	struct common common;
	u16 protocol = 0;

	/* inet_sock_set_state also fires for MPTCP, DCCP and SCTP sockets. */
	READ_FIELD(protocol, sk, FIELD(sock, sk_protocol));
	if (protocol != IPPROTO_TCP_)
		return false;
	bpf_probe_read_kernel(&common, sizeof(common), sk);
	if (!copy_destination(&common, to) || !is_watched(to))
		return false;
	*inum = identify_netns(IN_COMMON(common, FIELD(sock_common, skc_net), void *), &to->netns);
	return true;
}
