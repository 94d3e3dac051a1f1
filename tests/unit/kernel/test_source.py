"""The C of several files as one text, and the fields that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcp_trace.kernel.source import Field, fields, text_of

if TYPE_CHECKING:
    from pathlib import Path


def test_each_file_is_written_out_once(tmp_path: Path) -> None:
    """Where it is first included; the compiler tells of lines by their own file's numbers."""
    (tmp_path / "include").mkdir()
    (tmp_path / "include/a.h").write_text("#pragma once\nint a;\n")
    (tmp_path / "b.c").write_text('#include <linux/x.h>\n#include "include/a.h"\nint b;\n')
    (tmp_path / "c.c").write_text('#include "include/a.h"\nint c;\n')
    assert text_of(["b.c", "c.c"], tmp_path).splitlines() == [
        *('#line 1 "b.c"', "#include <linux/x.h>"),
        *('#line 1 "include/a.h"', "", "int a;"),
        *('#line 3 "b.c"', "int b;"),
        *('#line 1 "c.c"', '#line 2 "c.c"', "int c;"),
    ]


def test_a_field_is_found_where_it_is_read() -> None:
    """Each once; the macros that make constants of them are none."""
    text = (
        "#define FIELD(type, member) OFFSETOF_##type##_##member\n"
        "x = a + FIELD(sock, sk_err) + FIELD(sock, sk_err); y = BIT_FIELD(sock, sk_userlocks);"
    )
    found = fields(text)
    assert found == [Field("sock", "sk_err"), Field("sock", "sk_userlocks", of_bits=True)]
    assert [one.constant for one in found] == [
        "OFFSETOF_sock_sk_err",
        "BITOFFSET_sock_sk_userlocks",
    ]
