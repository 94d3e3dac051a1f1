"""Where the fields are, by the type information of the kernel that runs."""

from __future__ import annotations

from tcp_trace.kernel import btf


def test_the_copy_of_a_struct_holds_each_field_taken_out_of_it() -> None:
    """The size that goes with the offsets reaches behind the last address of struct sock_common."""
    found = btf.offsets()
    ends = [where + 16 for name, where in found.items() if name.endswith("saddr")]
    assert len(ends) == 2
    assert max(ends) <= found["SIZEOF_sock_common"] < 512
