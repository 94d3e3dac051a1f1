/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A change of state.
 */
#pragma once

#include "include/transition.h"

/*
 * A state change as a hook or the net sees it; slot says which (SLOT_*). early: the socket still
 * has its old state.
 */
struct change {
	void *sk;
	u32 slot;
	u8 oldstate;
	u8 newstate;
	bool early;
};

/* At the tracepoint for CLOSE, skc_num is already 0. Its own event reads inet_sport, too. */
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

/*
 * Fill a draft with all fields but those of the attempt. The NULL check is for the verifier only.
 */
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
