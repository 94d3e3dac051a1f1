/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts under way, by their sockets. Constant from user space: ATTEMPTS_MAX.
 */
#pragma once

#include "include/destination.h"
#include "include/maker.h"

/*
 * One per socket address, from SYN_SENT until the attempt ends. state is the last one seen,
 * witnessed whether the net has seen it begin, error the last one that the application was told of.
 * An attempt is known by when and on which CPU it began: no CPU begins two at one time.
 */
struct attempt {
	u64 start_ns;
	u32 start_cpu;
	u32 pad;
	u16 state;
	u16 witnessed;
	int error;
	u64 owner; /* see struct cgroup_path; kept, since that may be evicted before the end */
	struct maker maker;
	struct destination destination;
};

BPF_TABLE("lru_hash", u64, struct attempt, attempts, ATTEMPTS_MAX);

/*
 * Whether any attempt has gone to SYN_RECV: it crossed another (a simultaneous open). As long as
 * none has, a socket in SYN_RECV is one that was accepted, and is not looked for.
 */
BPF_ARRAY(crossed, u32, 1);

static __always_inline bool has_crossed(void)
{
	u32 only = 0, *any = crossed.lookup(&only);

	return any && *any;
}

static __always_inline void note_crossing(void)
{
	u32 only = 0, *any = crossed.lookup(&only);

	if (any)
		*any = true;
}

/* Whether what is left is the handshake: only there an attempt succeeds or fails. */
static __always_inline bool is_handshake(u8 state)
{
	return state == BPF_TCP_SYN_SENT || state == BPF_TCP_SYN_RECV;
}
