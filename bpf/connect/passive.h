/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Passive handshakes, begun by a peer. The kernel counts their failures and ours together.
 */
#pragma once

#include "connect/change.h"
#include "include/filter.h"

#define ECONNRESET_ 104

/* Whether this may be the end of a passive handshake that AttemptFails counts. */
static __always_inline bool is_passive_end(const struct change *change)
{
	return change->newstate == BPF_TCP_CLOSE &&
	       (change->oldstate == BPF_TCP_SYN_RECV || change->oldstate == BPF_TCP_FIN_WAIT1);
}

/*
 * Count as AttemptFails does: once in tcp_done() for an error, and before that once in
 * tcp_check_req() for a reset, if Fast Open began the handshake. The reset also counts in
 * FIN_WAIT1: a socket without a round-trip time has had no answer to its SYN-ACK.
 */
static __always_inline void tally_passive(const struct change *change)
{
	u32 srtt_us = 0;
	u16 protocol = 0;
	int error = 0;

	READ_FIELD(protocol, change->sk, FIELD(sock, sk_protocol));
	READ_FIELD(error, change->sk, FIELD(sock, sk_err));
	READ_FIELD(srtt_us, change->sk, FIELD(tcp_sock, srtt_us));
	if (protocol != IPPROTO_TCP_ || !error || read_netns(change->sk) != OWN_NETNS)
		return;
	if (change->oldstate == BPF_TCP_SYN_RECV)
		tally(TALLY_PASSIVE);
	else if (srtt_us)
		return;
	if (error == ECONNRESET_)
		tally(TALLY_PASSIVE);
}
