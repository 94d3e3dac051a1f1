"""The names of users, from the files of this host."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tcp_trace.host import users as module
from tcp_trace.host.users import Users

if TYPE_CHECKING:
    from pathlib import Path


def test_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names come from the list of users and from systemd, and new ones are seen in time."""
    passwd = tmp_path / "passwd"
    passwd.write_bytes(
        b"root:x:0:0:root:/:/bin/sh\ntoor:x:0:0::/:/bin/sh\n"
        b"+::::::\nbad:x:one:2\n:x:5:5::/:\nshort:x\nev\x1bil\xff:x:6:6::/:\n"
    )
    (tmp_path / "direct:61234").symlink_to("shop")
    users = Users(passwd, tmp_path)
    names = {uid: users.name(uid) for uid in (0, 1, 5, 6, 61234)}
    assert names == {0: "root", 1: None, 5: None, 6: "ev\\x1bil\\xff", 61234: "shop"}
    passwd.write_text("deploy:x:1:1::/:/bin/sh\n")
    assert users.name(1) is None
    later = time.monotonic() + 10
    monkeypatch.setattr(time, "monotonic", lambda: later)
    assert (users.name(1), users.name(0)) == ("deploy", None)


@pytest.mark.parametrize("limit", range(16, 50))
def test_a_list_of_users_that_is_too_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    """Of a very long list the beginning counts, and no id is cut to another one's."""
    monkeypatch.setattr(module, "_PASSWD_LIMIT", limit)
    passwd = tmp_path / "passwd"
    passwd.write_text("first:x:5:5::/:\nsecond:x:6000:6::/:\n")
    users = Users(passwd, tmp_path)
    assert users.name(5) == "first"
    assert users.name(6000) == ("second" if limit > 29 else None)
    assert [users.name(uid) for uid in (6, 60, 600)] == [None] * 3


def test_no_list_of_users(tmp_path: Path) -> None:
    """Without a list, users have no names."""
    assert Users(tmp_path / "none", tmp_path).name(0) is None
