/* SPDX-License-Identifier: Apache-2.0 */
/* BCC compiles for no kernel whose configuration is without it. */
#pragma once

#define CONFIG_BPF_SYSCALL 1
