/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The maker of an attempt. Constant from user space: PROBE_NAMES if names are learned.
 */
#pragma once

#include "include/cgroup.h"
#include "include/gate.h"

#define PF_KTHREAD_	 0x00200000
#define CGROUP_INIT_INUM 0xeffffffb /* PROC_CGROUP_INIT_INO of include/linux/proc_ns.h */

/*
 * The process that made an attempt; all zero but netns if none did. pid is the thread group's id,
 * the PID of user space, and comm the name of its first thread. `thread` is the name of the
 * connecting thread if that is another one. born_ns is the start of the process (CLOCK_MONOTONIC),
 * 0 if no names are learned.
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
 * Whether the current process is in a container of any kind: in a PID or cgroup namespace other
 * than the host's.
 */
static __always_inline bool is_foreign(void *task)
{
	void *pid = NULL, *cgroup_ns;
	u32 level = 0, inum = 0;

	READ_TASK(pid, task, FIELD(task_struct, thread_pid));
	READ_TASK(level, pid, FIELD(pid, level));
	if (level)
		return true;
	cgroup_ns = read_cgroup_ns(task);
	READ_TASK(inum, cgroup_ns + FIELD(cgroup_namespace, ns), FIELD(ns_common, inum));
	return inum != CGROUP_INIT_INUM;
}

/* Return when a task's process was started: the start of its first thread. */
static __always_inline u64 read_born(void *task)
{
	void *leader = NULL;
	u64 born_ns = 0;

	READ_TASK(leader, task, FIELD(task_struct, group_leader));
	READ_TASK(born_ns, leader, FIELD(task_struct, start_time));
	return born_ns;
}

/*
 * Read the current process; none if it is a kernel thread (a kworker for a file system): its client
 * cannot be known. A worker of io_uring is a thread of the process it works for. Return the owner
 * of the cgroup, 0 if unknown.
 */
static __always_inline u64 read_maker(struct maker *maker, u64 now, u32 slot)
{
	u64 pid_tgid = bpf_get_current_pid_tgid();
	void *task = current_task(), *leader = NULL;
	u32 flags = 0;

	READ_TASK(flags, task, FIELD(task_struct, flags));
	if (flags & PF_KTHREAD_)
		return 0;
	maker->pid = pid_tgid >> 32;
	maker->uid = bpf_get_current_uid_gid();
	maker->cgroup_id = bpf_get_current_cgroup_id();
#ifdef PROBE_NAMES
	maker->born_ns = read_born(task);
#endif
	maker->is_foreign = is_foreign(task);
	if (maker->pid == (u32)pid_tgid) {
		bpf_get_current_comm(&maker->comm, sizeof(maker->comm));
	} else {
		bpf_get_current_comm(&maker->thread, sizeof(maker->thread));
		READ_TASK(leader, task, FIELD(task_struct, group_leader));
		READ_FIELD(maker->comm, leader, FIELD(task_struct, comm));
	}
	return meet_cgroup(maker->cgroup_id, now, slot);
}

/* Skip the service's own connects: each failed send of an alert would raise another alert. */
static __always_inline bool is_self(void)
{
	return is_own(bpf_get_current_pid_tgid() >> 32);
}
