/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include <linux/types.h>

struct iovec {
	void *iov_base;
	size_t iov_len;
};
