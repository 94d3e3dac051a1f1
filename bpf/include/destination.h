/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a connect goes, read from its socket.
 */
#pragma once

#include "include/address.h"
#include "include/netns.h"

/*
 * A place: the same address is another one in another network namespace, and over another
 * interface that the socket is bound to. That is how a socket gets into a VRF, and a link-local
 * address to its link. ifindex is 0 for a socket that is not bound.
 */
struct destination {
	union address daddr;
	struct netns netns;
	u32 ifindex;
	u16 dport; /* host order */
	u16 pad;
};

/*
 * A read is a call: begin() takes the fields of struct sock_common out of a copy of its beginning,
 * up to the last one of these. All of it would take more of the stack than there is.
 */
#define END_OF(field, type) ((field) + sizeof(type))
#define LATER(a, b)	    ((a) > (b) ? (a) : (b))
#define COMMON_BYTES                                                                               \
	LATER(LATER(LATER(END_OF(FIELD(sock_common, skc_family), u16),                             \
			  END_OF(FIELD(sock_common, skc_bound_dev_if), u32)),                      \
		    LATER(END_OF(FIELD(sock_common, skc_dport), u16),                              \
			  END_OF(FIELD(sock_common, skc_v6_daddr), union address))),               \
	      LATER(END_OF(FIELD(sock_common, skc_daddr), u32),                                    \
		    END_OF(FIELD(sock_common, skc_net), void *)))

struct common {
	u8 bytes[COMMON_BYTES];
} __attribute__((aligned(8)));
#define IN_COMMON(common, field, type) (*(type *)((common).bytes + (field)))

static __always_inline bool copy_destination(const struct common *from, struct destination *to)
{
	u16 family = IN_COMMON(*from, FIELD(sock_common, skc_family), u16);

	to->ifindex = IN_COMMON(*from, FIELD(sock_common, skc_bound_dev_if), u32);
	to->dport = bpf_ntohs(IN_COMMON(*from, FIELD(sock_common, skc_dport), u16));
	if (family == AF_INET6_) {
		to->daddr = IN_COMMON(*from, FIELD(sock_common, skc_v6_daddr), union address);
		return true;
	}
	to->daddr.words[2] = bpf_htonl(0xffff);
	to->daddr.words[3] = IN_COMMON(*from, FIELD(sock_common, skc_daddr), u32);
	return family == AF_INET_;
}
