/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The destination of a connect, read from its socket.
 */
#pragma once

#include "include/address.h"
#include "include/netns.h"

/*
 * An address and port, in a network namespace and over an interface: the same address is another
 * destination in another namespace, and over another interface that the socket is bound to. Such a
 * binding puts a socket into a VRF, and a link-local address on its link. ifindex is 0 for an
 * unbound socket.
 */
struct destination {
	union address daddr;
	struct netns netns;
	u32 ifindex;
	u16 dport; /* host order */
	u16 pad;
};

/*
 * Each read is a helper call, so one read copies the beginning of struct sock_common up to the last
 * of these fields. A copy of the whole struct would not fit on the stack.
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
