/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connect latencies. Constant from user space: LATENCIES_MAX, 0 for no latencies per destination.
 */
#pragma once

#include "include/destination.h"

#define LATENCY_SLOTS 32 /* a power of two; 2^31 us is more than any SYN timeout */

/*
 * From SYN_SENT to ESTABLISHED. Slot i counts latencies from 2^i to 2^(i+1) us; slot 0 also counts
 * the shorter ones.
 */
struct latency {
	u64 sum_ns;
	u64 log2_us[LATENCY_SLOTS];
};

BPF_PERCPU_ARRAY(latency, struct latency, 1);
#if LATENCIES_MAX
BPF_TABLE("lru_hash", struct destination, struct latency, latencies, LATENCIES_MAX);
BPF_ARRAY(no_latency, struct latency, 1); /* too large for the stack */
#endif

static __always_inline void add_latency(struct latency *l, u64 took_ns)
{
	/* The mask is for the verifier: that of 6.1 loses a bound that was set by comparison. */
	u32 slot = (bpf_log2l(took_ns / 1000 | 1) - 1) & (LATENCY_SLOTS - 1);

	__sync_fetch_and_add(&l->sum_ns, took_ns);
	__sync_fetch_and_add(&l->log2_us[slot], 1);
}

static __always_inline void count_latency(struct destination *to, u64 took_ns)
{
	u32 zero = 0;
	struct latency *l = latency.lookup(&zero);

	if (l)
		add_latency(l, took_ns);
#if LATENCIES_MAX
	l = latencies.lookup(to);
	if (!l) {
		struct latency *none = no_latency.lookup(&zero);

		if (none)
			l = latencies.lookup_or_try_init(to, none);
	}
	if (l)
		add_latency(l, took_ns);
#endif
}
