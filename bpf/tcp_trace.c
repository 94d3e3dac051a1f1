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
 * Constants come from user space: OFFSETOF_* (layout.h), EVENTS, LOST_RACES, OWN_NETNS, SELF_PID,
 * SELF_UID, BUDGET_BURST, BUDGET_PER_SECOND, RING_BYTES and the sizes of the maps; HOOK_KPROBE for
 * that hook in place of the tracepoint, RETURNS where connect() can be watched returning, LATENCY
 * where somebody reads how long connects take. What is not used is not compiled: that takes time.
 */
#include <uapi/linux/errqueue.h>
#include <uapi/linux/ptrace.h>
#include "layout.h"
#include "transition.h"

#define AF_INET_	 2
#define AF_INET6_	 10
#define IPPROTO_TCP_	 6
#define EINVAL_		 22
#define ECONNRESET_	 104
#define EADDRNOTAVAIL_	 99
#define ETIMEDOUT_	 110
#define SS_UNCONNECTED_	 1
#define PF_KTHREAD_	 0x00200000
#define CGROUP_INIT_INUM 0xeffffffb /* PROC_CGROUP_INIT_INO of include/linux/proc_ns.h */

/* BCC takes it in pages, of a size that headers have. */
#undef PAGE_SIZE
#define PAGE_SIZE 1
BPF_RINGBUF_OUTPUT(transitions, RING_BYTES);
BPF_TABLE("lru_hash", u64, struct attempt, attempts, ATTEMPTS_MAX);
BPF_TABLE("lru_hash", struct destination, struct counters, destinations, DESTINATIONS_MAX);
BPF_TABLE("lru_hash", u64, struct cgroup_path, cgroups, CGROUPS_MAX);
/* Too large for the stack; a slot for each program that another may interrupt (SLOT_*). */
BPF_PERCPU_ARRAY(new_cgroup, struct cgroup_path, 3);
BPF_PERCPU_ARRAY(drafts, struct transition, 2);
BPF_ARRAY(last_cgroup, u64, 1);
BPF_LPM_TRIE(watched, struct watch_key, u8, WATCH_MAX);
BPF_TABLE("lru_hash", struct racer, struct rivals, races, RACES_MAX);
BPF_ARRAY(no_rivals, struct rivals, 1); /* too large for the stack */
BPF_ARRAY(tallies, u64, TALLIES);
BPF_TABLE("lru_hash", struct payer, u64, budgets, BUDGETS_MAX);
BPF_TABLE("hash", struct held_key, struct held, held, HELD_MAX);
BPF_ARRAY(no_held, struct held, 1); /* too large for the stack */
BPF_ARRAY(execs, u64, EXECS);
#ifdef LATENCY
BPF_PERCPU_ARRAY(latency, struct latency, 1);
#if LATENCIES_MAX
BPF_TABLE("lru_hash", struct destination, struct latency, latencies, LATENCIES_MAX);
BPF_ARRAY(no_latency, struct latency, 1); /* too large for the stack */
#endif
#endif
#ifdef RETURNS
BPF_TABLE("lru_hash", u64, struct ended, ends, ENDS_MAX);
#endif

#ifdef NAMES
#define DNS_PORT 53
static __always_inline u64 read_born(void *task);  /* names.c */
static __always_inline void note_stream(void *sk); /* hearing.c */
#endif

static __always_inline void tally(u32 which)
{
	u64 *count = tallies.lookup(&which);
	if (count)
		__sync_fetch_and_add(count, 1);
}

/* What is held against the kernel's own counters, which each network namespace has for itself. */
static __always_inline void tally_own(const struct netns *netns, u32 which)
{
	if (!netns->inum)
		tally(which);
}

static __always_inline bool is_v4(const union address *a)
{
	return !a->words[0] && !a->words[1] && a->words[2] == bpf_htonl(0xffff);
}

static __always_inline bool is_same_address(const union address *a, const union address *b)
{
	return a->words[0] == b->words[0] && a->words[1] == b->words[1] &&
	       a->words[2] == b->words[2] && a->words[3] == b->words[3];
}

static __always_inline void read_saddr(void *sk, union address *saddr)
{
	u16 family = 0;

	READ_FIELD(family, sk, sock_common_skc_family);
	if (family == AF_INET6_) {
		READ_FIELD(*saddr, sk, sock_common_skc_v6_rcv_saddr);
		return;
	}
	saddr->words[2] = bpf_htonl(0xffff);
	READ_FIELD(saddr->words[3], sk, sock_common_skc_rcv_saddr);
}

static __always_inline u32 read_inum(void *net)
{
	u32 inum = 0;

	bpf_probe_read_kernel(&inum, sizeof(inum), net + OFFSETOF_net_ns + OFFSETOF_ns_common_inum);
	return inum;
}

/* What tells a namespace from all others: 0 and 0 for the service's own. Return its number. */
static __always_inline u32 identify_netns(void *net, struct netns *netns)
{
	u32 inum = read_inum(net);

	if (inum == OWN_NETNS)
		return inum;
	netns->inum = inum;
	READ_FIELD(netns->hash_mix, net, net_hash_mix);
	return inum;
}

static __always_inline u32 read_netns(void *sk)
{
	void *net = NULL;

	READ_FIELD(net, sk, sock_common_skc_net);
	return read_inum(net);
}

/* Whether user space asked for this destination: for its address on any port, or on this one. */
static __always_inline bool is_watched(const struct destination *to)
{
	struct watch_key key = {.prefixlen = 8 * (sizeof(key.dport) + sizeof(key.daddr))};

	key.daddr = to->daddr;
	if (watched.lookup(&key))
		return true;
	key.dport = bpf_htonl(to->dport);
	return watched.lookup(&key);
}

/*
 * A read is a call: begin() takes the fields of struct sock_common out of a copy of its beginning,
 * up to the last one of these. All of it would take more of the stack than there is.
 */
#define END_OF(field, type) (OFFSETOF_sock_common_##field + sizeof(type))
#define LATER(a, b)	    ((a) > (b) ? (a) : (b))
#define COMMON_BYTES                                                                               \
	LATER(LATER(LATER(END_OF(skc_family, u16), END_OF(skc_bound_dev_if, u32)),                 \
		    LATER(END_OF(skc_dport, u16), END_OF(skc_v6_daddr, union address))),           \
	      LATER(END_OF(skc_daddr, u32), END_OF(skc_net, void *)))

struct common {
	u8 bytes[COMMON_BYTES];
} __attribute__((aligned(8)));
#define IN_COMMON(common, field, type) (*(type *)((common).bytes + OFFSETOF_sock_common_##field))

static __always_inline bool copy_destination(const struct common *from, struct destination *to)
{
	u16 family = IN_COMMON(*from, skc_family, u16);

	to->ifindex = IN_COMMON(*from, skc_bound_dev_if, u32);
	to->dport = bpf_ntohs(IN_COMMON(*from, skc_dport, u16));
	if (family == AF_INET6_) {
		to->daddr = IN_COMMON(*from, skc_v6_daddr, union address);
		return true;
	}
	to->daddr.words[2] = bpf_htonl(0xffff);
	to->daddr.words[3] = IN_COMMON(*from, skc_daddr, u32);
	return family == AF_INET_;
}

/* The destination of a TCP socket and its namespace's number; false where it is not watched. */
static __always_inline bool read_watched(void *sk, struct destination *to, u32 *inum)
{
	struct common common;
	u16 protocol = 0;

	/* inet_sock_set_state also tells of MPTCP's, DCCP's and SCTP's sockets. */
	READ_FIELD(protocol, sk, sock_sk_protocol);
	if (protocol != IPPROTO_TCP_)
		return false;
	bpf_probe_read_kernel(&common, sizeof(common), sk);
	if (!copy_destination(&common, to) || !is_watched(to))
		return false;
	*inum = identify_netns(IN_COMMON(common, skc_net, void *), &to->netns);
	return true;
}

/*
 * Budgets for failures, so that nobody's hide another's: whoever makes more than he has a budget
 * for has the rest counted, and not told one by one.
 *
 * A budget is a token bucket kept as the time at which it would be full again (GCRA): BUDGET_BURST
 * at once, then BUDGET_PER_SECOND. It is that of a user in the cgroups of one owner; WIDER times
 * that is the budget of a user in all cgroups, who may have many sessions, and of an owner's
 * cgroups for all users, whom a container's root can be. Looked at for failures alone. The maps are
 * bounded; what is evicted begins anew, with a full bucket.
 */
#define SECOND	    1000000000ULL
#define WIDER	    4
#define INTERVAL    (SECOND / BUDGET_PER_SECOND)
#define BUDGET_SPAN (BUDGET_BURST * INTERVAL)

/* Take one from a budget; false where there is nothing left. Two CPUs at once may take the same. */
static __always_inline bool pay(const struct payer *payer, u64 interval, u64 now)
{
	u64 *full_ns = budgets.lookup((struct payer *)payer);

	if (!full_ns) {
		u64 first = now + interval;

		budgets.update((struct payer *)payer, &first);
		return true;
	}
	if (*full_ns > now + BUDGET_SPAN)
		return false;
	*full_ns = (*full_ns > now ? *full_ns : now) + interval;
	return true;
}

/* Whether a failure is within the budgets of whose it is. */
static __always_inline bool is_affordable(u64 owner, u32 uid, u64 now)
{
	struct payer both = {.owner = owner, .uid = uid, .kind = PAYER_BOTH};
	struct payer user = {.uid = uid, .kind = PAYER_USER};
	struct payer cgroup = {.owner = owner, .kind = PAYER_OWNER};

	return pay(&both, INTERVAL, now) && pay(&user, INTERVAL / WIDER, now) &&
	       (!owner || pay(&cgroup, INTERVAL / WIDER, now));
}

/* Count a failure for whoever asks once a second; false where there is no place for it. */
static __always_inline bool hold_back(const struct transition *t, u32 uid)
{
	struct held_key key = {
		.destination = t->destination,
		.cgroup_id = t->maker.cgroup_id,
		.uid = uid,
		.slot = t->timestamp_ns >> HELD_SLOT_BITS,
		.error = t->sk_err ?: t->sk_err_soft,
		.flags = t->flags,
		.newstate = t->newstate,
		.sent = !!t->lport | !!t->syns << 1,
	};
	struct held *known = held.lookup(&key), *none;
	bool is_first = false;
	u32 only = 0;

	if (!known) {
		none = no_held.lookup(&only);
		/* Where two CPUs are first at once, one of them is. */
		is_first = none && !held.insert(&key, none);
		known = held.lookup(&key);
	}
	if (!known)
		return false;
	if (is_first)
		known->first = *t;
	known->last_ns = t->timestamp_ns;
	__sync_fetch_and_add(&known->failures, 1);
	tally(TALLY_HELD);
	return true;
}

/* Tell of a transition; false where the ring is full. */
static __always_inline bool submit(struct transition *t)
{
	if (transitions.ringbuf_output(t, sizeof(*t), 0))
		return false;
	tally(TALLY_SUBMITTED);
	return true;
}

/* Tell of what nothing else counts. */
static __always_inline void submit_or_lose(struct transition *t)
{
	if (!submit(t))
		tally(TALLY_LOST);
}

/* Whether what connect() returns will be counted in place of this: only that says why. */
static __always_inline bool is_left_to_return(const struct transition *t)
{
#ifdef RETURNS
	u64 thread = bpf_get_current_pid_tgid();
	struct ended *ended;

	if (!(t->flags & FLAG_RETURNS))
		return false;
	ended = ends.lookup(&thread);
	if (ended)
		ended->is_held = true;
	return ended;
#else
	return false;
#endif
}

/*
 * A failure of `uid`: the maker's, or the socket's where he is not known; then owner is 0, too.
 * What is beyond a budget is counted, and so is what a full ring does not take.
 */
static __always_inline void submit_failure(struct transition *t, u64 owner, u32 uid)
{
	bool affordable = is_affordable(owner, uid, t->timestamp_ns);

	if (affordable && submit(t))
		return;
	if (!is_left_to_return(t) && !hold_back(t, uid))
		tally(affordable ? TALLY_LOST : TALLY_HELD_FULL);
}

/*
 * How many SYNs TCP sent: SYN_SENT comes before the first one, and there may be none. total_retrans
 * counts also those that found no memory, segs_out also the answer to a SYN that crossed ours.
 */
static __always_inline u32 read_syns(void *sk)
{
	u32 sent = 0, retransmits = 0;

	READ_FIELD(sent, sk, tcp_sock_segs_out);
	READ_FIELD(retransmits, sk, tcp_sock_total_retrans);
	return sent < retransmits + 1 ? sent : retransmits + 1;
}

static __always_inline void read_end(void *sk, struct transition *t)
{
	READ_FIELD(t->sk_err, sk, sock_sk_err);
	READ_FIELD(t->sk_err_soft, sk, sock_sk_err_soft);
	t->syns = read_syns(sk);
}

/* The owner of a cgroup, by its node: see struct cgroup_path. */
static __always_inline u64 owner_of(void *kn)
{
	/* Of the node, and of those that lead to it from below. */
	u64 ids[OWNER_LEVEL + 1] = {}, leaf = 0;
	void *parent;
	int i;

	READ_FIELD(leaf, kn, kernfs_node_id);
	/*
	 * Left at its end alone: the verifier of 6.1 wants the way back to be a jump, and for
	 * another way out the compiler may lay out the loop so that there is none.
	 */
#pragma clang loop unroll(disable)
	for (i = 0; kn && i < CGROUP_LEVELS_MAX; i++) {
		ids[3] = ids[2];
		ids[2] = ids[1];
		ids[1] = ids[0];
		READ_FIELD(ids[0], kn, kernfs_node_id);
		parent = NULL;
		READ_FIELD(parent, kn, kernfs_node_parent);
		kn = parent;
	}
	if (kn)
		return OWNER_DEEP;
	if (i > OWNER_LEVEL)
		return ids[OWNER_LEVEL];
	return i > 1 ? leaf : 0;
}

static __always_inline u64 read_owner(u64 cgroup_id)
{
	struct cgroup_path *path = cgroups.lookup(&cgroup_id);

	return path ? path->owner : 0;
}

static __always_inline void *read_cgroup_ns(void *task)
{
	void *nsproxy = NULL, *cgroup_ns = NULL;

	READ_TASK(nsproxy, task, task_struct_nsproxy);
	READ_TASK(cgroup_ns, nsproxy, nsproxy_cgroup_ns);
	return cgroup_ns;
}

/* The kernfs node of the cgroup that is the root to the current process. */
static __always_inline void *read_cgroup_root(void)
{
	void *cset = NULL, *cgroup = NULL, *kn = NULL;

	READ_FIELD(cset, read_cgroup_ns(current_task()), cgroup_namespace_root_cset);
	READ_FIELD(cgroup, cset, css_set_dfl_cgrp);
	READ_FIELD(kn, cgroup, cgroup_kn);
	return kn;
}

/*
 * Whether the current process is not one of the host's, but in a container of any kind: it has its
 * own idea of what PIDs there are, or of what cgroups.
 */
static __always_inline bool is_foreign(void *task)
{
	void *pid = NULL, *cgroup_ns;
	u32 level = 0, inum = 0;

	READ_TASK(pid, task, task_struct_thread_pid);
	READ_TASK(level, pid, pid_level);
	if (level)
		return true;
	cgroup_ns = read_cgroup_ns(task);
	READ_TASK(inum, cgroup_ns + OFFSETOF_cgroup_namespace_ns, ns_common_inum);
	return inum != CGROUP_INIT_INUM;
}

/*
 * Keep the path of the current process's cgroup, under the id that bpf_get_current_cgroup_id()
 * gives it: by the time somebody asks, the process and its cgroup may be gone. An id is never
 * given twice and a cgroup never renamed, so once is enough.
 */
static __always_inline void keep_cgroup(u64 id, u32 slot)
{
	void *cset = NULL, *cgroup = NULL, *kn = NULL, *root, *parent, *name;
	struct cgroup_path *path;
	u64 *last, kn_id = 0;
	u32 only = 0;
	int i;

	/* Mostly it is the last one's again, and an array is looked into without a call. */
	last = last_cgroup.lookup(&only);
	if (!last || *last == id)
		return;
	if (cgroups.lookup(&id)) {
		*last = id;
		return;
	}
	path = new_cgroup.lookup(&slot);
	if (!path)
		return;
	READ_FIELD(cset, bpf_get_current_task(), task_struct_cgroups);
	READ_FIELD(cgroup, cset, css_set_dfl_cgrp);
	READ_FIELD(kn, cgroup, cgroup_kn);
	READ_FIELD(kn_id, kn, kernfs_node_id);
	if (kn_id != id) /* it was moved just now */
		return;
	path->owner = owner_of(kn);
	root = read_cgroup_root();
	path->root = CGROUP_LEVELS;
#pragma clang loop unroll(disable)
	for (i = 0; i < CGROUP_LEVELS; i++) {
		parent = NULL;
		name = NULL;
		READ_FIELD(parent, kn, kernfs_node_parent);
		READ_FIELD(name, kn, kernfs_node_name);
		path->names[i][0] = 0;
		if (parent)
			bpf_probe_read_kernel_str(path->names[i], CGROUP_NAME, name);
		if (kn == root)
			path->root = i;
		kn = parent;
	}
	cgroups.update(&id, path);
}

/* A slot for each program that may be preempted by another: they must not share their draft. */
#define SLOT_HOOK   0
#define SLOT_NET    1
#define SLOT_RETURN 2

/*
 * Who runs now, nobody where that is the kernel itself (kworker, for a file system): whom it serves
 * cannot be known. A worker of io_uring is a thread of the process that it works for.
 */
static __always_inline void read_maker(struct maker *maker, u32 slot)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	void *task = current_task(), *leader = NULL;
	u32 flags = 0;

	READ_TASK(flags, task, task_struct_flags);
	if (flags & PF_KTHREAD_)
		return;
	maker->pid = pid_tgid >> 32;
	maker->uid = bpf_get_current_uid_gid();
	maker->cgroup_id = bpf_get_current_cgroup_id();
#ifdef NAMES
	maker->born_ns = read_born(task);
#endif
	maker->is_foreign = is_foreign(task);
	if (maker->pid == (u32)pid_tgid) {
		bpf_get_current_comm(&maker->comm, sizeof(maker->comm));
	} else {
		bpf_get_current_comm(&maker->thread, sizeof(maker->thread));
		READ_TASK(leader, task, task_struct_group_leader);
		READ_FIELD(maker->comm, leader, task_struct_comm);
	}
	keep_cgroup(maker->cgroup_id, slot);
}

static __always_inline struct counters *counters_of(struct destination *to)
{
	struct counters *c = destinations.lookup(to);

	/* Not zeroed where there is one, which is nearly always. */
	if (c)
		return c;
	struct counters zero = {};

	return destinations.lookup_or_try_init(to, &zero);
}

#ifdef LATENCY
static __always_inline void add_latency(struct latency *l, u64 took_ns)
{
	/* The mask is for the verifier: kernel 6.1's loses track of a bound set by comparison. */
	u32 slot = (bpf_log2l(took_ns / 1000 | 1) - 1) & (LATENCY_SLOTS - 1);

	__sync_fetch_and_add(&l->sum_ns, took_ns);
	__sync_fetch_and_add(&l->log2_us[slot], 1);
}

static __always_inline void count_latency(struct destination *to, u64 took_ns)
{
	u32 zero = 0;
	struct latency *l = latency.lookup(&zero);

	if (l)
		add_latency(l, took_ns);
#if LATENCIES_MAX
	l = latencies.lookup(to);
	if (!l) {
		struct latency *none = no_latency.lookup(&zero);

		if (none)
			l = latencies.lookup_or_try_init(to, none);
	}
	if (l)
		add_latency(l, took_ns);
#endif
}
#endif

static __always_inline void count_established(struct destination *to, u64 start_ns, u64 now)
{
	struct counters *c = counters_of(to);

#ifdef LATENCY
	count_latency(to, now - start_ns);
#endif
	if (!c)
		return;
	c->last_established_ns = now;
	__sync_fetch_and_add(&c->established, 1);
}

static __always_inline void count_failed(struct destination *to)
{
	struct counters *c = counters_of(to);

	if (c)
		__sync_fetch_and_add(&c->failed, 1);
}

/* The service's own connects would make an alert of every alert that fails. */
static __always_inline bool is_self(void)
{
	return bpf_get_current_pid_tgid() >> 32 == SELF_PID;
}

/*
 * What a hook tells, or the net; slot is which of them. `early` where it tells so before the socket
 * changes.
 */
struct change {
	void *sk;
	u32 slot;
	u8 oldstate;
	u8 newstate;
	bool early;
};

/* skc_num is already 0 when the tracepoint tells of a CLOSE; its event takes inet_sport, too. */
static __always_inline u16 read_lport(const struct change *change)
{
	u16 port = 0;

	if (change->early) {
		READ_FIELD(port, change->sk, sock_common_skc_num);
		return port;
	}
	READ_FIELD(port, change->sk, inet_sock_inet_sport);
	return bpf_ntohs(port);
}

/* What is submitted, but for what is known of the attempt; NULL never, but to the verifier. */
static __always_inline struct transition *describe(const struct change *change, u64 now)
{
	u32 slot = change->slot;
	struct transition *t = drafts.lookup(&slot);

	if (!t)
		return NULL;
	__builtin_memset(t, 0, sizeof(*t));
	t->timestamp_ns = now;
	t->oldstate = change->oldstate;
	t->newstate = change->newstate;
	t->lport = read_lport(change);
	read_saddr(change->sk, &t->saddr);
	return t;
}

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
	struct counters *c;
	bool watched;

	watched = read_watched(change->sk, &a.destination, &a.maker.netns);
#ifdef NAMES
	if (a.destination.dport == DNS_PORT)
		note_stream(change->sk);
#endif
	if (!watched)
		return;
	a.start_ns = bpf_ktime_get_ns();
	a.start_cpu = bpf_get_smp_processor_id();
	read_maker(&a.maker, change->slot);
	a.owner = read_owner(a.maker.cgroup_id);
	if (attempts.update(&key, &a))
		return;
	tally_own(&a.destination.netns, TALLY_OPENED);
	if (netted)
		tally(TALLY_TAKEN_UP);
	if (a.maker.pid == SELF_PID)
		return;

	c = counters_of(&a.destination);
	if (c)
		__sync_fetch_and_add(&c->attempts, 1);
	if (EVENTS == EVENTS_FAILURES)
		return;

	t = describe(change, a.start_ns);
	if (!t)
		return;
	attribute(t, &a);
	submit_or_lose(t);
}

/* Whether what is left is the handshake: only there an attempt succeeds or fails. */
static __always_inline bool is_handshake(u8 state)
{
	return state == BPF_TCP_SYN_SENT || state == BPF_TCP_SYN_RECV;
}

/*
 * Whether connect() is what closes the socket. It says that a socket connects (SS_CONNECTING) when
 * it has sent the SYN, and holds the socket until then. Whoever closes it later, by close(),
 * shutdown() or connect(AF_UNSPEC), finds that said; so does a timer, or an answer.
 */
static __always_inline bool is_in_connect(void *sk)
{
	void *socket = NULL;
	u32 state = 0;

	READ_FIELD(socket, sk, sock_sk_socket);
	READ_FIELD(state, socket, socket_state);
	return state == SS_UNCONNECTED_;
}

/*
 * connect() gave up, and told nobody but its caller why. One case shows: a port that was chosen
 * before is in use for this destination. It is the first thing that connect() finds out, before it
 * gives the socket a hash, which a socket has for good.
 */
static __always_inline void give_up(void *sk, struct transition *t)
{
	u32 txhash = 0;

	READ_FIELD(txhash, sk, sock_sk_txhash);
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

/* Whether a write was under way that connects, too: the first one of TCP Fast Open. */
static __always_inline bool is_fast_opening(void *sk)
{
	void *request = NULL;

	READ_FIELD(request, sk, tcp_sock_fastopen_req);
	return request;
}

/*
 * Happy Eyeballs (RFC 8305): a client connects to several addresses of one name at about the same
 * time, and closes what is left when one is established. Here no name is known; by its times an
 * attempt lost a race where the same process connected to another address on the same port, both
 * began within RACE_BEGIN, and the loser was closed within RACE_END after the success. Who lives on
 * for RACE_OUTLIVED after a success with that address does not race against it: the process goes
 * there anyway.
 */
#define RACE_BEGIN    2000000000ULL
#define RACE_END      200000000ULL
#define RACE_OUTLIVED 400000000ULL

static __always_inline struct racer racer_of(const struct maker *maker,
					     const struct destination *to)
{
	struct racer racer = {.pid = maker->pid, .netns = maker->netns, .dport = to->dport};

	return racer;
}

static __always_inline struct rivals *rivals_of(struct racer *racer)
{
	struct rivals *rivals = races.lookup(racer);
	u32 only = 0;

	if (rivals)
		return rivals;
	rivals = no_rivals.lookup(&only);
	return rivals ? races.lookup_or_try_init(racer, rivals) : NULL;
}

/* In place: an update would take a new element, which costs several times as much. */
static __always_inline void note_success(const struct attempt *a, u64 now)
{
	struct racer racer = racer_of(&a->maker, &a->destination);
	struct rivals *rivals = rivals_of(&racer);
	const union address *to = &a->destination.daddr;
	u32 place = to->words[0] ^ to->words[1] ^ to->words[2] ^ to->words[3];
	struct rival *rival;

	if (!rivals)
		return;
	place ^= place >> 16;
	place ^= place >> 8;
	rival = &rivals->of[place & (RIVALS - 1)];
	if (!is_same_address(&rival->daddr, to)) {
		rival->daddr = *to;
		rival->outlived_ns[1] = 0;
		rival->outlived_ns[0] = now;
	} else if (now - rival->outlived_ns[0] > RACE_OUTLIVED) {
		rival->outlived_ns[1] = rival->outlived_ns[0];
		rival->outlived_ns[0] = now;
	}
	rival->start_ns = a->start_ns;
	rival->established_ns = now;
}

static __always_inline bool outlived(const struct transition *t, u64 success_ns)
{
	return success_ns > t->start_ns && t->timestamp_ns - success_ns > RACE_OUTLIVED;
}

static __always_inline bool has_lost(const struct transition *t, const struct rival *rival)
{
	return rival->established_ns > t->start_ns &&
	       t->timestamp_ns - rival->established_ns < RACE_END &&
	       rival->start_ns + RACE_BEGIN > t->start_ns &&
	       t->start_ns + RACE_BEGIN > rival->start_ns && !outlived(t, rival->outlived_ns[0]) &&
	       !outlived(t, rival->outlived_ns[1]) &&
	       !is_same_address(&rival->daddr, &t->destination.daddr);
}

static __always_inline bool lost_race(const struct transition *t)
{
	struct racer racer = racer_of(&t->maker, &t->destination);
	struct rivals *rivals = races.lookup(&racer);
	bool lost = false;
	u32 i;

	if (!rivals)
		return false;
#pragma clang loop unroll(disable)
	for (i = 0; i < RIVALS; i++)
		lost |= has_lost(t, &rivals->of[i]);
	return lost;
}

/*
 * Count an attempt that failed as the kernel does: ActiveOpens where a SYN was sent, AttemptFails
 * where the kernel ended it, which leaves an error in the socket. A connect() that finds the port
 * in use, or that Fast Open puts off, sends nothing.
 */
static __always_inline void tally_failed(void *sk, const struct netns *netns)
{
	u32 segs_out = 0;
	int error = 0;

	if (netns->inum)
		return;
	READ_FIELD(segs_out, sk, tcp_sock_segs_out);
	READ_FIELD(error, sk, sock_sk_err);
	if (!segs_out)
		tally(TALLY_UNSENT);
	if (error)
		tally(TALLY_ABORTED);
}

/* Whether a socket that no error ended was closed before anything was sent, and not for that. */
static __always_inline bool is_unsent(void *sk, const struct transition *t)
{
	return !t->syns && !is_in_connect(sk) && !is_fast_opening(sk);
}

static __always_inline void fail(void *sk, struct transition *t, int error)
{
	tally_failed(sk, &t->destination.netns);
	read_end(sk, t);
	/* The kernel calls it a time-out where the application took the error out of the socket. */
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

/* The service's own attempt is told to nobody, but held against the kernel's counters. */
static __always_inline void go_on_own(const struct change *change, const struct attempt *a)
{
	u64 key = (u64)change->sk;

	if (change->newstate == BPF_TCP_CLOSE)
		tally_failed(change->sk, &a->destination.netns);
	else
		attempts.delete(&key);
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
	if (a->maker.pid == SELF_PID) {
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
		attempts.delete(&key);
		return;
	}
	if (EVENTS != EVENTS_ALL && !decided)
		return;

	t = describe(change, now);
	if (!t)
		return;
	attribute(t, a);
	if (EVENTS != EVENTS_ALL && change->newstate != BPF_TCP_CLOSE)
		attempts.delete(&key);
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

	/* inet_sock_set_state also tells of MPTCP's, DCCP's and SCTP's sockets. */
	READ_FIELD(protocol, change->sk, sock_sk_protocol);
	if (protocol != IPPROTO_TCP_)
		return;
	t = describe(change, bpf_ktime_get_ns());
	if (!t)
		return;
	read_end(change->sk, t);
	if (t->sk_err && read_netns(change->sk) == OWN_NETNS)
		tally(TALLY_ABORTED);
	READ_FIELD(uid, change->sk, sock_sk_uid);
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
	attempts.delete(&key);
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
	a = attempts.lookup(&key);
	if (is_current(a, key, change->oldstate))
		go_on(change, a);
	return 0;
}

static __always_inline struct change change_of(const struct bpf_raw_tracepoint_args *ctx, u32 slot)
{
	struct change change = {
		.slot = slot,
		.sk = (void *)ctx->args[0],
		.oldstate = ctx->args[1],
		.newstate = ctx->args[2],
	};

	return change;
}

/* A connect that succeeded is left alone from then on: most transitions are of no interest. */
static __always_inline bool is_of_interest(const struct change *change)
{
	return EVENTS == EVENTS_ALL || change->newstate == BPF_TCP_SYN_SENT ||
	       is_handshake(change->oldstate);
}

#ifdef HOOK_KPROBE
/* void tcp_set_state(struct sock *sk, int state): the old state is still in the socket. */
int kprobe_tcp_set_state(struct pt_regs *ctx)
{
	struct change change = {
		.sk = (void *)PT_REGS_PARM1(ctx),
		.newstate = PT_REGS_PARM2(ctx),
		.slot = SLOT_HOOK,
		.early = true,
	};

	READ_FIELD(change.oldstate, change.sk, sock_common_skc_state);
	return is_of_interest(&change) ? handle(&change) : 0;
}
#else
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

/* The error in the ICMP message that was queued last, 0 where it was none. */
static __always_inline int read_icmp_error(void *sk)
{
	struct sock_extended_err ee = {};
	void *skb = NULL;

	READ_FIELD(skb, sk + OFFSETOF_sock_sk_error_queue, sk_buff_head_prev);
	if (skb == sk + OFFSETOF_sock_sk_error_queue)
		return 0;
	READ_FIELD(ee, skb + OFFSETOF_sk_buff_cb, sock_exterr_skb_ee);
	if (ee.ee_origin != SO_EE_ORIGIN_ICMP && ee.ee_origin != SO_EE_ORIGIN_ICMP6)
		return 0;
	return ee.ee_errno;
}

/*
 * The application is told of an error, soft or not. It may take it out of the socket (SO_ERROR)
 * before the socket is closed, by the kernel or by itself; then this is where it was seen. Of an
 * ICMP message it is told before the error is in the socket.
 */
static __always_inline int note_error(void *sk)
{
	u64 key = (u64)sk;
	struct attempt *a;
	u8 state = 0;
	int error = 0;

	READ_FIELD(state, sk, sock_common_skc_state);
	if (!is_handshake(state))
		return 0;
	a = attempts.lookup(&key);
	if (!a)
		return 0;
	READ_FIELD(error, sk, sock_sk_err);
	if (!error)
		error = read_icmp_error(sk);
	if (error)
		a->error = error;
	return 0;
}

/* sock:inet_sk_error_report(const struct sock *sk), since commit e6a3e4434000 (in v5.14). */
int error_inet_sk_error_report(struct bpf_raw_tracepoint_args *ctx)
{
	return note_error((void *)ctx->args[0]);
}

/* void sock_def_error_report(struct sock *sk): what tells it, where there is no tracepoint. */
int error_sock_def_error_report(struct pt_regs *ctx)
{
	return note_error((void *)PT_REGS_PARM1(ctx));
}

/* An end that AttemptFails may count although somebody else began the handshake. */
static __always_inline bool is_passive_end(const struct change *change)
{
	return change->newstate == BPF_TCP_CLOSE &&
	       (change->oldstate == BPF_TCP_SYN_RECV || change->oldstate == BPF_TCP_FIN_WAIT1);
}

/*
 * Count as AttemptFails does: an error in tcp_done(), and before it, where Fast Open began the
 * handshake, a reset in tcp_check_req(). That one also in FIN_WAIT1, where a socket without a
 * round-trip time has had no answer to its SYN-ACK.
 */
static __always_inline void tally_passive(const struct change *change)
{
	u32 srtt_us = 0;
	u16 protocol = 0;
	int error = 0;

	READ_FIELD(protocol, change->sk, sock_sk_protocol);
	READ_FIELD(error, change->sk, sock_sk_err);
	READ_FIELD(srtt_us, change->sk, tcp_sock_srtt_us);
	if (protocol != IPPROTO_TCP_ || !error || read_netns(change->sk) != OWN_NETNS)
		return;
	if (change->oldstate == BPF_TCP_SYN_RECV)
		tally(TALLY_PASSIVE);
	else if (srtt_us)
		return;
	if (error == ECONNRESET_)
		tally(TALLY_PASSIVE);
}

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

/*
 * sched:sched_process_exec: when a process became another program, so that nobody takes that one's
 * command line for the one that connected. A PID shares its place with others: what happened to
 * any of them may have happened to it.
 */
int exec_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	u32 place = (bpf_get_current_pid_tgid() >> 32) & (EXECS - 1);
	u64 *last = execs.lookup(&place);

	if (last)
		*last = bpf_ktime_get_ns();
	return 0;
}

/* The net behind either hook, on the same tracepoint, which comes after the kprobe. */
int net_inet_sock_set_state(struct bpf_raw_tracepoint_args *ctx)
{
	struct change change = change_of(ctx, SLOT_NET);
	u64 key = (u64)change.sk;
	struct attempt *a;

	if (!is_of_interest(&change) && !is_passive_end(&change))
		return 0;
	a = attempts.lookup(&key);
	if (change.newstate != BPF_TCP_SYN_SENT) {
		do_for_hook(&change, a);
		if (a && change.newstate == BPF_TCP_CLOSE)
			attempts.delete(&key);
	} else if (a && !a->witnessed) {
		a->witnessed = true;
	} else { /* none, or one that was not removed in its time */
		begin(&change);
	}
	return 0;
}

#ifdef RETURNS
/* The shortest addresses that tcp_v4_connect() and tcp_v6_connect() take: SIN6_LEN_RFC2133. */
#define SIN_LEN	 16
#define SIN6_LEN 24

/*
 * The destination that a process asked for; false where that is none. The kernel has copied
 * addr_len bytes from it, and what lies behind them is the kernel's own. An address of another
 * family than the socket's it refuses: a mistake (EAFNOSUPPORT), of which no bytes are a
 * destination. For a v4-mapped address tcp_v6_connect() calls tcp_v4_connect(), and tells itself.
 */
static __always_inline bool read_asked(void *sk, void *uaddr, int addr_len, struct destination *to)
{
	u16 family = 0, asked = 0, dport = 0;

	READ_FIELD(family, sk, sock_common_skc_family);
	if (addr_len < (family == AF_INET6_ ? SIN6_LEN : SIN_LEN))
		return false;
	bpf_probe_read_kernel(&asked, sizeof(asked), uaddr);
	if (asked != family)
		return false;
	READ_FIELD(to->ifindex, sk, sock_common_skc_bound_dev_if);
	bpf_probe_read_kernel(&dport, sizeof(dport), uaddr + 2);
	to->dport = bpf_ntohs(dport);
	if (family == AF_INET6_) {
		bpf_probe_read_kernel(&to->daddr, sizeof(to->daddr), uaddr + 8);
		return true;
	}
	to->daddr.words[2] = bpf_htonl(0xffff);
	bpf_probe_read_kernel(&to->daddr.words[3], sizeof(u32), uaddr + 4);
	return family == AF_INET_;
}

/*
 * Whether the attempt was made for this connect(), and is not one whose return was not seen. Who
 * asks for 0.0.0.0 is led to an address of this host.
 */
static __always_inline bool leads_to(const struct destination *asked, const struct destination *to)
{
	bool is_any = is_v4(&asked->daddr) && !asked->daddr.words[3];

	return asked->dport == to->dport && asked->ifindex == to->ifindex &&
	       asked->netns.inum == to->netns.inum && asked->netns.hash_mix == to->netns.hash_mix &&
	       (is_any || is_same_address(&asked->daddr, &to->daddr));
}

/*
 * connect() returned an error. Mostly it sent nothing; if its attempt had begun and was closed in
 * this call, the transition was submitted, and this tells its error.
 */
static __always_inline int on_return(void *sk, void *uaddr, int addr_len, int result)
{
	struct transition t = {.sk_err = -result};
	u64 thread = bpf_get_current_pid_tgid();
	struct ended *ended;
	void *net = NULL;

	if (!read_asked(sk, uaddr, addr_len, &t.destination) || !is_watched(&t.destination))
		return 0;
	READ_FIELD(net, sk, sock_common_skc_net);
	t.maker.netns = identify_netns(net, &t.destination.netns);
	t.timestamp_ns = bpf_ktime_get_ns();
	read_maker(&t.maker, SLOT_RETURN);
	ended = ends.lookup(&thread);
	if (!ended || ended->skaddr != (u64)sk || !leads_to(&t.destination, &ended->destination)) {
		count_failed(&t.destination);
		submit_failure(&t, read_owner(t.maker.cgroup_id), t.maker.uid);
		return 0;
	}
	t.destination = ended->destination;
	if (ended->is_held) {
		if (!hold_back(&t, t.maker.uid))
			tally(TALLY_HELD_FULL);
	} else {
		t.start_ns = ended->start_ns;
		t.start_cpu = ended->start_cpu;
		submit_or_lose(&t);
	}
	ends.delete(&thread);
	return 0;
}

/* Loaded a second time for tcp_v6_connect(), whose arguments are the same. */
KRETFUNC_PROBE(tcp_v4_connect, void *sk, void *uaddr, int addr_len, int result)
{
	bool failed = result < 0 && result != -EINVAL_;

	return failed && !is_self() ? on_return(sk, uaddr, addr_len, result) : 0;
}
#endif
