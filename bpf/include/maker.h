/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who makes an attempt. Constant from user space: PROBE_NAMES where names are learned.
 */
#pragma once

#include "include/cgroup.h"
#include "include/gate.h"

#define PF_KTHREAD_	 0x00200000
#define CGROUP_INIT_INUM 0xeffffffb /* PROC_CGROUP_INIT_INO of include/linux/proc_ns.h */

/*
 * Who made an attempt, all zero but netns where no process did. pid is what user space calls one:
 * the thread group, and comm its first thread's name; thread is the name of another one of its
 * threads, if that connects. born_ns is when the process was started (CLOCK_MONOTONIC), 0 where no
 * names are learned.
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
 * Whether the current process is not one of the host's, but in a container of any kind: it has its
 * own idea of what PIDs there are, or of what cgroups.
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

/* When a task's process was started; of all its threads the first one is asked. */
static __always_inline u64 read_born(void *task)
{
	void *leader = NULL;
	u64 born_ns = 0;

	READ_TASK(leader, task, FIELD(task_struct, group_leader));
	READ_TASK(born_ns, leader, FIELD(task_struct, start_time));
	return born_ns;
}

/*
 * Who runs now, nobody where that is the kernel itself (kworker, for a file system): whom it serves
 * cannot be known. A worker of io_uring is a thread of the process that it works for. Return the
 * owner of his cgroup, 0 where that is not known.
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

/* The service's own connects would make an alert of every alert that fails. */
static __always_inline bool is_self(void)
{
	return is_own(bpf_get_current_pid_tgid() >> 32);
}
