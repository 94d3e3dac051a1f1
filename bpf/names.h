/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which name an address was given for: the structs shared with user space. Their shapes are
 * written a second time in tcp_trace/kernel/names.py, and a test holds the two against each other.
 */
#pragma once

#include "transition.h"

/*
 * Whom an address was told. With a pid it is what this process asked for last, with pid 0 what
 * anybody in the network namespace did.
 */
struct name_key {
	union address address;
	u32 netns;
	u32 pid;
};

#define NAME_BYTES 128 /* a power of two; a name of the DNS can be 255, few are over 100 */

/* Times are CLOCK_MONOTONIC. name is in wire format, in lower case, filled with zeros. */
struct name {
	u64 since_ns; /* when it was first told without another name in between */
	u64 seen_ns;  /* when it was last told */
	u64 other_ns; /* when another name was last told for this key, 0 for never */
	u32 ttl;      /* seconds, of the last answer */
	u32 pad;
	union {
		u8 name[NAME_BYTES];
		u64 words[NAME_BYTES / 8];
	};
};
