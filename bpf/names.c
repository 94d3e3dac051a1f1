// SPDX-License-Identifier: Apache-2.0
/*
 * Finds DNS answers among what applications receive, over UDP and TCP, and where they come from.
 *
 * Attached to the return of inet_recvmsg() and inet6_recvmsg(), which runs in the process that
 * receives, once per call, after the copy: what is read is the application's own buffer.
 *
 * An answer comes from port 53. Over UDP that is the source of the datagram; where the process does
 * not ask for it, only the peer is known, and a datagram from somebody else may have been in the
 * queue before connect(). Over TCP it is a connection that this host opened to there.
 *
 * Compiled behind connect.c, which tells it of connections to servers of names.
 */
#include <uapi/linux/uio.h>

#include "names/answers.h"

#define IPPROTO_UDP_ 17
/* Flags of recvmsg(): of a peek, and of what comes back from the error queue. */
#define PEEK_OR_ERRQUEUE (0x2 | 0x2000)
/* Of sk_userlocks: bind() was given a port. */
#define SOCK_BINDPORT_LOCK_ 8

/*
 * Where the bytes lie that were just copied to a process; fewer if they lie in more than one
 * buffer: those in the last one. The iterator stands behind them. `before` is the buffer before.
 */
static __always_inline void find_received(void *msg, u32 received, struct packet *p,
					  struct iovec *before)
{
	void *iter = msg + FIELD(msghdr, msg_iter);
	struct iovec iov[2] = {};
	u64 end = 0;

	READ_FIELD(p->data, iter, FIELD(iov_iter, iov));
	READ_FIELD(end, iter, FIELD(iov_iter, iov_offset));
	/* A single buffer stands there itself (commit fcb14cb1bdac, in v6.0), more in a list. */
	if ((s64)p->data < 0) {
		/* A buffer that is full has been left behind. */
		bpf_probe_read_kernel(iov, sizeof(iov), p->data - (end ? 1 : 2) * sizeof(*iov));
		*before = iov[0];
		p->data = iov[1].iov_base;
		if (!end)
			end = iov[1].iov_len;
	}
	p->len = received < end ? received : end;
	p->data += end - p->len;
}

enum piece {
	PIECE_NONE,   /* nothing of an answer */
	PIECE_ANSWER, /* one, and all of it, in one buffer */
	PIECE_OTHER,
};

/* struct sockaddr_in and sockaddr_in6. */
struct sender {
	u16 family;
	u16 port;
	u32 v4;
	union address v6;
	u32 scope_id;
};

/* The source of a datagram, where the process asks for it: the kernel tells of no other. */
static __always_inline u16 read_sender(void *from, struct name_server *server)
{
	struct sender sender = {};

	bpf_probe_read_kernel(&sender, sizeof(sender), from);
	if (sender.family == AF_INET6_) {
		server->address = sender.v6;
		server->scope_id = sender.scope_id;
	} else {
		server->address.words[2] = bpf_htonl(0xffff);
		server->address.words[3] = sender.v4;
	}
	return sender.port;
}

static __always_inline void read_peer(void *sk, struct name_server *server)
{
	u16 family = 0;

	READ_FIELD(family, sk, FIELD(sock_common, skc_family));
	if (family == AF_INET6_) {
		READ_FIELD(server->address, sk, FIELD(sock_common, skc_v6_daddr));
		return;
	}
	server->address.words[2] = bpf_htonl(0xffff);
	READ_FIELD(server->address.words[3], sk, FIELD(sock_common, skc_daddr));
}

/*
 * A TCP connection that this host opened to a server of names; inode tells the socket from another
 * one at the same address. due is what is to come of a message whose length was received.
 */
struct stream {
	u64 skaddr;
	u64 inode;
};

#define STREAMS_MAX 1024
#define DUE_UNKNOWN (~0U)

BPF_TABLE("lru_hash", struct stream, u32, streams, STREAMS_MAX);

static __always_inline struct stream stream_of(void *sk)
{
	struct stream stream = {.skaddr = (u64)sk};
	void *socket = NULL;

	READ_FIELD(socket, sk, FIELD(sock, sk_socket));
	if (socket)
		READ_FIELD(stream.inode, socket + FIELD(socket_alloc, vfs_inode),
			   FIELD(inode, i_ino));
	return stream;
}

/* A connect begins, in the context of the process that makes it. */
static __always_inline void note_stream(void *sk)
{
	struct stream stream = stream_of(sk);
	u32 due = 0;

	if (stream.inode)
		streams.update(&stream, &due);
}

/*
 * What was received of a stream of answers, each with its length in front. Some read that by
 * itself, or into a buffer of its own. Once it was received otherwise, nothing is known of where
 * answers begin: somebody's data could be taken for one.
 */
static __always_inline enum piece follow(u32 *due, struct packet *p, u32 received,
					 const struct iovec *before)
{
	u32 expected = *due, elsewhere = received - p->len;
	u16 length = 0;

	*due = DUE_UNKNOWN;
	if (elsewhere && (expected || elsewhere != sizeof(length) || before->iov_len != elsewhere))
		return PIECE_OTHER;
	if (!expected)
		read_user(&length, sizeof(length), elsewhere ? before->iov_base : p->data);
	length = bpf_ntohs(length);
	if (!expected && received == sizeof(length)) {
		*due = length;
		return PIECE_NONE;
	}
	if (received != (expected ? expected : length + sizeof(length)))
		return PIECE_OTHER;
	*due = 0;
	if (!expected && !elsewhere) {
		p->data += sizeof(length);
		p->len -= sizeof(length);
	}
	return PIECE_ANSWER;
}

static __always_inline enum piece take_stream(void *sk, void *msg, u32 received, struct packet *p,
					      struct hearer *h)
{
	struct stream stream = stream_of(sk);
	u32 *due = streams.lookup(&stream);
	struct iovec before = {};

	if (!due)
		return PIECE_NONE;
	h->is_sure = true;
	read_peer(sk, &h->server);
	find_received(msg, received, p, &before);
	return follow(due, p, received, &before);
}

/*
 * Whether a socket is bound to a port that somebody chose: strangers find a server's there, and
 * may send to it from port 53.
 */
static __always_inline bool is_bound_to_port(void *sk)
{
	u8 locks = 0;

	bpf_probe_read_kernel(&locks, sizeof(locks), sk + BIT_FIELD(sock, sk_userlocks) / 8);
	return locks >> BIT_FIELD(sock, sk_userlocks) % 8 & SOCK_BINDPORT_LOCK_;
}

static __always_inline enum piece take_datagram(void *sk, void *msg, u32 received, struct packet *p,
						struct hearer *h)
{
	u16 dport = *(u16 *)(sk + FIELD(sock_common, skc_dport));
	void *from = *(void **)(msg + FIELD(msghdr, msg_name));
	struct iovec before = {};

	h->is_sure = from;
	if (from && read_sender(from, &h->server) != bpf_htons(DNS_PORT))
		return PIECE_NONE;
	if (!dport && is_bound_to_port(sk))
		return PIECE_NONE;
	if (!from)
		read_peer(sk, &h->server);
	find_received(msg, received, p, &before);
	return p->len == received ? PIECE_ANSWER : PIECE_OTHER;
}

static __always_inline void hear(void *sk, enum piece piece, struct packet *p, struct hearer *h)
{
	void *net = NULL;

	h->now = bpf_ktime_get_ns();
	h->born_ns = read_born(current_task());
	READ_FIELD(net, sk, FIELD(sock_common, skc_net));
	identify_netns(net, &h->key.netns);
	/* In other network namespaces nobody knows the name servers. */
	h->is_shared = !h->key.netns.inum && !is_self() && name_servers.lookup(&h->server);
	if (piece == PIECE_OTHER || !read_answer(sk, p, h))
		doubt(h);
}

/*
 * Loaded a second time for inet6_recvmsg(), whose arguments are the same. The cheapest tests come
 * first: nearly all that is received is no answer.
 */
KRETFUNC_PROBE(inet_recvmsg, void *socket, void *msg, size_t size, int flags, int length)
{
	enum piece piece = PIECE_NONE;
	struct hearer h = {};
	struct packet p = {};
	u16 dport, protocol;
	void *sk;

	if (length <= 0)
		return 0;
	/* Read in place: the verifier knows the types of arguments and what they lead to. */
	sk = *(void **)(socket + FIELD(socket, sk));
	dport = *(u16 *)(sk + FIELD(sock_common, skc_dport));
	if (dport ? dport != bpf_htons(DNS_PORT) : !*(void **)(msg + FIELD(msghdr, msg_name)))
		return 0;
	if (flags & PEEK_OR_ERRQUEUE)
		return 0;
	protocol = *(u16 *)(sk + FIELD(sock, sk_protocol));
	if (protocol == IPPROTO_UDP_)
		piece = take_datagram(sk, msg, length, &p, &h);
	else if (protocol == IPPROTO_TCP_)
		piece = take_stream(sk, msg, length, &p, &h);
	if (piece != PIECE_NONE)
		hear(sk, piece, &p, &h);
	return 0;
}
