/* SPDX-License-Identifier: Apache-2.0 */
/*
 * BCC asks for what came with 4.8, and writes the version into the program, which no kernel since
 * 5.0 reads (commit 6c4fc209fcf9). Programs ask the running kernel what it has, not this.
 */
#pragma once

#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))
#define LINUX_VERSION_CODE	KERNEL_VERSION(5, 10, 0)
