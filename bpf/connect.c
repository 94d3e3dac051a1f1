// SPDX-License-Identifier: Apache-2.0
/*
 * Watches outbound TCP connects: one handler behind either of two hooks on the moment a socket
 * changes state.
 *
 * An attempt begins when its socket goes to SYN_SENT and ends when it leaves the handshake
 * (SYN_SENT, or SYN_RECV of a simultaneous open). The process is taken at the beginning, which
 * runs in its context; the end mostly runs in softirq under somebody else's PID.
 *
 * The kernel does not run a program that it is already running on the same CPU. When a softirq
 * interrupts the handler and closes another socket, the hook is silent for that socket; so it is
 * for all of them while somebody has kprobes disarmed. So a second program, the net, looks at every
 * transition after the hook did, and does what the hook would have done where the entry shows that
 * it did not: an interrupt finds at most one of the two running.
 *
 * Constants come from user space: OFFSETOF_* (layout.h), those that the files below say, and WITH_*
 * for each program that is wanted: one of the two hooks, and what watches connect() returning where
 * that can be. What is not used is not compiled: that takes time.
 */
#include <uapi/linux/ptrace.h>

#ifdef WITH_tcp_v4_connect
#define RETURNS
#endif

#include "connect/ends.h"
#include "connect/errors.h"
#include "connect/execs.h"
#include "connect/passive.h"
#include "connect/progress.h"
#include "include/filter.h"

#ifdef PROBE_NAMES
#define DNS_PORT 53
static __always_inline void note_stream(void *sk); /* names.c */
#endif

static __always_inline void attribute(struct transition *t, const struct attempt *a)
{
	t->start_ns = a->start_ns;
	t->start_cpu = a->start_cpu;
	t->maker = a->maker;
	t->destination = a->destination;
}

/* SYN_SENT: runs in the context of the process that connects. */
static __always_inline void begin(const struct change *change)
{
	bool netted = change->slot == SLOT_NET;
	struct attempt a = {.state = BPF_TCP_SYN_SENT, .witnessed = netted};
	u64 key = (u64)change->sk;
	struct transition *t;
	bool watched;

	if (!may_begin())
		return;
	watched = read_watched(change->sk, &a.destination, &a.maker.netns);
#ifdef PROBE_NAMES
	if (a.destination.dport == DNS_PORT)
		note_stream(change->sk);
#endif
	if (!watched)
		return;
	a.start_ns = bpf_ktime_get_ns();
	a.start_cpu = bpf_get_smp_processor_id();
	a.owner = read_maker(&a.maker, a.start_ns, change->slot);
	if (!keep_attempt(key, &a))
		return;
	tally_own(&a.destination.netns, TALLY_OPENED);
	if (netted)
		tally(TALLY_TAKEN_UP);
	if (EVENTS == EVENTS_FAILURES || is_own(a.maker.pid))
		return;

	t = describe(change, a.start_ns);
	if (!t)
		return;
	attribute(t, &a);
	submit_or_lose(t);
}

/* The service's own attempt is told to nobody, but held against the kernel's counters. */
static __always_inline void go_on_own(const struct change *change, const struct attempt *a)
{
	u64 key = (u64)change->sk;

	if (change->newstate == BPF_TCP_CLOSE)
		tally_failed(change->sk, &a->destination.netns);
	else
		drop_attempt(key);
}

/*
 * A transition of a socket that has an entry. That of a closed one is left to the net: to it, no
 * entry means that nobody told of the socket.
 */
static __always_inline void go_on(const struct change *change, struct attempt *a)
{
	bool decided = is_handshake(change->oldstate) && change->newstate != BPF_TCP_SYN_RECV;
	bool established = decided && change->newstate == BPF_TCP_ESTABLISHED;
	u64 key = (u64)change->sk, now = bpf_ktime_get_ns(), owner = a->owner;
	struct transition *t;
	int error = a->error;

	a->state = change->newstate;
	if (change->newstate == BPF_TCP_SYN_RECV)
		note_crossing();
	if (!may_end(a->start_ns))
		return;
	if (is_own(a->maker.pid)) {
		go_on_own(change, a);
		return;
	}
	if (established) {
		count_established(&a->destination, a->start_ns, now);
		if (LOST_RACES)
			note_success(a, now);
	}
	/* Nearly all attempts end here, before anything is prepared for them. */
	if (EVENTS == EVENTS_FAILURES && established) {
		drop_attempt(key);
		return;
	}
	if (EVENTS != EVENTS_ALL && !decided)
		return;

	t = describe(change, now);
	if (!t)
		return;
	attribute(t, a);
	if (EVENTS != EVENTS_ALL && change->newstate != BPF_TCP_CLOSE)
		drop_attempt(key);
	if (!decided || established) {
		submit_or_lose(t);
		return;
	}
	fail(change->sk, t, error);
	if (!(t->flags & FLAG_UNSENT))
		submit_failure(t, owner, t->maker.uid);
	else if (EVENTS == EVENTS_ALL)
		submit_or_lose(t);
}

/* A failure without an entry: it was evicted, or the attempt began before the service. */
static __always_inline void adopt(const struct change *change)
{
	struct transition *t;
	u32 uid = 0, inum = 0;
	u16 protocol = 0;

	if (!may_adopt())
		return;
	/* inet_sock_set_state also tells of MPTCP's, DCCP's and SCTP's sockets. */
	READ_FIELD(protocol, change->sk, FIELD(sock, sk_protocol));
	if (protocol != IPPROTO_TCP_)
		return;
	t = describe(change, bpf_ktime_get_ns());
	if (!t)
		return;
	read_end(change->sk, t);
	if (t->sk_err && read_netns(change->sk) == OWN_NETNS)
		tally(TALLY_ABORTED);
	READ_FIELD(uid, change->sk, FIELD(sock, sk_uid));
	if (uid == SELF_UID || !read_watched(change->sk, &t->destination, &inum))
		return;
	if (!t->sk_err && is_unsent(change->sk, t))
		return;
	tally(TALLY_EVICTED);
	count_failed(&t->destination);
	submit_failure(t, 0, uid);
}

/* Whether the entry is of a socket in oldstate; a contradiction means that it is out of date. */
static __always_inline bool is_current(const struct attempt *a, u64 key, u8 oldstate)
{
	if (!a)
		return false;
	if (a->state == oldstate)
		return true;
	if (a->state != BPF_TCP_CLOSE) /* which the net alone missed */
		tally(TALLY_MISSED);
	drop_attempt(key);
	return false;
}

static __always_inline int handle(const struct change *change)
{
	u64 key = (u64)change->sk;
	struct attempt *a;

	if (change->newstate == BPF_TCP_SYN_SENT) {
		begin(change);
		return 0;
	}
	a = find_attempt(key);
	if (is_current(a, key, change->oldstate))
		go_on(change, a);
	return 0;
}

/*
 * A connect that succeeded is left alone from then on, one that was accepted from the beginning:
 * most transitions are of no interest.
 */
static __always_inline bool is_of_interest(const struct change *change)
{
	if (change->oldstate == BPF_TCP_SYN_RECV && EVENTS != EVENTS_ALL)
		return has_crossed();
	return EVENTS == EVENTS_ALL || change->newstate == BPF_TCP_SYN_SENT ||
	       change->oldstate == BPF_TCP_SYN_SENT;
}

#ifdef WITH_kprobe_tcp_set_state
/* void tcp_set_state(struct sock *sk, int state): the old state is still in the socket. */
int kprobe_tcp_set_state(struct pt_regs *ctx)
{
	struct change change = {
		.sk = (void *)PT_REGS_PARM1(ctx),
		.newstate = PT_REGS_PARM2(ctx),
		.slot = SLOT_HOOK,
		.early = true,
	};

	READ_FIELD(change.oldstate, change.sk, FIELD(sock_common, skc_state));
	return is_of_interest(&change) ? handle(&change) : 0;
}
#endif

#ifdef WITH_tracepoint_inet_sock_set_state
/*
 * sock:inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate), raw:
 * it needs no tracefs and no copy of the event's fields.
 */
int tracepoint_inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	struct change change = change_of(ctx, SLOT_HOOK);

	return is_of_interest(&change) ? handle(&change) : 0;
}
#endif

/* What the hook did not do: the entry shows the old state there, and only there. */
static __always_inline void do_for_hook(const struct change *change, struct attempt *a)
{
	u64 key = (u64)change->sk;

	if (a && a->state == change->newstate)
		return;
	if (is_current(a, key, change->oldstate)) {
		tally(TALLY_NETTED);
		go_on(change, a);
	} else if (is_passive_end(change)) {
		tally_passive(change);
	} else if (change->oldstate == BPF_TCP_SYN_SENT && change->newstate == BPF_TCP_CLOSE) {
		adopt(change);
	}
}

/* The net behind either hook, on the same tracepoint, which comes after the kprobe. */
int net_inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	struct change change = change_of(ctx, SLOT_NET);
	u64 key = (u64)change.sk;
	struct attempt *a;

	if (!is_of_interest(&change) && !is_passive_end(&change))
		return 0;
	a = find_attempt(key);
	if (change.newstate != BPF_TCP_SYN_SENT) {
		do_for_hook(&change, a);
		if (a && change.newstate == BPF_TCP_CLOSE)
			drop_attempt(key);
	} else if (a && !a->witnessed) {
		a->witnessed = true;
	} else { /* none, or one that was not removed in its time */
		begin(&change);
	}
	return 0;
}

#ifdef RETURNS
#include "connect/returns.h"
#endif
