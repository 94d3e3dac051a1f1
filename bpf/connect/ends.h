/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an attempt failed. Constant from user space: LOST_RACES.
 */
#pragma once

#include "connect/budget.h"
#include "connect/counters.h"
#include "connect/races.h"

#define EADDRNOTAVAIL_	99
#define ETIMEDOUT_	110
#define SS_UNCONNECTED_ 1

/*
 * How many SYNs TCP sent. SYN_SENT comes before the first one, so there may be none. total_retrans
 * also counts those that got no memory; segs_out also counts the answer to a SYN that crossed ours.
 */
static __always_inline u32 read_syns(void *sk)
{
	u32 sent = 0, retransmits = 0;

	READ_FIELD(sent, sk, FIELD(tcp_sock, segs_out));
	READ_FIELD(retransmits, sk, FIELD(tcp_sock, total_retrans));
	return sent < retransmits + 1 ? sent : retransmits + 1;
}

static __always_inline void read_end(void *sk, struct transition *t)
{
	READ_FIELD(t->sk_err, sk, FIELD(sock, sk_err));
	READ_FIELD(t->sk_err_soft, sk, FIELD(sock, sk_err_soft));
	t->syns = read_syns(sk);
}

/*
 * Whether connect() itself is closing the socket. It sets SS_CONNECTING after it has sent the SYN,
 * and holds the socket lock until then. A later close(), shutdown(), connect(AF_UNSPEC), timer or
 * answer finds SS_CONNECTING.
 */
static __always_inline bool is_in_connect(void *sk)
{
	void *socket = NULL;
	u32 state = 0;

	READ_FIELD(socket, sk, FIELD(sock, sk_socket));
	READ_FIELD(state, socket, FIELD(socket, state));
	return state == SS_UNCONNECTED_;
}

/*
 * connect() gave up, and only its return value says why. One case can be recognized here: a port
 * that was chosen before is in use for this destination. connect() checks that first, before it
 * sets the socket's hash, which is never cleared.
 */
static __always_inline void give_up(void *sk, struct transition *t)
{
	u32 txhash = 0;

	READ_FIELD(txhash, sk, FIELD(sock, sk_txhash));
	if (t->lport && !txhash)
		t->sk_err = EADDRNOTAVAIL_;
#ifdef RETURNS
	struct ended ended = {
		.skaddr = (u64)sk,
		.start_ns = t->start_ns,
		.start_cpu = t->start_cpu,
		.destination = t->destination,
	};
	u64 thread = bpf_get_current_pid_tgid();

	t->flags |= FLAG_RETURNS;
	ends.update(&thread, &ended);
#endif
}

/* Whether a write that also connects is under way: the first write of TCP Fast Open. */
static __always_inline bool is_fast_opening(void *sk)
{
	void *request = NULL;

	READ_FIELD(request, sk, FIELD(tcp_sock, fastopen_req));
	return request;
}

/*
 * Count a failed attempt as the kernel does: ActiveOpens if a SYN was sent, AttemptFails if the
 * kernel ended it, which leaves an error in the socket. A connect() that finds its port in use, or
 * that Fast Open defers, sends nothing.
 */
static __always_inline void tally_failed(void *sk, const struct netns *netns)
{
	u32 segs_out = 0;
	int error = 0;

	if (netns->inum)
		return;
	READ_FIELD(segs_out, sk, FIELD(tcp_sock, segs_out));
	READ_FIELD(error, sk, FIELD(sock, sk_err));
	if (!segs_out)
		tally(TALLY_UNSENT);
	if (error)
		tally(TALLY_ABORTED);
}

/* Whether a socket without an error was closed before it sent anything, and not by connect(). */
static __always_inline bool is_unsent(void *sk, const struct transition *t)
{
	return !t->syns && !is_in_connect(sk) && !is_fast_opening(sk);
}

static __always_inline void fail(void *sk, struct transition *t, int error)
{
	tally_failed(sk, &t->destination.netns);
	read_end(sk, t);
	/* If the application has read the error from the socket, the kernel reports ETIMEDOUT. */
	if (error && (!t->sk_err || t->sk_err == ETIMEDOUT_))
		t->sk_err = error;
	if (!t->sk_err && is_unsent(sk, t)) {
		t->flags |= FLAG_UNSENT;
		return;
	}
	if (!t->sk_err && is_in_connect(sk)) {
		give_up(sk, t);
	} else if (LOST_RACES && !t->sk_err && lost_race(t)) {
		t->flags |= FLAG_RACED;
		return;
	}
	count_failed(&t->destination);
}
