// SPDX-License-Identifier: Apache-2.0
/*
 * Finds DNS answers, and their senders, in what applications receive over UDP and TCP.
 *
 * Attached to the return of inet_recvmsg() and inet6_recvmsg(). That runs in the receiving process,
 * once per call, after the copy; so the program reads the application's own buffer.
 *
 * An answer comes from port 53. Over UDP that is the source of the datagram. If the process does
 * not ask for the source, only the peer is known, and a datagram from another sender may have been
 * queued before connect(). Over TCP it is a connection that this host opened to port 53.
 *
 * Compiled after connect.c, which reports connections to name servers to note_stream().
 */
#include <uapi/linux/uio.h>

#include "names/answers.h"

#define IPPROTO_UDP_ 17
/* Flags of recvmsg(): MSG_PEEK and MSG_ERRQUEUE. */
#define PEEK_OR_ERRQUEUE (0x2 | 0x2000)
/* In sk_userlocks: bind() got a port. */
#define SOCK_BINDPORT_LOCK_ 8

/*
 * Find the bytes just copied to a process. If they lie in several buffers, only those in the last
 * one; `before` is the buffer before it. The iterator already stands behind them.
 */
static __always_inline void find_received(void *msg, u32 received, struct packet *p,
					  struct iovec *before)
{
	void *iter = msg + FIELD(msghdr, msg_iter);
	struct iovec iov[2] = {};
	u64 end = 0;

	READ_FIELD(p->data, iter, FIELD(iov_iter, iov));
	READ_FIELD(end, iter, FIELD(iov_iter, iov_offset));
	/* Since v6.0 (commit fcb14cb1bdac) a single buffer is stored in place, without a list. */
	if ((s64)p->data < 0) {
		/* The iterator has moved past a full buffer. */
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
	PIECE_NONE,   /* no part of an answer */
	PIECE_ANSWER, /* a whole answer in one buffer */
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

/* Read the source of a datagram if the process asks for it: only then the kernel fills it in. */
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
 * A TCP connection that this host opened to a name server. Kernel addresses are reused; the inode
 * distinguishes the socket from a later one. The map's value, `due`, is the number of bytes still
 * expected of a message whose length was received.
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

/* A connect begins; runs in the context of the process that makes it. */
static __always_inline void note_stream(void *sk)
{
	struct stream stream = stream_of(sk);
	u32 due = 0;

	if (stream.inode)
		streams.update(&stream, &due);
}

/*
 * Follow a stream of answers, each preceded by its length. Some clients read the length alone, or
 * into a buffer of its own. After any other read it is unknown where answers begin, and other data
 * could be taken for one.
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
 * Whether bind() chose the socket's port: then it is a server's, and strangers may send to it from
 * port 53.
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
	/* The name servers of other network namespaces are unknown. */
	h->is_shared = !h->key.netns.inum && !is_self() && name_servers.lookup(&h->server);
	if (piece == PIECE_OTHER || !read_answer(sk, p, h))
		doubt(h);
}

/*
 * Loaded a second time for inet6_recvmsg(), which has the same arguments. The cheapest checks come
 * first: nearly all received data is no DNS answer.
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
	/*
	 * Read in place: the verifier knows the types of the arguments and of what they point to.
	 */
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
