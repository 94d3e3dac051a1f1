// SPDX-License-Identifier: Apache-2.0
/*
 * Counts the segments that TCP sent again, by destination, state and process.
 *
 * Only to destinations that somebody of this host connected to: peers of accepted connections have
 * a port each, and would fill the map. The process is the maker of an attempt that still has an
 * entry: of a SYN that is sent again always, of later segments with EVENTS=all.
 *
 * Constant from user space: RETRANSMITS_MAX.
 */
#include "connect/counters.h"
#include "include/attempt.h"
#include "include/filter.h"

struct retransmitter {
	struct destination destination;
	u32 state; /* as the kernel numbers them */
	u32 pad;
	char comm[16]; /* empty where no process is known */
};

BPF_TABLE("lru_hash", struct retransmitter, u64, retransmits, RETRANSMITS_MAX);

static __always_inline int count_retransmit(void *sk)
{
	struct retransmitter who = {};
	u64 zero = 0, *count;
	struct attempt *a;
	u32 inum = 0;
	u8 state = 0;

	if (!read_watched(sk, &who.destination, &inum))
		return 0;
	a = find_attempt((u64)sk);
	if (!a && !destinations.lookup(&who.destination))
		return 0;
	READ_FIELD(state, sk, FIELD(sock_common, skc_state));
	who.state = state;
	if (a)
		__builtin_memcpy(who.comm, a->maker.comm, sizeof(who.comm));
	count = retransmits.lookup_or_try_init(&who, &zero);
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}

/*
 * tcp:tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb, int err), which also
 * tells of a segment that could not be sent (since Linux 6.17).
 */
int retransmit_of_three(struct bpf_raw_tracepoint_args *ctx)
{
	return (int)ctx->args[2] ? 0 : count_retransmit((void *)ctx->args[0]);
}

/* The same, before. A program that reads an argument more is not attached there. */
int retransmit_of_two(struct bpf_raw_tracepoint_args *ctx)
{
	return count_retransmit((void *)ctx->args[0]);
}
