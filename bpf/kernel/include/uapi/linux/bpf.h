/* SPDX-License-Identifier: Apache-2.0 */
/* Empty: BCC brings a bpf.h of its own, and both together define everything twice. */
