/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cgroups of processes that connect: their paths and owners. Constant from user space: CGROUPS_MAX.
 */
#pragma once

#include "include/layout.h"

/*
 * The names of a cgroup and its ancestors, up to the root cgroup, which has no name. A deeper
 * cgroup lacks its topmost names here. A name has at most 255 bytes. root is the index of the
 * cgroup that the process, when it was seen, had as its root; CGROUP_LEVELS if none of these. The
 * host named that one and those above it, not the container.
 *
 * owner is the id of the ancestor at OWNER_LEVEL (a service, a pod, a user's manager), or of the
 * cgroup itself if it is not that deep. The owner may create deeper cgroups at will. owner is 0 for
 * the root. Cgroups deeper than CGROUP_LEVELS_MAX all share the owner OWNER_DEEP: nobody escapes a
 * budget by depth.
 */
#define CGROUP_LEVELS	  8
#define CGROUP_NAME	  256
#define CGROUP_LEVELS_MAX 32
#define OWNER_LEVEL	  3
#define OWNER_DEEP	  (~0ULL)

struct cgroup_path {
	u64 owner;
	char names[CGROUP_LEVELS][CGROUP_NAME];
	u32 root;
	u32 pad;
};

/*
 * The cgroup that a program saw last on a CPU. After CGROUP_RECENT ns it is looked up in the map
 * again, so that the map (LRU) keeps a cgroup that is in use.
 */
#define CGROUP_RECENT 1000000000ULL

struct last_cgroup {
	u64 id;
	u64 owner;
	u64 seen_ns;
};

BPF_TABLE("lru_hash", u64, struct cgroup_path, cgroups, CGROUPS_MAX);
/* Too large for the stack; a slot for each program that another may interrupt (SLOT_*). */
BPF_PERCPU_ARRAY(new_cgroup, struct cgroup_path, 3);
BPF_PERCPU_ARRAY(last_cgroup, struct last_cgroup, 3);

/* Return the owner of a cgroup, by its kernfs node: see struct cgroup_path. */
static __always_inline u64 owner_of(void *kn)
{
	/* Ids of the last nodes visited, topmost first. */
	u64 ids[OWNER_LEVEL + 1] = {}, leaf = 0;
	void *parent;
	int i;

	READ_FIELD(leaf, kn, FIELD(kernfs_node, id));
	/*
	 * The loop is left at its end only: the verifier of 6.1 wants the way back to be a jump,
	 * and with a second exit the compiler may lay out the loop without one.
	 */
#pragma clang loop unroll(disable)
	for (i = 0; kn && i < CGROUP_LEVELS_MAX; i++) {
		ids[3] = ids[2];
		ids[2] = ids[1];
		ids[1] = ids[0];
		READ_FIELD(ids[0], kn, FIELD(kernfs_node, id));
		parent = NULL;
		READ_FIELD(parent, kn, FIELD(kernfs_node, parent));
		kn = parent;
	}
	if (kn)
		return OWNER_DEEP;
	if (i > OWNER_LEVEL)
		return ids[OWNER_LEVEL];
	return i > 1 ? leaf : 0;
}

static __always_inline void *read_cgroup_ns(void *task)
{
	void *nsproxy = NULL, *cgroup_ns = NULL;

	READ_TASK(nsproxy, task, FIELD(task_struct, nsproxy));
	READ_TASK(cgroup_ns, nsproxy, FIELD(nsproxy, cgroup_ns));
	return cgroup_ns;
}

/* The kernfs node of the cgroup that the current process has as its root. */
static __always_inline void *read_cgroup_root(void)
{
	void *cset = NULL, *cgroup = NULL, *kn = NULL;

	READ_FIELD(cset, read_cgroup_ns(current_task()), FIELD(cgroup_namespace, root_cset));
	READ_FIELD(cgroup, cset, FIELD(css_set, dfl_cgrp));
	READ_FIELD(kn, cgroup, FIELD(cgroup, kn));
	return kn;
}

/* One slot for each program that another may preempt: they must not share a draft. */
#define SLOT_HOOK   0
#define SLOT_NET    1
#define SLOT_RETURN 2

/* Keep the path of the current process's cgroup, whose id is given; NULL if that fails. */
static __always_inline struct cgroup_path *keep_cgroup(u64 id, u32 slot)
{
	void *cset = NULL, *cgroup = NULL, *kn = NULL, *root, *parent, *name;
	struct cgroup_path *path = new_cgroup.lookup(&slot);
	u64 kn_id = 0;
	int i;

	if (!path)
		return NULL;
	READ_FIELD(cset, bpf_get_current_task(), FIELD(task_struct, cgroups));
	READ_FIELD(cgroup, cset, FIELD(css_set, dfl_cgrp));
	READ_FIELD(kn, cgroup, FIELD(cgroup, kn));
	READ_FIELD(kn_id, kn, FIELD(kernfs_node, id));
	if (kn_id != id) /* the process was moved just now */
		return NULL;
	path->owner = owner_of(kn);
	root = read_cgroup_root();
	path->root = CGROUP_LEVELS;
#pragma clang loop unroll(disable)
	for (i = 0; i < CGROUP_LEVELS; i++) {
		parent = NULL;
		name = NULL;
		READ_FIELD(parent, kn, FIELD(kernfs_node, parent));
		READ_FIELD(name, kn, FIELD(kernfs_node, name));
		path->names[i][0] = 0;
		if (parent)
			bpf_probe_read_kernel_str(path->names[i], CGROUP_NAME, name);
		if (kn == root)
			path->root = i;
		kn = parent;
	}
	cgroups.update(&id, path);
	return path;
}

/*
 * Return the owner of the current process's cgroup, 0 if unknown. Keep the path under the id that
 * bpf_get_current_cgroup_id() returns: by the time user space looks, the process and its cgroup may
 * be gone. Once is enough: an id is never reused and a cgroup never renamed.
 */
static __always_inline u64 meet_cgroup(u64 id, u64 now, u32 slot)
{
	struct last_cgroup *last = last_cgroup.lookup(&slot);
	struct cgroup_path *path;

	if (!last)
		return 0;
	if (last->id == id && now - last->seen_ns < CGROUP_RECENT)
		return last->owner;
	path = cgroups.lookup(&id);
	if (!path)
		path = keep_cgroup(id, slot);
	if (!path)
		return 0;
	last->id = id;
	last->owner = path->owner;
	last->seen_ns = now;
	return path->owner;
}
