"""Where the fields are, by the type information of the kernel that runs."""

from __future__ import annotations

import re
from pathlib import Path

from tcp_trace.kernel import btf, source


def test_the_copy_of_a_struct_holds_each_field_taken_out_of_it() -> None:
    """The beginning of struct sock_common that is copied reaches behind each field that is read."""
    text = source.text_of(["connect.c"], Path(__file__).parents[3] / "bpf")
    of = r"FIELD\(sock_common,\s(skc_\w+)\), ([\w *]+)\)"
    taken = re.findall(rf"IN_COMMON\([*\w]+, {of}", text)
    assert len(taken) == 6
    assert {*taken} == {*re.findall(rf"END_OF\({of}", text)}


def test_functions_have_numbers_where_the_kernel_has_them() -> None:
    """A number leads to one function; one that the kernel does not have has none."""
    found = btf.read(functions=["tcp_v4_connect", "tcp_v6_connect", "no_such_function"]).functions
    assert found.pop("no_such_function") is None
    assert len({*found.values()} - {None}) == 2
