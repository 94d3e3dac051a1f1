/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gate: the role of this program, written by the service when it starts.
 *
 * When a new version of the program takes over from an old one, both are attached for a moment, and
 * exactly one of them must report each failure. The old one takes attempts that begin before
 * from_ns, the new one later ones. Then the old one's remaining attempts are copied to the new one,
 * which handles their ends from until_ns on.
 *
 * Before this is compiled, the map is given a name with the digest of the program, its constants
 * and its hooks, so that nobody can pass off another program for this one.
 */
#pragma once

enum gate_role {
	GATE_CLOSED, /* do nothing */
	GATE_OPEN,   /* handle everything */
	GATE_COMING, /* take over from an old program */
	GATE_GOING,  /* hand over to a new program */
};

struct gate {
	u64 from_ns; /* CLOCK_MONOTONIC */
	u64 until_ns;
	u32 role;
	u32 pid; /* the service */
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

/* Whether this program handles an attempt that begins now. */
static __always_inline bool may_begin(void)
{
	const struct gate *gate = read_gate();

	if (!gate || gate->role == GATE_CLOSED)
		return false;
	if (gate->role == GATE_OPEN)
		return true;
	return (bpf_ktime_get_ns() >= gate->from_ns) == (gate->role == GATE_COMING);
}

/* Whether it handles the end of an attempt that began at start_ns. */
static __always_inline bool may_end(u64 start_ns)
{
	const struct gate *gate = read_gate();

	if (!gate || gate->role == GATE_CLOSED)
		return false;
	if (gate->role == GATE_OPEN || (gate->role == GATE_COMING && start_ns >= gate->from_ns))
		return true;
	return (bpf_ktime_get_ns() >= gate->until_ns) == (gate->role == GATE_COMING);
}

/* Whether it handles the end of an attempt without an entry: the other program may have one. */
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
