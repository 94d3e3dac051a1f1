/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Field offsets: FIELD() is the offset in bytes from the start of the struct it names. User space
 * makes a constant for every FIELD that it finds in the text, from the running kernel's BTF, so no
 * kernel header is read (kernel/include has the few that BCC insists on). A kernel without BTF
 * needs its exact headers.
 */
#pragma once

#ifdef LAYOUT_FROM_HEADERS
#include <linux/cgroup.h>
#include <linux/kernfs.h>
#include <linux/net.h>
#include <linux/nsproxy.h>
#include <linux/pid.h>
#include <linux/sched.h>
#include <linux/version.h>
#include <net/sock.h>
#include <linux/errqueue.h>
#include <net/net_namespace.h>
#include <linux/tcp.h>
/* Commit 633488947ef6 ("kernfs: Use RCU to access kernfs_node::parent.", in v6.15). */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#define parent __parent
#endif
#define FIELD(type, member) offsetof(struct type, member)
#else
#define FIELD(type, member) OFFSETOF_##type##_##member
#endif

/* The same in bits, for a bit field. */
#define BIT_FIELD(type, member) BITOFFSET_##type##_##member

/*
 * Read kernel memory explicitly: BCC rewrites a pointer access only if it can follow the pointer.
 */
#define READ_FIELD(into, base, field)                                                              \
	bpf_probe_read_kernel(&(into), sizeof(into), (void *)(base) + (field))

/*
 * The current task, and structs it points to. Where the verifier knows the task's type they are
 * read in place, which costs nothing; elsewhere as all else. current_task has a name of its own,
 * since BCC would rewrite reads through the usual one.
 */
#ifdef TYPED_TASK
static void *(*current_task)(void) = (void *)BPF_FUNC_get_current_task_btf;
#define READ_TASK(into, base, field) ((into) = *(typeof(into) *)((void *)(base) + (field)))
#else
#define current_task()		     ((void *)bpf_get_current_task())
#define READ_TASK(into, base, field) READ_FIELD(into, base, field)
#endif
