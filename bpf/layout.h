/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the fields are. The offsets come from the running kernel's BTF as OFFSETOF_* constants,
 * and no header of it is read (kernel/include has what BCC insists on). Only where the kernel has
 * no BTF do its headers decide, and then they must be the exact ones.
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
#define OFFSETOF_sock_common_skc_family	      offsetof(struct sock_common, skc_family)
#define OFFSETOF_sock_common_skc_state	      offsetof(struct sock_common, skc_state)
#define OFFSETOF_sock_common_skc_num	      offsetof(struct sock_common, skc_num)
#define OFFSETOF_sock_common_skc_dport	      offsetof(struct sock_common, skc_dport)
#define OFFSETOF_sock_common_skc_daddr	      offsetof(struct sock_common, skc_daddr)
#define OFFSETOF_sock_common_skc_rcv_saddr    offsetof(struct sock_common, skc_rcv_saddr)
#define OFFSETOF_sock_common_skc_v6_daddr     offsetof(struct sock_common, skc_v6_daddr)
#define OFFSETOF_sock_common_skc_v6_rcv_saddr offsetof(struct sock_common, skc_v6_rcv_saddr)
#define OFFSETOF_sock_common_skc_net	      offsetof(struct sock_common, skc_net)
#define OFFSETOF_sock_common_skc_bound_dev_if offsetof(struct sock_common, skc_bound_dev_if)
#define OFFSETOF_sock_sk_err		      offsetof(struct sock, sk_err)
#define OFFSETOF_sock_sk_err_soft	      offsetof(struct sock, sk_err_soft)
#define OFFSETOF_sock_sk_error_queue	      offsetof(struct sock, sk_error_queue)
#define OFFSETOF_sk_buff_head_prev	      offsetof(struct sk_buff_head, prev)
#define OFFSETOF_sk_buff_cb		      offsetof(struct sk_buff, cb)
#define OFFSETOF_sock_exterr_skb_ee	      offsetof(struct sock_exterr_skb, ee)
#define OFFSETOF_sock_sk_socket		      offsetof(struct sock, sk_socket)
#define OFFSETOF_sock_sk_txhash		      offsetof(struct sock, sk_txhash)
#define OFFSETOF_socket_state		      offsetof(struct socket, state)
#define OFFSETOF_sock_sk_protocol	      offsetof(struct sock, sk_protocol)
#define OFFSETOF_sock_sk_uid		      offsetof(struct sock, sk_uid)
#define OFFSETOF_inet_sock_inet_sport	      offsetof(struct inet_sock, inet_sport)
#define OFFSETOF_tcp_sock_total_retrans	      offsetof(struct tcp_sock, total_retrans)
#define OFFSETOF_tcp_sock_segs_out	      offsetof(struct tcp_sock, segs_out)
#define OFFSETOF_tcp_sock_srtt_us	      offsetof(struct tcp_sock, srtt_us)
#define OFFSETOF_tcp_sock_fastopen_req	      offsetof(struct tcp_sock, fastopen_req)
#define OFFSETOF_net_ns			      offsetof(struct net, ns)
#define OFFSETOF_ns_common_inum		      offsetof(struct ns_common, inum)
#define OFFSETOF_net_hash_mix		      offsetof(struct net, hash_mix)
#define OFFSETOF_sk_buff_transport_header     offsetof(struct sk_buff, transport_header)
#define OFFSETOF_task_struct_flags	      offsetof(struct task_struct, flags)
#define OFFSETOF_task_struct_comm	      offsetof(struct task_struct, comm)
#define OFFSETOF_task_struct_group_leader     offsetof(struct task_struct, group_leader)
#define OFFSETOF_task_struct_thread_pid	      offsetof(struct task_struct, thread_pid)
#define OFFSETOF_pid_level		      offsetof(struct pid, level)
#define OFFSETOF_task_struct_nsproxy	      offsetof(struct task_struct, nsproxy)
#define OFFSETOF_nsproxy_cgroup_ns	      offsetof(struct nsproxy, cgroup_ns)
#define OFFSETOF_cgroup_namespace_ns	      offsetof(struct cgroup_namespace, ns)
#define OFFSETOF_cgroup_namespace_root_cset   offsetof(struct cgroup_namespace, root_cset)
#define OFFSETOF_task_struct_cgroups	      offsetof(struct task_struct, cgroups)
#define OFFSETOF_css_set_dfl_cgrp	      offsetof(struct css_set, dfl_cgrp)
#define OFFSETOF_cgroup_kn		      offsetof(struct cgroup, kn)
#define OFFSETOF_kernfs_node_id		      offsetof(struct kernfs_node, id)
#define OFFSETOF_kernfs_node_name	      offsetof(struct kernfs_node, name)
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
#define OFFSETOF_kernfs_node_parent offsetof(struct kernfs_node, __parent)
#else
#define OFFSETOF_kernfs_node_parent offsetof(struct kernfs_node, parent)
#endif
#endif

/* Kernel memory is read explicitly: BCC rewrites pointer accesses only as far as it can follow. */
#define READ_FIELD(into, base, field)                                                              \
	bpf_probe_read_kernel(&(into), sizeof(into), (void *)(base) + OFFSETOF_##field)

/*
 * The current task, and what it leads to. Where the verifier knows its type, it is read in place,
 * which costs nothing; where not, as all else is. By another name, for BCC would rewrite the reads.
 */
#ifdef TYPED_TASK
static void *(*current_task)(void) = (void *)BPF_FUNC_get_current_task_btf;
#define READ_TASK(into, base, field) ((into) = *(typeof(into) *)((void *)(base) + OFFSETOF_##field))
#else
#define current_task()		     ((void *)bpf_get_current_task())
#define READ_TASK(into, base, field) READ_FIELD(into, base, field)
#endif
