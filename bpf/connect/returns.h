/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "connect/ends.h"

#define EINVAL_ 22

/* The shortest addresses that tcp_v4_connect() and tcp_v6_connect() take: SIN6_LEN_RFC2133. */
#define SIN_LEN	 16
#define SIN6_LEN 24

/*
 * Read the destination that the process asked for; false if there is none. The kernel copied
 * addr_len bytes of the address; the bytes behind them are the kernel's own. The kernel refuses an
 * address of another family than the socket's (EAFNOSUPPORT), so that address is no destination.
 * For a v4-mapped address tcp_v6_connect() calls tcp_v4_connect(), which reports it.
 */
static __always_inline bool read_asked(void *sk, void *uaddr, int addr_len, struct destination *to)
{
	u16 family = 0, asked = 0, dport = 0;

	READ_FIELD(family, sk, FIELD(sock_common, skc_family));
	if (addr_len < (family == AF_INET6_ ? SIN6_LEN : SIN_LEN))
		return false;
	bpf_probe_read_kernel(&asked, sizeof(asked), uaddr);
	if (asked != family)
		return false;
	READ_FIELD(to->ifindex, sk, FIELD(sock_common, skc_bound_dev_if));
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
 * Whether the attempt was made for this connect(), and not for an earlier one whose return was
 * missed. connect() to 0.0.0.0 goes to an address of this host.
 */
static __always_inline bool leads_to(const struct destination *asked, const struct destination *to)
{
	bool is_any = is_v4(&asked->daddr) && !asked->daddr.words[3];

	return asked->dport == to->dport && asked->ifindex == to->ifindex &&
	       asked->netns.inum == to->netns.inum && asked->netns.hash_mix == to->netns.hash_mix &&
	       (is_any || is_same_address(&asked->daddr, &to->daddr));
}

/*
 * connect() returned an error. Mostly it sent nothing. If its attempt had begun and was closed in
 * this call, the transition is already submitted, and this record adds its error.
 */
static __always_inline int on_return(void *sk, void *uaddr, int addr_len, int result)
{
	struct transition t = {.sk_err = -result};
	u64 thread = bpf_get_current_pid_tgid(), owner;
	struct ended *ended;
	void *net = NULL;

	if (!read_asked(sk, uaddr, addr_len, &t.destination) || !is_watched(&t.destination))
		return 0;
	READ_FIELD(net, sk, FIELD(sock_common, skc_net));
	t.maker.netns = identify_netns(net, &t.destination.netns);
	t.timestamp_ns = bpf_ktime_get_ns();
	owner = read_maker(&t.maker, t.timestamp_ns, SLOT_RETURN);
	ended = ends.lookup(&thread);
	if (!ended || ended->skaddr != (u64)sk || !leads_to(&t.destination, &ended->destination)) {
		if (!may_begin())
			return 0;
		count_failed(&t.destination);
		submit_failure(&t, owner, t.maker.uid);
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
