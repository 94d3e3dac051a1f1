/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When a process became another program.
 */
#pragma once

#define EXECS 32768 /* a power of two, and as many PIDs as a host has if nobody asked for more */

BPF_ARRAY(execs, u64, EXECS);

/*
 * sched:sched_process_exec: when a process became another program, so that nobody takes that one's
 * command line for the one that connected. A PID shares its place with others: what happened to
 * any of them may have happened to it.
 */
int exec_sched_process_exec(struct bpf_raw_tracepoint_args *ctx)
{
	u32 place = (bpf_get_current_pid_tgid() >> 32) & (EXECS - 1);
	u64 *last = execs.lookup(&place);

	if (last && is_at_work())
		*last = bpf_ktime_get_ns();
	return 0;
}
