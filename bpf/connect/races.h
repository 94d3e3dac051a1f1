/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lost races. Constant from user space: RACES_MAX.
 */
#pragma once

#include "include/transition.h"

/* A process that connects to one port: its attempts may race against each other. */
struct racer {
	u32 pid;
	u32 netns;
	u16 dport;
	u16 pad;
};

/*
 * The last success with one address. outlived_ns are times of successes at least RACE_OUTLIVED
 * apart, latest first: an attempt that was under way at one of them, and still is, is not in a
 * race.
 */
struct rival {
	union address daddr;
	u64 start_ns;
	u64 established_ns;
	u64 outlived_ns[2];
};

/* Each address has a place by its hash; a later address with the same hash takes it over. */
#define RIVALS 8 /* a power of two */

struct rivals {
	struct rival of[RIVALS];
};

BPF_TABLE("lru_hash", struct racer, struct rivals, races, RACES_MAX);
BPF_ARRAY(no_rivals, struct rivals, 1); /* too large for the stack */

/*
 * Happy Eyeballs (RFC 8305): a client connects to several addresses of one name at about the same
 * time, and closes the others once one is established. The name is not known here, so times decide.
 * An attempt lost a race if the same process connected to another address on the same port, both
 * attempts began within RACE_BEGIN, and the loser was closed within RACE_END after the success. An
 * attempt that outlives a success with that address by RACE_OUTLIVED is not racing against it: the
 * process connects there anyway.
 */
#define RACE_BEGIN    2000000000ULL
#define RACE_END      200000000ULL
#define RACE_OUTLIVED 400000000ULL

static __always_inline struct racer racer_of(const struct maker *maker,
					     const struct destination *to)
{
	struct racer racer = {.pid = maker->pid, .netns = maker->netns, .dport = to->dport};

	return racer;
}

static __always_inline struct rivals *rivals_of(struct racer *racer)
{
	struct rivals *rivals = races.lookup(racer);
	u32 only = 0;

	if (rivals)
		return rivals;
	rivals = no_rivals.lookup(&only);
	return rivals ? races.lookup_or_try_init(racer, rivals) : NULL;
}

/* Update in place: update() would take a new element, which costs several times as much. */
static __always_inline void note_success(const struct attempt *a, u64 now)
{
	struct racer racer = racer_of(&a->maker, &a->destination);
	struct rivals *rivals = rivals_of(&racer);
	const union address *to = &a->destination.daddr;
	u32 place = to->words[0] ^ to->words[1] ^ to->words[2] ^ to->words[3];
	struct rival *rival;

	if (!rivals)
		return;
	place ^= place >> 16;
	place ^= place >> 8;
	rival = &rivals->of[place & (RIVALS - 1)];
	if (!is_same_address(&rival->daddr, to)) {
		rival->daddr = *to;
		rival->outlived_ns[1] = 0;
		rival->outlived_ns[0] = now;
	} else if (now - rival->outlived_ns[0] > RACE_OUTLIVED) {
		rival->outlived_ns[1] = rival->outlived_ns[0];
		rival->outlived_ns[0] = now;
	}
	rival->start_ns = a->start_ns;
	rival->established_ns = now;
}

static __always_inline bool outlived(const struct transition *t, u64 success_ns)
{
	return success_ns > t->start_ns && t->timestamp_ns - success_ns > RACE_OUTLIVED;
}

static __always_inline bool has_lost(const struct transition *t, const struct rival *rival)
{
	return rival->established_ns > t->start_ns &&
	       t->timestamp_ns - rival->established_ns < RACE_END &&
	       rival->start_ns + RACE_BEGIN > t->start_ns &&
	       t->start_ns + RACE_BEGIN > rival->start_ns && !outlived(t, rival->outlived_ns[0]) &&
	       !outlived(t, rival->outlived_ns[1]) &&
	       !is_same_address(&rival->daddr, &t->destination.daddr);
}

static __always_inline bool lost_race(const struct transition *t)
{
	struct racer racer = racer_of(&t->maker, &t->destination);
	struct rivals *rivals = races.lookup(&racer);
	bool lost = false;
	u32 i;

	if (!rivals)
		return false;
#pragma clang loop unroll(disable)
	for (i = 0; i < RIVALS; i++)
		lost |= has_lost(t, &rivals->of[i]);
	return lost;
}
