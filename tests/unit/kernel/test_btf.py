"""Where the fields are, by the type information of the kernel that runs."""

from __future__ import annotations

from tcp_trace.kernel import btf


def test_the_copy_of_a_struct_holds_each_field_taken_out_of_it() -> None:
    """The size that goes with the offsets reaches behind the last address of struct sock_common."""
    found = btf.read().offsets
    ends = [where + 16 for name, where in found.items() if name.endswith("saddr")]
    assert len(ends) == 2
    assert max(ends) <= found["SIZEOF_sock_common"] < 512


def test_functions_have_numbers_where_the_kernel_has_them() -> None:
    """A number leads to one function; one that the kernel does not have has none."""
    found = btf.read(["tcp_v4_connect", "tcp_v6_connect", "no_such_function"]).functions
    assert found.pop("no_such_function") is None
    assert len({*found.values()} - {None}) == 2
