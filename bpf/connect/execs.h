/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#define EXECS 32768 /* a power of two, and the default number of PIDs of a host */

BPF_ARRAY(execs, u64, EXECS);

/*
 * sched:sched_process_exec: notes when a process became another program, whose command line must
 * not be shown for the one that connected. Several PIDs share a place: an exec in one of them casts
 * doubt on all.
 */
int exec_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	u32 place = (bpf_get_current_pid_tgid() >> 32) & (EXECS - 1);
	u64 *last = execs.lookup(&place);

	if (last && is_at_work())
		*last = bpf_ktime_get_ns();
	return 0;
}
