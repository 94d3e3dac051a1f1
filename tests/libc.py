"""The C library, for calls that Python has no name for."""

import ctypes

LIBC = ctypes.CDLL(None, use_errno=True)
