/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the kernel keeps and what it tells: the structs shared with user space. Their shapes are
 * written a second time in tcp_trace/kernel/stream.py.
 *
 * An address is always 16 bytes: IPv4 in its v4-mapped form (::ffff:0:0/96), so that there is one
 * struct for both families and a v4-mapped socket is IPv4 without a special case.
 */
#pragma once

union address {
	u8 bytes[16];
	u32 words[4];
};

/*
 * A network namespace. The kernel gives an inode number again as soon as it is free, and with it
 * the same namespace to another owner; hash_mix is drawn at random for each (commit 355b98553789
 * "netns: provide pure entropy for net_hash_mix()", in v5.1). The service's own is 0 and 0.
 */
struct netns {
	u32 inum;
	u32 hash_mix;
};

/*
 * A place: the same address is another one in another network namespace, and over another
 * interface that the socket is bound to. That is how a socket gets into a VRF, and a link-local
 * address to its link. ifindex is 0 for a socket that is not bound.
 */
struct destination {
	union address daddr;
	struct netns netns;
	u32 ifindex;
	u16 dport; /* host order */
	u16 pad;
};

/*
 * Who made an attempt, all zero but netns where no process did. pid is what user space calls one:
 * the thread group, and comm its first thread's name; thread is the name of another one of its
 * threads, if that connects. born_ns is when the process was started (CLOCK_MONOTONIC), 0 where no
 * names are learned.
 */
struct maker {
	u64 cgroup_id;
	u64 born_ns;
	u32 pid;
	u32 is_foreign;
	u32 uid;
	u32 netns;
	char comm[16];
	char thread[16];
};

/*
 * One per socket address, from SYN_SENT until the attempt ends. state is the last one seen,
 * witnessed whether the net has seen it begin, error the last one that the application was told of.
 * An attempt is known by when and on which CPU it began: no CPU begins two at one time.
 */
struct attempt {
	u64 start_ns;
	u32 start_cpu;
	u32 pad;
	u16 state;
	u16 witnessed;
	int error;
	u64 owner; /* see struct cgroup_path; kept, since that may be evicted before the end */
	struct maker maker;
	struct destination destination;
};

/*
 * What is submitted. start_ns and maker are 0 where there is no entry for the attempt. Nothing in
 * it tells where the kernel keeps a socket.
 *
 * With newstate 0 it is no transition but an error that connect() returned, in sk_err: of an
 * attempt that ended in this call where start_ns is set, else of one that sent nothing.
 */
struct transition {
	u64 start_ns;
	u64 timestamp_ns; /* CLOCK_MONOTONIC */
	struct maker maker;
	struct destination destination;
	union address saddr;
	int sk_err;
	int sk_err_soft;
	u16 syns;
	u16 flags;
	u16 lport; /* host order, 0 while none is chosen */
	u8 oldstate;
	u8 newstate;
	u32 start_cpu;
	u32 pad;
};

/* connect() itself closed the socket, with no error in it, and will return one. */
#define FLAG_RETURNS 1

/* By its times the attempt may have lost a race against one of the same process. */
#define FLAG_RACED 2

/* The socket was closed, without an error, before anything was sent: nothing failed. */
#define FLAG_UNSENT 4

/* A process that connects to a port: what may race against each other. */
struct racer {
	u32 pid;
	u32 netns;
	u16 dport;
	u16 pad;
};

/*
 * The last success with one address. outlived_ns are earlier ones, and the last one, at least
 * RACE_OUTLIVED apart, the latest first: who was there then, and still is, does not race.
 */
struct rival {
	union address daddr;
	u64 start_ns;
	u64 established_ns;
	u64 outlived_ns[2];
};

/* Each address has its place; another one may have it, too, and then takes it over. */
#define RIVALS 8 /* a power of two */

struct rivals {
	struct rival of[RIVALS];
};

/*
 * The attempt that a thread's connect() closed last, for what that is about to return. Like
 * attempts, the map is not handed to user space: both know sockets by their addresses.
 */
struct ended {
	u64 skaddr;
	u64 start_ns;
	u32 start_cpu;
	u32 is_held; /* it was not submitted, and what connect() returns is all that is counted */
	struct destination destination;
};

struct counters {
	u64 attempts;
	u64 established;
	u64 failed;
	u64 last_established_ns; /* CLOCK_MONOTONIC */
};

#define LATENCY_SLOTS 32 /* a power of two; 2^31 us is more than any SYN timeout */

/*
 * From SYN_SENT to ESTABLISHED. Slot i counts what took 2^i to 2^(i+1) us; the first one has the
 * shorter ones, too.
 */
struct latency {
	u64 sum_ns;
	u64 log2_us[LATENCY_SLOTS];
};

/*
 * The names of a cgroup and of those above it, up to the root, which has none. A cgroup that lies
 * deeper has no names of its topmost ones here. A name has at most 255 bytes. root is the place of
 * the cgroup that is the root to the process that was seen there, CGROUP_LEVELS where it is none of
 * these: that one and those above it were named outside.
 *
 * owner is the id of the one of these at OWNER_LEVEL, or of the cgroup itself where it is not that
 * deep: a service, a pod, a user's manager. What lies deeper its owner makes as he likes. It is 0
 * for the root. Those that lie deeper than is looked have one owner together, OWNER_DEEP: nobody
 * escapes a budget by depth.
 */
#define CGROUP_LEVELS	  8
#define CGROUP_NAME	  256
#define CGROUP_LEVELS_MAX 32
#define OWNER_LEVEL	  3
#define OWNER_DEEP	  (~0ULL)

struct cgroup_path {
	u64 owner;
	char names[CGROUP_LEVELS][CGROUP_NAME];
	u32 root;
	u32 pad;
};

/*
 * Whose failures are told one by one, within a budget: a user's in one owner's
 * cgroups; a user's; an owner's.
 */
enum payer_kind { PAYER_BOTH, PAYER_USER, PAYER_OWNER, PAYERS };

struct payer {
	u64 owner;
	u32 uid;
	u32 kind;
};

/*
 * Failures beyond it, or that found the ring full, which are counted and not submitted: those of
 * one user, cgroup and destination that ended alike, in one slot of time (2^HELD_SLOT_BITS ns).
 * User space takes a slot when it is over, so that nothing is added while it does.
 */
#define HELD_SLOT_BITS 30

struct held_key {
	struct destination destination;
	u64 cgroup_id;
	u32 uid;
	u32 slot;
	int error;
	u16 flags;
	u8 newstate;
	u8 sent; /* whether it had a local port, and (2) sent a SYN */
};

struct held {
	u64 failures;
	u64 last_ns; /* CLOCK_MONOTONIC */
	struct transition first;
};
#define EXECS 32768 /* a power of two, and as many PIDs as a host has if nobody asked for more */

/* Key of the filter, longest prefix first: a port (0 for any), then an address. */
struct watch_key {
	u32 prefixlen; /* bits that count of what follows */
	u32 dport;     /* network order */
	union address daddr;
};

enum tally {
	TALLY_SUBMITTED,
	TALLY_LOST,	     /* neither ring nor `held` had room */
	TALLY_EVICTED,	     /* an attempt ended and its entry was gone */
	TALLY_NETTED,	     /* the hook was not run, the net was */
	TALLY_MISSED,	     /* an entry's socket had changed state unseen */
	TALLY_OPENED,	     /* attempts in the service's own network namespace, with its own */
	TALLY_UNSENT,	     /* of these, ended before a SYN was sent */
	TALLY_ABORTED,	     /* of these, ended by an error of the socket */
	TALLY_NAMES_LEARNED, /* addresses that were taken from DNS answers */
	TALLY_NAMES_LONG,    /* DNS answers to a name longer than NAME_BYTES */
	TALLY_TAKEN_UP,	     /* attempts that the net began: the hook was not run */
	TALLY_PASSIVE,	     /* AttemptFails of handshakes that somebody else began */
	TALLY_HELD,	     /* failures that were counted in `held` and not submitted */
	TALLY_HELD_FULL,     /* those beyond a budget that it had no place for */
	TALLY_NAMES_UNKEPT,  /* DNS answers that could not be taken in full, long names with them */
	TALLIES,
};

/* What user space asked for. */
#define EVENTS_FAILURES 0
#define EVENTS_ATTEMPTS 1
#define EVENTS_ALL	2
