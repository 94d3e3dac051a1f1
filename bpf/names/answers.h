/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads DNS answers from the memory of the process that received them.
 *
 * Every address of an answer counts as an address of the question's name, which is what the process
 * asked for; so CNAMEs need no following. All of an answer is untrusted: every read is bounded, and
 * no compression pointer is followed.
 */
#pragma once

#include "names/keep.h"

#define HEADER_BYTES 12
#define RECORD_BYTES 10 /* type, class, ttl and length, after the owner's name */
#define TYPE_A	     1
#define TYPE_AAAA    28
#define TYPE_ANY     255
#define CLASS_IN     1
/* Header flags of an answer: QR set; opcode and rcode 0. */
#define FLAGS_MASK	 0xf80f
#define FLAGS_ANSWER	 0x8000
#define LABELS_MAX	 32 /* in the question; the next one is for a record's owner */
#define OWNER_LABELS_MAX 10
#define RECORDS_MAX	 16

/*
 * The name of an answer, in lower case; one slot for each function, since one can preempt the
 * other.
 */
BPF_PERCPU_ARRAY(told_name, struct name, 2);

/*
 * bpf_probe_read_user() by another name: under its own, BCC reads all of kallsyms to check that the
 * kernel has it, and compiling takes a third longer. A kernel with trampolines has it.
 */
static long (*read_user)(void *to, u32 size, const void *from) = (void *)BPF_FUNC_probe_read_user;

/*
 * An answer in the memory of the process, and the position `at` reached in it. `at` lies in the
 * second half of a stack slot, where the verifier tracks no value. If it did, each path to one
 * place would be a new state to verify, although they are all alike from there on.
 */
struct packet {
	void *data;
	u32 len;
	volatile u32 at;
};

struct header {
	u16 id;
	u16 flags;
	u16 questions;
	u16 answers;
	u16 rest[2];
};

/*
 * Skip a name of up to `most` labels; false if there is none. A compression pointer ends the name
 * and is not followed; `plain` allows none.
 */
static __always_inline bool skip_name(struct packet *p, u32 most, bool plain)
{
	u8 label;
	u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < most; i++) {
		u32 at = p->at;

		if (at >= p->len)
			return false;
		label = 0;
		read_user(&label, sizeof(label), p->data + at);
		if (label & 0xc0) {
			p->at = at + 2;
			return !plain && (label & 0xc0) == 0xc0;
		}
		p->at = at + label + 1;
		if (!label)
			return true;
	}
	return false;
}

/* Eight bytes with the upper-case letters of ASCII made lower-case. */
static __always_inline u64 lower(u64 word)
{
	const u64 ones = 0x0101010101010101ULL, high = ones << 7;
	u64 low = word & ~high;
	u64 from_a = low + ones * (0x80 - 'A'), above_z = low + ones * (0x7f - 'Z');

	return word | ((from_a ^ above_z) & ~word & high) >> 2;
}

enum question {
	QUESTION_BAD,	/* malformed or not understood */
	QUESTION_OTHER, /* does not ask for addresses */
	QUESTION_ADDRESSES,
};

/* Read the question's name and skip the question. */
static __always_inline enum question read_question(struct packet *p, struct name *name)
{
	u16 kind[2] = {};
	u32 end, size, i;

	if (!skip_name(p, LABELS_MAX, true))
		return QUESTION_BAD;
	end = p->at;
	if (end + sizeof(kind) > p->len)
		return QUESTION_BAD;
	p->at = end + sizeof(kind);
	read_user(kind, sizeof(kind), p->data + end);
	if (kind[1] != bpf_htons(CLASS_IN) ||
	    (kind[0] != bpf_htons(TYPE_A) && kind[0] != bpf_htons(TYPE_AAAA) &&
	     kind[0] != bpf_htons(TYPE_ANY)))
		return QUESTION_OTHER;
	/* Without the byte that ends the name: the rest is zeros. */
	size = end - HEADER_BYTES - 1;
	if (size >= NAME_BYTES) {
		tally(TALLY_NAMES_LONG);
		return QUESTION_BAD;
	}
	/* The compiler would drop the mask as redundant, but the verifier needs it. */
	asm volatile("" : "+r"(size));
	size &= NAME_BYTES - 1;
	__builtin_memset(name->name, 0, sizeof(name->name));
	read_user(name->name, size, p->data + HEADER_BYTES);
#pragma clang loop unroll(disable)
	for (i = 0; i < NAME_BYTES / 8; i++)
		name->words[i] = lower(name->words[i]);
	return QUESTION_ADDRESSES;
}

/* Read the address of a record at `at` with this type and length; false if it has none. */
static __always_inline bool read_address(const struct packet *p, u32 at, u16 type, u16 length,
					 union address *address)
{
	if (type == bpf_htons(TYPE_AAAA) && length == 16) {
		read_user(address, 16, p->data + at);
		return true;
	}
	address->words[0] = address->words[1] = 0;
	address->words[2] = bpf_htonl(0xffff);
	if (type != bpf_htons(TYPE_A) || length != 4)
		return false;
	read_user(&address->words[3], 4, p->data + at);
	return true;
}

/* Read the address of one record and skip the record; false if that fails. */
static __always_inline bool read_record(struct packet *p, struct hearer *h, struct name *name)
{
	u16 record[RECORD_BYTES / 2] = {};
	u16 length;
	u32 at, i;

	if (!skip_name(p, OWNER_LABELS_MAX, false))
		return false;
	at = p->at;
	if (at + RECORD_BYTES > p->len)
		return false;
	read_user(record, sizeof(record), p->data + at);
	length = bpf_ntohs(record[4]);
	at += RECORD_BYTES;
	if (at + length > p->len)
		return false;
	p->at = at + length;
	if (record[1] != bpf_htons(CLASS_IN) ||
	    !read_address(p, at, record[0], length, &h->key.address))
		return true;
	name->ttl = (u32)bpf_ntohs(record[2]) << 16 | bpf_ntohs(record[3]);
#pragma clang loop unroll(disable)
	for (i = 0; i < (h->is_shared ? 2 : 1); i++) {
		set_who(h, i);
		remember(h, name);
	}
	tally(TALLY_NAMES_LEARNED);
	return true;
}

/* Learn from an answer; false if it may contain more than was read. */
static __always_inline bool read_answer(void *sk, struct packet *p, struct hearer *h)
{
	u32 slot = *(u16 *)(sk + FIELD(sock_common, skc_family)) == AF_INET6_;
	struct name *name = told_name.lookup(&slot);
	struct header header = {};
	enum question question;
	u32 i, answers;

	if (!name || p->len < HEADER_BYTES)
		return true;
	read_user(&header, sizeof(header), p->data);
	answers = bpf_ntohs(header.answers);
	if ((header.flags & bpf_htons(FLAGS_MASK)) != bpf_htons(FLAGS_ANSWER) || !answers)
		return true;
	if (header.questions != bpf_htons(1))
		return false;
	p->at = HEADER_BYTES;
	question = read_question(p, name);
	if (question != QUESTION_ADDRESSES)
		return question == QUESTION_OTHER;
#pragma clang loop unroll(disable)
	for (i = 0; i < RECORDS_MAX; i++) {
		if (i >= answers)
			return true;
		if (!read_record(p, h, name))
			return false;
	}
	return answers <= RECORDS_MAX;
}
