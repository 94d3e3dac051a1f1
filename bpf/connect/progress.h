/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service's own notes. They are in maps because maps can outlive a killed process. No program
 * uses them. Constant from user space: CARRIED_MAX.
 */
#pragma once

#include "connect/budget.h"

/*
 * `ring` is a random number that identifies this ring. Records before `logged_to` are in the log,
 * except those in `carried`. Once the log file `inode` has `end` bytes, records before `next_to`
 * are in it, too.
 */
struct progress {
	u64 ring;
	u64 logged_to;
	u64 next_to;
	u64 inode;
	u64 end;
};

BPF_ARRAY(progress, struct progress, 1);

/*
 * The key is arbitrary. Its lowest bit is set if the failure is counted and only its log line is
 * missing.
 */
BPF_F_TABLE("hash", u64, struct held, carried, CARRIED_MAX, BPF_F_NO_PREALLOC);
