/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Keeps names: who received which name for an address. Constant from user space: NAMES_MAX.
 *
 * An answer that a process received counts for that process. It counts for others, too, if the
 * sender is a name server of the service's own network namespace. But a process that shares memory
 * with the receiver may have changed the answer before it is read here. So it counts for processes
 * of the same user, and for all users only if that is root or a system daemon's (user space
 * decides).
 *
 * An answer that cannot be read in full may have contained any address. It invalidates all earlier
 * names of its receiver.
 */
#pragma once

#include "include/maker.h"
#include "include/tally.h"
#include "names/names.h"

#define NSEC_PER_SEC 1000000000ULL

BPF_TABLE("lru_hash", struct name_key, struct name, names, NAMES_MAX);
BPF_ARRAY(name_marks, u64, NAME_MARKS_ALL);
BPF_TABLE("hash", struct name_server, u8, name_servers, NAME_SERVERS_MAX);

static __always_inline bool is_same(const struct name *a, const struct name *b)
{
	u64 differs = 0;
	u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < NAME_BYTES / 8; i++)
		differs |= a->words[i] ^ b->words[i];
	return !differs;
}

/* The receiver of an answer, and what is the same for all records of the answer. */
struct hearer {
	struct name_key key;
	struct name_server server;
	u64 born_ns;
	u64 now;
	bool is_shared;
	bool is_sure;
};

/* The process itself, or its user. */
static __always_inline void set_who(struct hearer *h, bool is_shared)
{
	u64 who = is_shared ? bpf_get_current_uid_gid() : bpf_get_current_pid_tgid() >> 32;

	h->key.who = who;
	h->key.is_shared = is_shared;
}

static __always_inline u64 hash_who(const struct name_key *key)
{
	u64 hash = key->who * NAME_HASH;

	hash = (hash ^ key->is_shared) * NAME_HASH;
	hash = (hash ^ key->netns.inum) * NAME_HASH;
	return (hash ^ key->netns.hash_mix) * NAME_HASH;
}

static __always_inline u64 hash_address(u64 hash, const struct name_key *key)
{
	hash = (hash ^ key->address.words[0]) * NAME_HASH;
	hash = (hash ^ key->address.words[1]) * NAME_HASH;
	hash = (hash ^ key->address.words[2]) * NAME_HASH;
	return (hash ^ key->address.words[3]) * NAME_HASH;
}

static __always_inline u64 *mark_of(u64 hash, u32 kind)
{
	u32 slot = kind * NAME_MARKS + (hash >> NAME_MARKS_SHIFT);

	return name_marks.lookup(&slot);
}

/* The receiver got an answer that was not read in full: its earlier names are out of date. */
static __always_inline void doubt(struct hearer *h)
{
	u32 i;

	tally(TALLY_NAMES_UNKEPT);
#pragma clang loop unroll(disable)
	for (i = 0; i < (h->is_shared ? 2 : 1); i++) {
		u64 *doubted;

		set_who(h, i);
		doubted = mark_of(hash_who(&h->key), NAME_MARKS_DOUBT);
		if (doubted)
			*doubted = h->now;
	}
}

static __always_inline u64 later(u64 a, u64 b)
{
	return a > b ? a : b;
}

static __always_inline u64 until(const struct hearer *h, const struct name *told)
{
	u64 seconds = LONGEST_SECONDS;

	if (h->key.is_shared && told->ttl < LONGEST_SECONDS)
		seconds = later(told->ttl, SHARED_SECONDS);
	return h->now + seconds * NSEC_PER_SEC;
}

/*
 * Until when names other than the user's new one count. An evicted entry may have held another
 * name; only its mark is left.
 */
static __always_inline u64 others_until(const struct name *known, bool same, u64 marked)
{
	if (!known)
		return marked ? marked + LONGEST_SECONDS * NSEC_PER_SEC : 0;
	return same ? known->other_ns : later(known->other_ns, known->until_ns);
}

/* Keep a name for the key of the receiver. */
static __always_inline void remember(struct hearer *h, struct name *told)
{
	u64 hash = hash_who(&h->key), *doubted = mark_of(hash, NAME_MARKS_DOUBT);
	u64 *marked = mark_of(hash_address(hash, &h->key), h->key.is_shared);
	struct name *known = names.lookup(&h->key);
	bool stands, same;

	if (!doubted || !marked)
		return;
	told->since_ns = h->now;
	told->seen_ns = h->now;
	told->until_ns = until(h, told);
	told->other_ns = 0;
	told->born_ns = h->key.is_shared ? 0 : h->born_ns;
	told->is_sure = h->is_sure;
	stands = known && known->born_ns == told->born_ns && known->seen_ns >= *doubted;
	same = known && is_same(known, told);
	if (stands && same && known->is_sure >= told->is_sure) {
		known->seen_ns = h->now;
		known->until_ns = later(known->until_ns, told->until_ns);
		known->ttl = told->ttl;
		*marked = h->now;
		return;
	}
	if (h->key.is_shared && stands && !same && known->until_ns > h->now) {
		known->other_ns = later(known->other_ns, told->until_ns);
		*marked = h->now;
		return;
	}
	if (h->key.is_shared)
		told->other_ns = others_until(known, same, *marked);
	*marked = h->now;
	names.update(&h->key, told);
}
