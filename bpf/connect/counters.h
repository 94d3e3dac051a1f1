/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters of each destination. Constants from user space: DESTINATIONS_MAX; LATENCY if connect
 * latencies are read.
 */
#pragma once

#include "include/destination.h"

struct counters {
	u64 established;
	u64 failed;
	u64 last_established_ns; /* CLOCK_MONOTONIC */
	u64 latency_ns;		 /* from SYN_SENT to ESTABLISHED, of the last few; 0 for none */
};

#define LATENCY_SHIFT 3 /* each one has an eighth of the average */

BPF_TABLE("lru_hash", struct destination, struct counters, destinations, DESTINATIONS_MAX);

static __always_inline struct counters *counters_of(struct destination *to)
{
	struct counters *c = destinations.lookup(to);

	/* Look up first: nearly always there is one, and no zeroed struct is needed. */
	if (c)
		return c;
	struct counters zero = {};

	return destinations.lookup_or_try_init(to, &zero);
}

#ifdef LATENCY
#include "connect/latency.h"
#endif

/* Not atomic: of two at once one may be lost, which an average does not show. */
static __always_inline void average_latency(struct counters *c, u64 took_ns)
{
	u64 average = c->latency_ns;

	if (average)
		took_ns = average + ((s64)(took_ns - average) >> LATENCY_SHIFT);
	c->latency_ns = took_ns;
}

static __always_inline void count_established(struct destination *to, u64 start_ns, u64 now)
{
	struct counters *c = counters_of(to);

#ifdef LATENCY
	count_latency(to, now - start_ns);
#endif
	if (!c)
		return;
	c->last_established_ns = now;
	average_latency(c, now - start_ns);
	__sync_fetch_and_add(&c->established, 1);
}

static __always_inline void count_failed(struct destination *to)
{
	struct counters *c = counters_of(to);

	if (c)
		__sync_fetch_and_add(&c->failed, 1);
}
