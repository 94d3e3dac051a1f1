/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Budgets for failures, so that one user's failures cannot crowd out another's. Failures within the
 * budget are submitted one by one; those beyond it are counted in `held`.
 *
 * A budget is a token bucket, stored as the time at which it would be full again (GCRA):
 * BUDGET_BURST at once, then BUDGET_PER_SECOND. Each user has one in the cgroups of each owner.
 * WIDER times that is the budget of a user in all cgroups, since a user may have many sessions, and
 * of an owner's cgroups for all users, since a container's root can become any user. Budgets are
 * checked for failures only. The maps are bounded; an evicted budget starts again with a full
 * bucket.
 *
 * Constants from user space: BUDGET_BURST, BUDGET_PER_SECOND, BUDGETS_MAX, HELD_MAX, ENDS_MAX.
 */
#pragma once

#include "include/tally.h"
#include "include/transition.h"

#define SECOND	    1000000000ULL
#define WIDER	    4
#define INTERVAL    (SECOND / BUDGET_PER_SECOND)
#define BUDGET_SPAN (BUDGET_BURST * INTERVAL)

/* Who pays for a failure: a user in one owner's cgroups, a user, and an owner. */
enum payer_kind { PAYER_BOTH, PAYER_USER, PAYER_OWNER, PAYERS };

struct payer {
	u64 owner;
	u32 uid;
	u32 kind;
};

BPF_TABLE("lru_hash", struct payer, u64, budgets, BUDGETS_MAX);

/* Take one from a budget; false if it is empty. Two CPUs may take the same one at the same time. */
static __always_inline bool pay(const struct payer *payer, u64 interval, u64 now)
{
	u64 *full_ns = budgets.lookup((struct payer *)payer);

	if (!full_ns) {
		u64 first = now + interval;

		budgets.update((struct payer *)payer, &first);
		return true;
	}
	if (*full_ns > now + BUDGET_SPAN)
		return false;
	*full_ns = (*full_ns > now ? *full_ns : now) + interval;
	return true;
}

/* Whether a failure is within all budgets that pay for it. */
static __always_inline bool is_affordable(u64 owner, u32 uid, u64 now)
{
	struct payer both = {.owner = owner, .uid = uid, .kind = PAYER_BOTH};
	struct payer user = {.uid = uid, .kind = PAYER_USER};
	struct payer cgroup = {.owner = owner, .kind = PAYER_OWNER};

	return pay(&both, INTERVAL, now) && pay(&user, INTERVAL / WIDER, now) &&
	       (!owner || pay(&cgroup, INTERVAL / WIDER, now));
}

/*
 * Failures that were counted and not submitted, because they were beyond a budget or the ring was
 * full. One entry counts the failures of one user, cgroup and destination that ended alike within
 * one time slot of 2^HELD_SLOT_BITS ns. User space reads a slot after it is over, when no program
 * adds to it any more.
 */
#define HELD_SLOT_BITS 30

struct held_key {
	struct destination destination;
	u64 cgroup_id;
	u32 uid;
	u32 slot;
	int error;
	u16 flags;
	u8 newstate;
	u8 sent; /* bit 0: it had a local port; bit 1: it sent a SYN */
};

struct held {
	u64 failures;
	u64 last_ns; /* CLOCK_MONOTONIC */
	struct transition first;
};

BPF_TABLE("hash", struct held_key, struct held, held, HELD_MAX);
BPF_ARRAY(no_held, struct held, 1); /* too large for the stack */

/* Count a failure in `held`, which user space reads once a second; false if the map is full. */
static __always_inline bool hold_back(const struct transition *t, u32 uid)
{
	struct held_key key = {
		.destination = t->destination,
		.cgroup_id = t->maker.cgroup_id,
		.uid = uid,
		.slot = t->timestamp_ns >> HELD_SLOT_BITS,
		.error = t->sk_err ?: t->sk_err_soft,
		.flags = t->flags,
		.newstate = t->newstate,
		.sent = !!t->lport | !!t->syns << 1,
	};
	struct held *known = held.lookup(&key), *none;
	bool is_first = false;
	u32 only = 0;

	if (!known) {
		none = no_held.lookup(&only);
		/* insert() fails on all but one of the CPUs that race here. */
		is_first = none && !held.insert(&key, none);
		known = held.lookup(&key);
	}
	if (!known)
		return false;
	if (is_first)
		known->first = *t;
	known->last_ns = t->timestamp_ns;
	__sync_fetch_and_add(&known->failures, 1);
	tally(TALLY_HELD);
	return true;
}

/*
 * Submit a transition; false if the ring is full. Force the wake-up: by default the kernel wakes
 * only a reader that has consumed all records, and this one holds records for a while.
 */
static __always_inline bool submit(struct transition *t)
{
	if (transitions.ringbuf_output(t, sizeof(*t), BPF_RB_FORCE_WAKEUP))
		return false;
	tally(TALLY_SUBMITTED);
	return true;
}

/* Submit a transition that is counted nowhere else. */
static __always_inline void submit_or_lose(struct transition *t)
{
	if (!submit(t))
		tally(TALLY_LOST);
}

/*
 * The attempt that a thread's connect() closed last, until that connect() returns. This map is not
 * handed to user space, and neither is attempts: both hold kernel addresses of sockets.
 */
struct ended {
	u64 skaddr;
	u64 start_ns;
	u32 start_cpu;
	u32 is_held; /* not submitted: only connect()'s return is counted */
	struct destination destination;
};

#ifdef RETURNS
BPF_TABLE("lru_hash", u64, struct ended, ends, ENDS_MAX);
#endif

/* Whether connect()'s return is counted in place of this failure: only that has the reason. */
static __always_inline bool is_left_to_return(const struct transition *t)
{
#ifdef RETURNS
	u64 thread = bpf_get_current_pid_tgid();
	struct ended *ended;

	if (!(t->flags & FLAG_RETURNS))
		return false;
	ended = ends.lookup(&thread);
	if (ended)
		ended->is_held = true;
	return ended;
#else
	return false;
#endif
}

/*
 * Submit a failure. uid is the maker's, or the socket's if the maker is unknown; then owner is 0,
 * too. A failure that is beyond a budget, or that the full ring does not take, is counted.
 */
static __always_inline void submit_failure(struct transition *t, u64 owner, u32 uid)
{
	bool affordable = is_affordable(owner, uid, t->timestamp_ns);

	if (affordable && submit(t))
		return;
	if (!is_left_to_return(t) && !hold_back(t, uid))
		tally(affordable ? TALLY_LOST : TALLY_HELD_FULL);
}
