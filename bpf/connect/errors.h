/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that the kernel reports to the application before the socket is closed.
 */
#pragma once

#include <uapi/linux/errqueue.h>
#include "include/attempt.h"

/* The error of the ICMP message queued last, 0 if the last message is not ICMP. */
static __always_inline int read_icmp_error(void *sk)
{
	struct sock_extended_err ee = {};
	void *skb = NULL;

	READ_FIELD(skb, sk + FIELD(sock, sk_error_queue), FIELD(sk_buff_head, prev));
	if (skb == sk + FIELD(sock, sk_error_queue))
		return 0;
	READ_FIELD(ee, skb + FIELD(sk_buff, cb), FIELD(sock_exterr_skb, ee));
	if (ee.ee_origin != SO_EE_ORIGIN_ICMP && ee.ee_origin != SO_EE_ORIGIN_ICMP6)
		return 0;
	return ee.ee_errno;
}

/*
 * Keep an error, soft or hard, that the kernel reports to the application. The application may
 * clear it from the socket (SO_ERROR) before the socket is closed; then only this entry has it. For
 * an ICMP message, the report comes before the error is in the socket.
 */
static __always_inline int note_error(void *sk)
{
	u64 key = (u64)sk;
	struct attempt *a;
	u8 state = 0;
	int error = 0;

	READ_FIELD(state, sk, FIELD(sock_common, skc_state));
	if (!is_handshake(state))
		return 0;
	a = find_attempt(key);
	if (!a)
		return 0;
	READ_FIELD(error, sk, FIELD(sock, sk_err));
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

/* void sock_def_error_report(struct sock *sk): for kernels without that tracepoint. */
int error_sock_def_error_report(struct pt_regs *ctx)
{
	return note_error((void *)PT_REGS_PARM1(ctx));
}
