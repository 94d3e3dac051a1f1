/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which name an address was given for: what is shared with user space.
 */
#pragma once

#include "include/netns.h"
#include "include/address.h"

/*
 * Whom an address was told. A process (its pid) hears for itself; where is_shared is set, a user
 * (his uid) hears for others: in the service's own network namespace, from its name servers.
 */
struct name_key {
	u32 who;
	u32 is_shared;
	struct netns netns;
	union address address;
};

#define NAME_BYTES 128 /* a power of two; a name of the DNS can be 255, few are over 100 */

/*
 * Times are CLOCK_MONOTONIC. name is in wire format, in lower case, filled with zeros. A process
 * has its last name here; a user the first, as long as that counts: other_ns says of any other.
 */
struct name {
	u64 since_ns; /* when it was first told without another name in between */
	u64 seen_ns;  /* when it was last told */
	u64 until_ns; /* so long it counts */
	u64 other_ns; /* so long another name counts that was told for this key, 0 for none */
	u64 born_ns;  /* when the process was started: pids are given again */
	u32 ttl;      /* seconds, of the last answer */
	u32 is_sure;  /* the datagram's own source was seen to be the name server */
	union {
		u8 name[NAME_BYTES];
		u64 words[NAME_BYTES / 8];
	};
};

/* Seconds for which a name counts: at least so long for others, at most so long for anybody. */
#define SHARED_SECONDS	3600
#define LONGEST_SECONDS 86400

/*
 * A slot for each of so many groups of keys, told apart by a hash: when a name was last told for
 * one of them. Unlike names it forgets nothing, so that a missing entry can be told from one that
 * was never there. Processes and users have slots of their own; so have, by the hash of a key
 * without its address, the times at which one was last given an answer that could not be kept.
 */
#define NAME_MARKS	 65536 /* of each kind: 2 to the power of 16 */
#define NAME_MARKS_SHIFT (64 - 16)
#define NAME_MARKS_DOUBT 2 /* a kind; the other two are is_shared of a key */
#define NAME_MARKS_ALL	 (3 * NAME_MARKS)
#define NAME_HASH	 0x9e3779b97f4a7c15ULL

/* A name server: sin6_scope_id is set for link-local addresses only. */
struct name_server {
	union address address;
	u32 scope_id;
};

#define NAME_SERVERS_MAX 64
