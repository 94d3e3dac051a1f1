/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names learned for addresses: the structs shared with user space.
 */
#pragma once

#include "include/netns.h"
#include "include/address.h"

/*
 * The receiver of an address. A process (by pid) receives for itself. With is_shared, a user (by
 * uid) receives for others: in the service's own network namespace, from its name servers.
 */
struct name_key {
	u32 who;
	u32 is_shared;
	struct netns netns;
	union address address;
};

#define NAME_BYTES 128 /* a power of two; DNS names can have 255, few have over 100 */

/*
 * Times are CLOCK_MONOTONIC. `name` is in wire format, lower case, padded with zeros. A process
 * keeps its last name. A user keeps the first one while that counts; other_ns covers all others.
 */
struct name {
	u64 since_ns; /* first received, with no other name since */
	u64 seen_ns;  /* last received */
	u64 until_ns; /* it counts until then */
	u64 other_ns; /* another name of this key counts until then; 0: none */
	u64 born_ns;  /* start of the process: pids are reused */
	u32 ttl;      /* seconds, of the last answer */
	u32 is_sure;  /* the datagram's own source was the name server */
	union {
		u8 name[NAME_BYTES];
		u64 words[NAME_BYTES / 8];
	};
};

/* Seconds that a name counts: at least this long for others, at most this long for anybody. */
#define SHARED_SECONDS	3600
#define LONGEST_SECONDS 86400

/*
 * Marks: when a name was last received for any key of a group; keys are grouped by a hash. Marks
 * are never evicted, unlike names: a mark distinguishes an evicted entry from one that never
 * existed. Processes and users have separate marks. A third kind, by the hash of a key without its
 * address, has the time of the receiver's last answer that was not read in full.
 */
#define NAME_MARKS	 65536 /* of each kind: 2^16 */
#define NAME_MARKS_SHIFT (64 - 16)
#define NAME_MARKS_DOUBT 2 /* the third kind; the first two are a key's is_shared */
#define NAME_MARKS_ALL	 (3 * NAME_MARKS)
#define NAME_HASH	 0x9e3779b97f4a7c15ULL

/* A name server. scope_id is set for link-local addresses only. */
struct name_server {
	union address address;
	u32 scope_id;
};

#define NAME_SERVERS_MAX 64
