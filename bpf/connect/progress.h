/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the service was told and keeps for itself: a map outlives a process that is killed. No
 * program uses these. Constant from user space: CARRIED_MAX.
 */
#pragma once

#include "connect/budget.h"

/*
 * A random number that tells this ring from others. Records before `logged_to` are in the log, but
 * for those in `carried`.
 */
struct progress {
	u64 ring;
	u64 logged_to;
};

BPF_ARRAY(progress, struct progress, 1);

/* By any number; its lowest bit says that the failure was counted, and only its line waits. */
BPF_F_TABLE("hash", u64, struct held, carried, CARRIED_MAX, BPF_F_NO_PREALLOC);
