/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change of state.
 */
#pragma once

#include "include/transition.h"

/*
 * What a hook tells, or the net; slot is which of them. `early` where it tells so before the socket
 * changes.
 */
struct change {
	void *sk;
	u32 slot;
	u8 oldstate;
	u8 newstate;
	bool early;
};

/* skc_num is already 0 when the tracepoint tells of a CLOSE; its event takes inet_sport, too. */
static __always_inline u16 read_lport(const struct change *change)
{
	u16 port = 0;

	if (change->early) {
		READ_FIELD(port, change->sk, FIELD(sock_common, skc_num));
		return port;
	}
	READ_FIELD(port, change->sk, FIELD(inet_sock, inet_sport));
	return bpf_ntohs(port);
}

/* What is submitted, but for what is known of the attempt; NULL never, but to the verifier. */
static __always_inline struct transition *describe(const struct change *change, u64 now)
{
	u32 slot = change->slot;
	struct transition *t = drafts.lookup(&slot);

	if (!t)
		return NULL;
	__builtin_memset(t, 0, sizeof(*t));
	t->timestamp_ns = now;
	t->oldstate = change->oldstate;
	t->newstate = change->newstate;
	t->lport = read_lport(change);
	read_saddr(change->sk, &t->saddr);
	return t;
}

static __always_inline struct change change_of(const struct bpf_raw_tracepoint_args *ctx, u32 slot)
{
	struct change change = {
		.slot = slot,
		.sk = (void *)ctx->args[0],
		.oldstate = ctx->args[1],
		.newstate = ctx->args[2],
	};

	return change;
}
