/* SPDX-License-Identifier: Apache-2.0 */
/* Empty: BCC includes it, and neither BCC nor the programs use what is in the kernel's. */
