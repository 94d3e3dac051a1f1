/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs count.
 */
#pragma once

enum tally {
	TALLY_SUBMITTED,
	TALLY_LOST,	     /* neither ring nor `held` had room */
	TALLY_EVICTED,	     /* an attempt ended and its entry was gone */
	TALLY_NETTED,	     /* the hook was not run, the net was */
	TALLY_MISSED,	     /* an entry's socket had changed state unseen */
	TALLY_OPENED,	     /* attempts in the service's own network namespace, with its own */
	TALLY_UNSENT,	     /* of these, ended before a SYN was sent */
	TALLY_ABORTED,	     /* of these, ended by an error of the socket */
	TALLY_NAMES_LEARNED, /* addresses that were taken from DNS answers */
	TALLY_NAMES_LONG,    /* DNS answers to a name longer than NAME_BYTES */
	TALLY_TAKEN_UP,	     /* attempts that the net began: the hook was not run */
	TALLY_PASSIVE,	     /* AttemptFails of handshakes that somebody else began */
	TALLY_HELD,	     /* failures that were counted in `held` and not submitted */
	TALLY_HELD_FULL,     /* those beyond a budget that it had no place for */
	TALLY_NAMES_UNKEPT,  /* DNS answers that could not be taken in full, long names with them */
	TALLIES,
};

BPF_ARRAY(tallies, u64, TALLIES);

static __always_inline void tally(u32 which)
{
	u64 *count = tallies.lookup(&which);
	if (count)
		__sync_fetch_and_add(count, 1);
}
