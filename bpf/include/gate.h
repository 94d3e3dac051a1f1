/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this program is to do, and for whom: written by the service when it starts.
 *
 * Where another version of the program takes over, both are attached for a moment, and each failure
 * has to be told by one of them. So attempts that begin before from_ns are the old one's, and later
 * ones the new one's. What is left of the old one's attempts is copied to the new one, which ends
 * them from until_ns on.
 *
 * Before this is compiled the map is given a name with the digest of the program, its constants and
 * what it hangs on, so that nobody can pass off another program for this one.
 */
#pragma once

enum gate_role {
	GATE_CLOSED, /* nothing */
	GATE_OPEN,   /* everything */
	GATE_COMING, /* takes over from another one */
	GATE_GOING,  /* gives over to another one */
};

struct gate {
	u64 from_ns; /* CLOCK_MONOTONIC */
	u64 until_ns;
	u32 role;
	u32 pid; /* the service's own */
};

BPF_ARRAY(the_gate, struct gate, 1);

static __always_inline struct gate *read_gate(void)
{
	u32 only = 0;

	return the_gate.lookup(&only);
}

static __always_inline bool is_at_work(void)
{
	const struct gate *gate = read_gate();

	return gate && gate->role != GATE_CLOSED;
}

/* Whether an attempt that begins now is this program's. */
static __always_inline bool may_begin(void)
{
	const struct gate *gate = read_gate();

	if (!gate || gate->role == GATE_CLOSED)
		return false;
	if (gate->role == GATE_OPEN)
		return true;
	return (bpf_ktime_get_ns() >= gate->from_ns) == (gate->role == GATE_COMING);
}

/* Whether the end of an attempt that began then is. */
static __always_inline bool may_end(u64 start_ns)
{
	const struct gate *gate = read_gate();

	if (!gate || gate->role == GATE_CLOSED)
		return false;
	if (gate->role == GATE_OPEN || (gate->role == GATE_COMING && start_ns >= gate->from_ns))
		return true;
	return (bpf_ktime_get_ns() >= gate->until_ns) == (gate->role == GATE_COMING);
}

/* Whether an end is of which no entry tells when it began: the other one may have that. */
static __always_inline bool may_adopt(void)
{
	const struct gate *gate = read_gate();

	if (!gate || gate->role == GATE_CLOSED)
		return false;
	if (gate->role == GATE_OPEN)
		return true;
	if (gate->role == GATE_COMING)
		return bpf_ktime_get_ns() >= gate->until_ns;
	return bpf_ktime_get_ns() < gate->from_ns;
}

static __always_inline bool is_own(u32 pid)
{
	const struct gate *gate = read_gate();

	return gate && gate->pid == pid;
}
