// SPDX-License-Identifier: Apache-2.0
/*
 * Counts retransmitted TCP segments by destination, state and process.
 *
 * Only for destinations that this host connected to: each peer of an accepted connection has its
 * own port, and would fill the map. The process is the maker of an attempt that still has an entry:
 * always for a retransmitted SYN, for later segments only with EVENTS=all.
 *
 * Constant from user space: RETRANSMITS_MAX.
 */
#include "connect/counters.h"
#include "include/attempt.h"
#include "include/filter.h"

struct retransmitter {
	struct destination destination;
	u32 state; /* a TCP_* state of the kernel */
	u32 pad;
	char comm[16]; /* empty if the process is unknown */
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
 * tcp:tcp_retransmit_skb(const struct sock *sk, const struct sk_buff *skb, int err). Since Linux
 * 6.17 it also fires for a segment that could not be sent.
 */
int retransmit_of_three(struct bpf_raw_tracepoint_args *ctx)
{
	return (int)ctx->args[2] ? 0 : count_retransmit((void *)ctx->args[0]);
}

/*
 * The same before 6.17. There the kernel refuses to attach a program that reads a third argument.
 */
int retransmit_of_two(struct bpf_raw_tracepoint_args *ctx)
{
	return count_retransmit((void *)ctx->args[0]);
}
