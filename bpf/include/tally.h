/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The programs' own counters.
 */
#pragma once

enum tally {
	TALLY_SUBMITTED,
	TALLY_LOST,	     /* ring and `held` were full */
	TALLY_EVICTED,	     /* an attempt ended without an entry */
	TALLY_NETTED,	     /* transitions that only the net saw */
	TALLY_MISSED,	     /* stale entries: both hook and net missed a transition */
	TALLY_OPENED,	     /* attempts in the service's network namespace, its own included */
	TALLY_UNSENT,	     /* of these, ended before a SYN was sent */
	TALLY_ABORTED,	     /* of these, ended with an error in the socket */
	TALLY_NAMES_LEARNED, /* addresses learned from DNS answers */
	TALLY_NAMES_LONG,    /* DNS answers to a name longer than NAME_BYTES */
	TALLY_TAKEN_UP,	     /* attempts that only the net saw begin */
	TALLY_PASSIVE,	     /* AttemptFails of passive handshakes */
	TALLY_HELD,	     /* failures counted in `held`, not submitted */
	TALLY_HELD_FULL,     /* failures beyond a budget while `held` was full */
	TALLY_NAMES_UNKEPT,  /* DNS answers not read in full, those to long names included */
	TALLIES,
};

BPF_ARRAY(tallies, u64, TALLIES);

static __always_inline void tally(u32 which)
{
	u64 *count = tallies.lookup(&which);
	if (count)
		__sync_fetch_and_add(count, 1);
}
