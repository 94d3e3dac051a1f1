// SPDX-License-Identifier: Apache-2.0
/*
 * Learns host names from the DNS answers that applications receive, over UDP and TCP.
 *
 * Compiled behind tcp_trace.c, in one piece with it: BCC rewrites one file only.
 *
 * Attached to the return of inet_recvmsg() and inet6_recvmsg(), which runs in the process that
 * receives, once per call, after the copy: what is read here is the application's own buffer. The
 * question's name is what it asked for, so that CNAMEs need no following: every address of the
 * answer is that name's.
 *
 * Everything in an answer is a stranger's choice. It is read with bounds on every step, and no
 * compression pointer is ever followed. Who sends it is checked as far as a resolver does that the
 * kernel can see: a socket that is connected to a server's port 53 gets only that server's answers.
 * An unconnected one may get anybody's, so what it was told counts for its own process alone.
 *
 * Constants come from user space: OFFSETOF_* (layout.h), NAMES_MAX, SELF_PID.
 */
#include <uapi/linux/uio.h>
#include "names.h"

#define DNS_PORT     53
#define HEADER_BYTES 12
#define RECORD_BYTES 10 /* type, class, ttl and length, behind the owner's name */
#define TYPE_A	     1
#define TYPE_AAAA    28
#define CLASS_IN     1
/* What an answer must have and not have: QR; opcode and rcode 0. */
#define FLAGS_MASK	 0xf80f
#define FLAGS_ANSWER	 0x8000
#define LABELS_MAX	 32 /* of the question; below, of a record's owner */
#define OWNER_LABELS_MAX 10
#define RECORDS_MAX	 16

BPF_TABLE("lru_hash", struct name_key, struct name, names, NAMES_MAX);
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

/* Take the question's name and go behind the question; false where it is none for us. */
static __always_inline bool read_question(struct packet *p, struct name *name)
{
	u16 kind[2] = {};
	u32 end, size, i;

	if (!skip_name(p, LABELS_MAX, true))
		return false;
	end = p->at;
	if (end + sizeof(kind) > p->len)
		return false;
	p->at = end + sizeof(kind);
	read_user(kind, sizeof(kind), p->data + end);
	if (kind[1] != bpf_htons(CLASS_IN) ||
	    (kind[0] != bpf_htons(TYPE_A) && kind[0] != bpf_htons(TYPE_AAAA)))
		return false;
	/* The byte that ends the name stays out: the rest is zeros. */
	size = end - HEADER_BYTES - 1;
	if (size >= NAME_BYTES) {
		tally(TALLY_NAMES_LONG);
		return false;
	}
	/* The compiler would leave out the mask, and the verifier does not see why it may. */
	asm volatile("" : "+r"(size));
	size &= NAME_BYTES - 1;
	__builtin_memset(name->name, 0, sizeof(name->name));
	read_user(name->name, size, p->data + HEADER_BYTES);
#pragma clang loop unroll(disable)
	for (i = 0; i < NAME_BYTES / 8; i++)
		name->words[i] = lower(name->words[i]);
	return true;
}

static __always_inline bool is_same(const struct name *a, const struct name *b)
{
	u64 differs = 0;
	u32 i;

#pragma clang loop unroll(disable)
	for (i = 0; i < NAME_BYTES / 8; i++)
		differs |= a->words[i] ^ b->words[i];
	return !differs;
}

static __always_inline void remember(struct name_key *key, struct name *told)
{
	struct name *known = names.lookup(key);

	told->since_ns = told->seen_ns;
	told->other_ns = 0;
	if (known && is_same(known, told)) {
		known->seen_ns = told->seen_ns;
		known->ttl = told->ttl;
		return;
	}
	if (known)
		told->other_ns = known->seen_ns;
	names.update(key, told);
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

/* Take the address of one record of the answer and go behind it; false at the end. */
static __always_inline bool read_record(struct packet *p, struct name_key *key, struct name *name,
					bool is_shared)
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
	    !read_address(p, at, record[0], length, &key->address))
		return true;
	name->ttl = (u32)bpf_ntohs(record[2]) << 16 | bpf_ntohs(record[3]);
	key->pid = bpf_get_current_pid_tgid() >> 32;
#pragma clang loop unroll(disable)
	for (i = 0; i < (is_shared ? 2 : 1); i++) {
		remember(key, name);
		key->pid = 0;
	}
	tally(TALLY_NAMES_LEARNED);
	return true;
}

static __always_inline void read_answer(void *sk, struct packet *p, bool is_connected)
{
	u32 slot = *(u16 *)(sk + OFFSETOF_sock_common_skc_family) == AF_INET6_;
	struct name *name = told_name.lookup(&slot);
	struct name_key key = {};
	struct header header = {};
	u32 i, answers;

	if (!name)
		return;

	read_user(&header, sizeof(header), p->data);
	if ((header.flags & bpf_htons(FLAGS_MASK)) != bpf_htons(FLAGS_ANSWER))
		return;
	answers = bpf_ntohs(header.answers);
	if (header.questions != bpf_htons(1) || !answers)
		return;
	p->at = HEADER_BYTES;
	if (!read_question(p, name))
		return;
	name->seen_ns = bpf_ktime_get_ns();
	key.netns = read_netns(sk);
#pragma clang loop unroll(disable)
	for (i = 0; i < RECORDS_MAX; i++) {
		if (i >= answers || !read_record(p, &key, name, is_connected && !is_self()))
			return;
	}
}

/*
 * Where the bytes lie that were just copied to a process; fewer if they lie in more than one
 * buffer: those in the last one. The iterator stands behind them.
 */
static __always_inline void find_received(void *msg, u32 received, struct packet *p)
{
	void *iter = msg + OFFSETOF_msghdr_msg_iter;
	struct iovec iov = {};
	u64 end = 0;

	READ_FIELD(p->data, iter, iov_iter_iov);
	READ_FIELD(end, iter, iov_iter_iov_offset);
	/* A single buffer stands there itself (commit fcb14cb1bdac, in v6.0), more in a list. */
	if ((s64)p->data < 0) {
		/* A buffer that is full has been left behind. */
		bpf_probe_read_kernel(&iov, sizeof(iov), p->data - (end ? 0 : sizeof(iov)));
		p->data = iov.iov_base;
		if (!end)
			end = iov.iov_len;
	}
	p->len = received < end ? received : end;
	p->data += end - p->len;
}

/* The port that the last datagram came from, where the process asked from whom it is. */
static __always_inline u16 read_sender(void *msg)
{
	void *from = *(void **)(msg + OFFSETOF_msghdr_msg_name);
	u16 port = 0;

	if (from) /* sin_port and sin6_port are at the same place */
		bpf_probe_read_kernel(&port, sizeof(port), from + sizeof(u16));
	return port;
}

/* Over TCP an answer has its length in front; some read that first, and by itself. */
static __always_inline void skip_length(void *sk, struct packet *p)
{
	u16 protocol = 0, length = 0;

	READ_FIELD(protocol, sk, sock_sk_protocol);
	if (protocol != IPPROTO_TCP_)
		return;
	read_user(&length, sizeof(length), p->data);
	if (bpf_ntohs(length) + sizeof(length) != p->len)
		return;
	p->data += sizeof(length);
	p->len -= sizeof(length);
}

/*
 * Loaded a second time for inet6_recvmsg(), whose arguments are the same. The cheapest tests come
 * first: nearly all that is received is no answer.
 */
KRETFUNC_PROBE(inet_recvmsg, void *socket, void *msg, size_t size, int flags, int length)
{
	struct packet p = {};
	void *sk;
	u16 dport;

	if (length < HEADER_BYTES)
		return 0;
	/* Read in place: the verifier knows the types of arguments and what they lead to. */
	sk = *(void **)(socket + OFFSETOF_socket_sk);
	dport = *(u16 *)(sk + OFFSETOF_sock_common_skc_dport);
	if ((dport ? dport : read_sender(msg)) != bpf_htons(DNS_PORT))
		return 0;
	find_received(msg, length, &p);
	skip_length(sk, &p);
	if (p.len >= HEADER_BYTES)
		read_answer(sk, &p, dport);
	return 0;
}
