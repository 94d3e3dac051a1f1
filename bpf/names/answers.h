/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads DNS answers out of the memory of the process that received them.
 *
 * The question's name is what it asked for, so that CNAMEs need no following: every address of the
 * answer is that name's. Everything in an answer is a stranger's choice. It is read with bounds on
 * every step, and no compression pointer is ever followed.
 */
#pragma once

#include "names/keep.h"

#define HEADER_BYTES 12
#define RECORD_BYTES 10 /* type, class, ttl and length, behind the owner's name */
#define TYPE_A	     1
#define TYPE_AAAA    28
#define TYPE_ANY     255
#define CLASS_IN     1
/* What an answer must have and not have: QR; opcode and rcode 0. */
#define FLAGS_MASK	 0xf80f
#define FLAGS_ANSWER	 0x8000
#define LABELS_MAX	 32 /* of the question; below, of a record's owner */
#define OWNER_LABELS_MAX 10
#define RECORDS_MAX	 16

/* What an answer tells, with its name in lower case; a slot for each function (they preempt). */
BPF_PERCPU_ARRAY(told_name, struct name, 2);

/*
 * bpf_probe_read_user() by another name: where BCC meets that one, it reads all of kallsyms to see
 * whether the kernel has it, and compiling takes a third longer. A kernel with trampolines has it.
 */
static long (*read_user)(void *to, u32 size, const void *from) = (void *)BPF_FUNC_probe_read_user;

/*
 * An answer in the memory of the process, and how far it was read. `at` lies in the second half of
 * a stack slot, where the verifier knows nothing of a value: what it would know of each way that
 * leads to a place would keep it from seeing that they are all alike from there on.
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
 * Go behind a name of up to `most` labels; false where there is none. A pointer ends it, and is
 * not followed; `plain` does not allow one.
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
	QUESTION_BAD,	/* who knows what was asked */
	QUESTION_OTHER, /* not for addresses */
	QUESTION_ADDRESSES,
};

/* Take the question's name and go behind the question. */
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
	/* The byte that ends the name stays out: the rest is zeros. */
	size = end - HEADER_BYTES - 1;
	if (size >= NAME_BYTES) {
		tally(TALLY_NAMES_LONG);
		return QUESTION_BAD;
	}
	/* The compiler would leave out the mask, and the verifier does not see why it may. */
	asm volatile("" : "+r"(size));
	size &= NAME_BYTES - 1;
	__builtin_memset(name->name, 0, sizeof(name->name));
	read_user(name->name, size, p->data + HEADER_BYTES);
#pragma clang loop unroll(disable)
	for (i = 0; i < NAME_BYTES / 8; i++)
		name->words[i] = lower(name->words[i]);
	return QUESTION_ADDRESSES;
}

/* The address in a record at `at`, whose type and length are given; false where it is none. */
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

/* Take the address of one record of the answer and go behind it; false where that fails. */
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

/* Take what an answer tells; false where it may have told more. */
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
