/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses. Each is 16 bytes, IPv4 in its v4-mapped form (::ffff:0:0/96): both families share one
 * struct, and a v4-mapped socket is IPv4 without a special case.
 */
#pragma once

#include "include/layout.h"

#define AF_INET_  2
#define AF_INET6_ 10

union address {
	u8 bytes[16];
	u32 words[4];
};

static __always_inline bool is_v4(const union address *a)
{
	return !a->words[0] && !a->words[1] && a->words[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_same_address(const union address *a, const union address *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1] &&
	       a->words[2] == b->words[2] && a->words[3] == b->words[3];
}

static __always_inline void read_saddr(void *sk, union address *saddr)
{
	u16 family = 0;

	READ_FIELD(family, sk, FIELD(sock_common, skc_family));
	if (family == AF_INET6_) {
		READ_FIELD(*saddr, sk, FIELD(sock_common, skc_v6_rcv_saddr));
		return;
	}
	saddr->words[2] = bpf_htonl(0xffff);
	READ_FIELD(saddr->words[3], sk, FIELD(sock_common, skc_rcv_saddr));
}
