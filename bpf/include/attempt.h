/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attempts under way, by their sockets. Constants from user space: CELL_BITS, ATTEMPTS_MAX.
 */
#pragma once

#include "include/destination.h"
#include "include/maker.h"

/*
 * One per socket, by its kernel address, from SYN_SENT until the attempt ends. `state` is the last
 * one seen; `witnessed` says that the net saw the attempt begin; `error` is the last one that the
 * kernel reported to the application. start_ns and start_cpu identify the attempt: a CPU cannot
 * begin two at the same time.
 */
struct attempt {
	u64 start_ns;
	u32 start_cpu;
	u32 pad;
	u16 state;
	u16 witnessed;
	int error;
	u64 owner; /* see struct cgroup_path; copied, since that may be evicted before the end */
	struct maker maker;
	struct destination destination;
};

/*
 * Most attempts have a cell, chosen by a hash of the socket's address. Taking and releasing one
 * costs a third of a map entry. An attempt whose cell is taken goes to the map.
 *
 * Two CPUs may want a cell at once, and Linux 5.10 has no atomic exchange: the one that adds to
 * `claims` and then reads 1 has it. skaddr is 0 while the rest is invalid. On processors that
 * reorder stores (arm64), an attempt that takes a cell just as it is released may lose its entry,
 * as if the entry was evicted.
 */
struct cell {
	u64 claims;
	u64 skaddr;
	struct attempt attempt;
};

#define CELL_HASH 0x9e3779b97f4a7c15ULL

BPF_ARRAY(cells, struct cell, 1 << CELL_BITS);
BPF_TABLE("lru_hash", u64, struct attempt, attempts, ATTEMPTS_MAX);

static __always_inline struct cell *cell_of(u64 skaddr)
{
	u32 which = skaddr * CELL_HASH >> (64 - CELL_BITS);

	return cells.lookup(&which);
}

static __always_inline struct attempt *find_attempt(u64 skaddr)
{
	struct cell *cell = cell_of(skaddr);

	if (cell && cell->skaddr == skaddr)
		return &cell->attempt;
	return attempts.lookup(&skaddr);
}

static __always_inline bool claim(struct cell *cell)
{
	volatile u64 *claims = &cell->claims;

	if (*claims)
		return false;
	__sync_fetch_and_add(&cell->claims, 1);
	if (*claims == 1)
		return true;
	__sync_fetch_and_add(&cell->claims, -1);
	return false;
}

static __always_inline bool keep_attempt(u64 skaddr, struct attempt *a)
{
	struct cell *cell = cell_of(skaddr);

	if (cell && (cell->skaddr == skaddr || claim(cell))) {
		cell->attempt = *a;
		cell->skaddr = skaddr;
		return true;
	}
	return !attempts.update(&skaddr, a);
}

static __always_inline void drop_attempt(u64 skaddr)
{
	struct cell *cell = cell_of(skaddr);

	if (!cell || cell->skaddr != skaddr) {
		attempts.delete(&skaddr);
		return;
	}
	cell->skaddr = 0;
	__sync_fetch_and_add(&cell->claims, -1);
}

/*
 * Whether any attempt has gone to SYN_RECV (a simultaneous open). Until one has, every socket in
 * SYN_RECV is an accepted one, and is not looked up.
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

/* Whether a socket that leaves this state leaves the handshake: only then an attempt ends. */
static __always_inline bool is_handshake(u8 state)
{
	return state == BPF_TCP_SYN_SENT || state == BPF_TCP_SYN_RECV;
}
