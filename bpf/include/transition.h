/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records for user space. Constants from user space: EVENTS, RING_BYTES.
 */
#pragma once

#include "include/attempt.h"

/* Values of EVENTS: the records that user space wants. */
#define EVENTS_FAILURES 0
#define EVENTS_ATTEMPTS 1
#define EVENTS_ALL	2

/*
 * One record. start_ns and maker are 0 if the attempt has no entry. No field reveals a kernel
 * address.
 *
 * With newstate 0 it is no transition but an error returned by connect(), in sk_err. If start_ns is
 * set, the error belongs to an attempt that ended in this call; if not, connect() sent nothing.
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

/* By its times, the attempt may have lost a race against another of the same process. */
#define FLAG_RACED 2

/* The socket was closed, without an error, before anything was sent: nothing failed. */
#define FLAG_UNSENT 4

/* BCC takes the ring's size in pages, of a PAGE_SIZE that only kernel headers define. */
#undef PAGE_SIZE
#define PAGE_SIZE 1
BPF_RINGBUF_OUTPUT(transitions, RING_BYTES);
/* Too large for the stack; a slot for each program that another may interrupt (SLOT_*). */
BPF_PERCPU_ARRAY(drafts, struct transition, 2);
