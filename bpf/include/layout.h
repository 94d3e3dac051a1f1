/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the fields are: FIELD() is an offset in bytes, from the struct it names. They come from the
 * running kernel's BTF, as constants that user space makes for every FIELD that it finds in the
 * text, and no header of the kernel is read (kernel/include has what BCC insists on). Only where
 * the kernel has no BTF do its headers decide, and then they must be the exact ones.
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

/* The same in bits, of a field that has some. */
#define BIT_FIELD(type, member) BITOFFSET_##type##_##member

/* Kernel memory is read explicitly: BCC rewrites pointer accesses only as far as it can follow. */
#define READ_FIELD(into, base, field)                                                              \
	bpf_probe_read_kernel(&(into), sizeof(into), (void *)(base) + (field))

/*
 * The current task, and what it leads to. Where the verifier knows its type, it is read in place,
 * which costs nothing; where not, as all else is. By another name, for BCC would rewrite the reads.
 */
#ifdef TYPED_TASK
static void *(*current_task)(void) = (void *)BPF_FUNC_get_current_task_btf;
#define READ_TASK(into, base, field) ((into) = *(typeof(into) *)((void *)(base) + (field)))
#else
#define current_task()		     ((void *)bpf_get_current_task())
#define READ_TASK(into, base, field) READ_FIELD(into, base, field)
#endif
