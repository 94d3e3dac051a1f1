/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Budgets for failures, so that nobody's hide another's: whoever makes more than he has a budget
 * for has the rest counted, and not told one by one.
 *
 * A budget is a token bucket kept as the time at which it would be full again (GCRA): BUDGET_BURST
 * at once, then BUDGET_PER_SECOND. It is that of a user in the cgroups of one owner; WIDER times
 * that is the budget of a user in all cgroups, who may have many sessions, and of an owner's
 * cgroups for all users, whom a container's root can be. Looked at for failures alone. The maps are
 * bounded; what is evicted begins anew, with a full bucket.
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

/*
 * Whose failures are told one by one, within a budget: a user's in one owner's
 * cgroups; a user's; an owner's.
 */
enum payer_kind { PAYER_BOTH, PAYER_USER, PAYER_OWNER, PAYERS };

struct payer {
	u64 owner;
	u32 uid;
	u32 kind;
};

BPF_TABLE("lru_hash", struct payer, u64, budgets, BUDGETS_MAX);

/* Take one from a budget; false where there is nothing left. Two CPUs at once may take the same. */
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

/* Whether a failure is within the budgets of whose it is. */
static __always_inline bool is_affordable(u64 owner, u32 uid, u64 now)
{
	struct payer both = {.owner = owner, .uid = uid, .kind = PAYER_BOTH};
	struct payer user = {.uid = uid, .kind = PAYER_USER};
	struct payer cgroup = {.owner = owner, .kind = PAYER_OWNER};

	return pay(&both, INTERVAL, now) && pay(&user, INTERVAL / WIDER, now) &&
	       (!owner || pay(&cgroup, INTERVAL / WIDER, now));
}

/*
 * Failures beyond it, or that found the ring full, which are counted and not submitted: those of
 * one user, cgroup and destination that ended alike, in one slot of time (2^HELD_SLOT_BITS ns).
 * User space takes a slot when it is over, so that nothing is added while it does.
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
	u8 sent; /* whether it had a local port, and (2) sent a SYN */
};

struct held {
	u64 failures;
	u64 last_ns; /* CLOCK_MONOTONIC */
	struct transition first;
};

BPF_TABLE("hash", struct held_key, struct held, held, HELD_MAX);
BPF_ARRAY(no_held, struct held, 1); /* too large for the stack */

/* Count a failure for whoever asks once a second; false where there is no place for it. */
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
		/* Where two CPUs are first at once, one of them is. */
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
 * Tell of a transition; false where the ring is full. Whoever reads is woken although he keeps
 * records for a while: the kernel would wake only who has let go of all.
 */
static __always_inline bool submit(struct transition *t)
{
	if (transitions.ringbuf_output(t, sizeof(*t), BPF_RB_FORCE_WAKEUP))
		return false;
	tally(TALLY_SUBMITTED);
	return true;
}

/* Tell of what nothing else counts. */
static __always_inline void submit_or_lose(struct transition *t)
{
	if (!submit(t))
		tally(TALLY_LOST);
}

/*
 * The attempt that a thread's connect() closed last, for what that is about to return. Like
 * attempts, the map is not handed to user space: both know sockets by their addresses.
 */
struct ended {
	u64 skaddr;
	u64 start_ns;
	u32 start_cpu;
	u32 is_held; /* it was not submitted, and what connect() returns is all that is counted */
	struct destination destination;
};

#ifdef RETURNS
BPF_TABLE("lru_hash", u64, struct ended, ends, ENDS_MAX);
#endif

/* Whether what connect() returns will be counted in place of this: only that says why. */
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
 * A failure of `uid`: the maker's, or the socket's where he is not known; then owner is 0, too.
 * What is beyond a budget is counted, and so is what a full ring does not take.
 */
static __always_inline void submit_failure(struct transition *t, u64 owner, u32 uid)
{
	bool affordable = is_affordable(owner, uid, t->timestamp_ns);

	if (affordable && submit(t))
		return;
	if (!is_left_to_return(t) && !hold_back(t, uid))
		tally(affordable ? TALLY_LOST : TALLY_HELD_FULL);
}
