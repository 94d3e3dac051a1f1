// SPDX-License-Identifier: Apache-2.0
/*
 * Watches outbound TCP connects: one handler for socket state changes, behind either of two hooks.
 *
 * An attempt begins when its socket enters SYN_SENT. It ends when the socket leaves the handshake
 * (SYN_SENT, or SYN_RECV in a simultaneous open). The process is read at the beginning, which runs
 * in its context. The end mostly runs in softirq, under the PID of an unrelated process.
 *
 * The kernel does not run a program that is already running on the same CPU. When a softirq
 * interrupts the handler and closes another socket, the hook does not run for that socket. Nor does
 * it run while kprobes are disarmed. So a second program, the net, runs after the hook on every
 * transition. Where the entry shows that the hook did not run, the net does its work. An interrupt
 * can find at most one of the two programs running.
 *
 * Constants from user space: OFFSETOF_* (layout.h), those named in the headers below, and WITH_*
 * for each wanted program: one of the two hooks, and the watch on connect() returning, where the
 * kernel supports it. Unwanted programs are left out, since compiling takes time.
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

/*
 * The service's own attempts are not reported, but the audit compares their count to the kernel's.
 */
static __always_inline void go_on_own(const struct change *change, const struct attempt *a)
{
	u64 key = (u64)change->sk;

	if (change->newstate == BPF_TCP_CLOSE)
		tally_failed(change->sk, &a->destination.netns);
	else
		drop_attempt(key);
}

/*
 * Handle a transition of a socket that has an entry. The entry of a closed socket is left for the
 * net to delete: for the net, a missing entry means that the hook did not report the socket.
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

/* Report a failure without an entry: it was evicted, or the attempt began before the service. */
static __always_inline void adopt(const struct change *change)
{
	struct transition *t;
	u32 uid = 0, inum = 0;
	u16 protocol = 0;

	if (!may_adopt())
		return;
	/* inet_sock_set_state also fires for MPTCP, DCCP and SCTP sockets. */
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

/* Whether the entry is for a socket in oldstate. If it contradicts the kernel, it is stale. */
static __always_inline bool is_current(const struct attempt *a, u64 key, u8 oldstate)
{
	if (!a)
		return false;
	if (a->state == oldstate)
		return true;
	if (a->state != BPF_TCP_CLOSE) /* only the net missed the CLOSE */
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
 * Whether a transition needs work. Most do not: those after a connect succeeded, and all of an
 * accepted connection.
 */
static __always_inline bool is_of_interest(const struct change *change)
{
	if (change->oldstate == BPF_TCP_SYN_RECV && EVENTS != EVENTS_ALL)
		return has_crossed();
	return EVENTS == EVENTS_ALL || change->newstate == BPF_TCP_SYN_SENT ||
	       change->oldstate == BPF_TCP_SYN_SENT;
}

#ifdef WITH_kprobe_tcp_set_state
/* void tcp_set_state(struct sock *sk, int state): skc_state still holds the old state. */
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
 * sock:inet_sock_set_state(const struct sock *sk, const int oldstate, const int newstate), attached
 * raw: it needs no tracefs and copies no event fields.
 */
int tracepoint_inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	struct change change = change_of(ctx, SLOT_HOOK);

	return is_of_interest(&change) ? handle(&change) : 0;
}
#endif

/* Do the hook's work if it did not run: only then does the entry still show the old state. */
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

/* The net, for either hook, on this tracepoint: it fires after the kprobe. */
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
	} else { /* none, or a stale one that was never removed */
		begin(&change);
	}
	return 0;
}

#ifdef RETURNS
#include "connect/returns.h"
#endif
