/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BCC refuses a kernel configured without it.
 */
#pragma once

#define CONFIG_BPF_SYSCALL 1
