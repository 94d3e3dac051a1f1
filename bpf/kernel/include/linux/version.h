/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BCC checks for features of 4.8, and writes the version into the program, which kernels ignore
 * since 5.0 (commit 6c4fc209fcf9). Features are probed on the running kernel, never by this
 * version.
 */
#pragma once

#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE	KERNEL_VERSION(5, 10, 0)
