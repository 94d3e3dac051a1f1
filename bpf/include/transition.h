/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is submitted. Constants from user space: EVENTS, RING_BYTES.
 */
#pragma once

#include "include/attempt.h"

/* What user space asked for. */
#define EVENTS_FAILURES 0
#define EVENTS_ATTEMPTS 1
#define EVENTS_ALL	2

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

/* BCC takes it in pages, of a size that headers have. */
#undef PAGE_SIZE
#define PAGE_SIZE 1
BPF_RINGBUF_OUTPUT(transitions, RING_BYTES);
/* Too large for the stack; a slot for each program that another may interrupt (SLOT_*). */
BPF_PERCPU_ARRAY(drafts, struct transition, 2);
