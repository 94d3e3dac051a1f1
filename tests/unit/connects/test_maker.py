"""What the paths of cgroups and the words of a command line tell, and that nothing is guessed."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcp_trace.connects.maker import (
    COMMAND_LIMIT,
    NAME_LIMIT,
    NOWHERE,
    Where,
    command_line,
    parse_cgroup,
    parse_proc_cgroup,
)

ID = "0123456789abcdef" * 4
OTHER = "f" * 64
POD = "6b3736cf-90a6-42f4-9147-f27714926ac6"
POD_ = POD.replace("-", "_")
MANAGER = "/user.slice/user-1000.slice/user@1000.service"


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/system.slice/nginx.service/worker/a.service", "nginx.service"),
        ("/init.scope", "init.scope"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope"),
        (f"{MANAGER}/app.slice/app-firefox-12.scope", "app-firefox-12.scope"),
        (f"{MANAGER}/init.scope", "user@1000.service"),
        (f"{MANAGER}", "user@1000.service"),
        (f"{MANAGER}/app.slice/a.service/b.service", "a.service"),
        ("/system.slice/_cpu.service", "cpu.service"),
        ("/system.slice/docker.socket", "docker.socket"),
        ("/system.slice/var-lib.mount", "var-lib.mount"),
        ("/machine.slice/machine-qemu\\x2d1\\x2dweb.scope", "machine-qemu\\x2d1\\x2dweb.scope"),
        ("/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn@web.service"),
        (f"/machine.slice/libpod-conmon-{ID}.scope", f"libpod-conmon-{ID}.scope"),
        ("/../../system.slice/nginx.service", "nginx.service"),
        ("/system.slice", None),
        ("/machine.slice", None),
        ("/", None),
        ("", None),
        ("/lxc.payload.web/system.slice/nginx.service", "nginx.service"),
    ],
)
def test_unit(path: str, unit: str | None) -> None:
    """A unit is what comes first below the slices, in the user's own manager, too."""
    assert parse_cgroup(path) == Where(unit=unit)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/system.slice/docker-{ID}.scope", Where(None, ID, "docker")),
        (f"/docker/{ID}", Where(None, ID, "docker")),
        (f"/docker/{OTHER}/docker/{ID}", Where(None, ID, "docker")),
        (
            f"/system.slice/docker-{ID}.scope/system.slice/a.service",
            Where("a.service", ID, "docker"),
        ),
        (f"/system.slice/docker-{ID}.scope/init.scope", Where("init.scope", ID, "docker")),
        (f"/machine.slice/libpod-{ID}.scope", Where(None, ID, "podman")),
        (f"/machine.slice/libpod-{ID}.scope/container", Where(None, ID, "podman")),
        (f"/libpod_parent/libpod-{ID}", Where(None, ID, "podman")),
        (
            f"{MANAGER}/user.slice/libpod-{ID}.scope/container",
            Where("user@1000.service", ID, "podman"),
        ),
        (f"/system.slice/a.service/libpod-payload-{ID}", Where("a.service", ID, "podman")),
        (f"/system.slice/a.service/docker/{ID}/b.service", Where("b.service", ID, "docker")),
        (f"/system.slice/nerdctl-{ID}.scope", Where(None, ID, "containerd")),
        (f"/system.slice/crio-{ID}.scope", Where(None, ID, "cri-o")),
        (f"/ecs/0123456789abcdef0123456789abcdef/{ID}", Where(None, ID)),
        (f"/system.slice/nobody-knows-{ID}.scope", Where(f"nobody-knows-{ID}.scope")),
        (f"/system.slice/docker-{ID[1:]}.scope", Where(f"docker-{ID[1:]}.scope")),
        (f"/docker/{ID.upper()}", NOWHERE),
        ("/docker/buildkit/4n2f", NOWHERE),
    ],
)
def test_container(path: str, expected: Where) -> None:
    """A container has an id of 64 digits, and a runtime where the name says which."""
    assert parse_cgroup(path) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            (
                "/kubepods.slice/kubepods-burstable.slice/"
                f"kubepods-burstable-pod{POD_}.slice/cri-containerd-{ID}.scope"
            ),
            Where(None, ID, "containerd", POD),
        ),
        (
            f"/kubepods.slice/kubepods-pod{POD_}.slice/crio-{ID}.scope",
            Where(None, ID, "cri-o", POD),
        ),
        (
            (
                f"/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{POD_}.slice/"
                f"docker-{ID}.scope"
            ),
            Where(None, ID, "docker", POD),
        ),
        (f"/kubepods/besteffort/pod{POD}/{ID}", Where(None, ID, None, POD)),
        (f"/kubepods/pod{POD}/crio-{ID}", Where(None, ID, "cri-o", POD)),
        (f"/../../besteffort/pod{POD}/{ID}", Where(None, ID, None, POD)),
        (f"/kubepods/burstable/pod{'0f' * 16}/{ID}", Where(None, ID, None, "0f" * 16)),
        (
            (
                f"/docker/{OTHER}/kubelet.slice/kubelet-kubepods.slice/"
                f"kubelet-kubepods-pod{POD_}.slice/cri-containerd-{ID}.scope"
            ),
            Where(None, ID, "containerd", POD),
        ),
        (
            (
                "/system.slice/containerd.service/"
                f"kubepods-burstable-pod{POD_}.slice:cri-containerd:{ID}"
            ),
            Where("containerd.service", ID, "containerd", POD),
        ),
        (
            f"/kubepods/burstable/pod{POD}/{ID}/system.slice/a.service",
            Where("a.service", ID, None, POD),
        ),
        ("/podinfo.slice/tripod.service", Where("tripod.service")),
    ],
)
def test_pod(path: str, expected: Where) -> None:
    """A pod's UID is read with either driver, and written with dashes."""
    assert parse_cgroup(path) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0::/system.slice/nginx.service\n", Where("nginx.service")),
        (f"12:pids:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/\n", Where(None, ID, "docker")),
        (
            (
                f"5:memory:/docker/{ID}\n1:name=systemd:/system.slice/docker.service\n"
                "0::/system.slice/docker.service\n"
            ),
            Where(None, ID, "docker"),
        ),
        (
            "9:name=systemd:/system.slice/a.service\n3:cpu,cpuacct:/\n2:pids:/b.service\n",
            Where("a.service"),
        ),
        ("9:pids:/b.service\n1:name=systemd:/a.service\n", Where("a.service")),
        ("9:pids:/b.service\n1:name=systemd:/c.service\n0::/a.service\n", Where("a.service")),
        ("4:memory:/a.service\n0::/\n", Where("a.service")),
        ("0::/a:b.service\n", Where("a:b.service")),
        ("0::/\n", NOWHERE),
        ("", NOWHERE),
        ("nonsense\n::\n", NOWHERE),
    ],
)
def test_proc_cgroup(text: str, expected: Where) -> None:
    """Of several hierarchies the one with a container counts, then systemd's own."""
    assert parse_proc_cgroup(text) == expected


def test_names_are_bounded_and_visible() -> None:
    """Whoever names a cgroup can neither write a line of his own nor a novel."""
    unit = parse_cgroup("/system.slice/\x1b[2J\n\u202eevil.service").unit
    assert unit == "\\x1b[2J\\n\\u202eevil.service"
    long = parse_cgroup("/" + "\U000e0001" * 240 + ".service").unit
    assert long is not None
    assert len(long) == NAME_LIMIT


_levels = st.sampled_from(
    ["system.slice", "a.service", f"docker-{ID}.scope", ID, f"pod{POD}", "..", "user@1.service"]
)
_paths = st.lists(_levels | st.text()).map("/".join)


@given(_paths, st.lists(st.tuples(st.text(max_size=3), st.text(max_size=9), _paths)))
def test_any_path_is_read(path: str, rows: list[tuple[str, str, str]]) -> None:
    """No path raises, and whatever is found is of its shape, visible and bounded."""
    lines = "\n".join(":".join(row) for row in rows)
    for where in (parse_cgroup(path), parse_proc_cgroup(path), parse_proc_cgroup(lines)):
        assert where.container_id in (None, ID)
        assert where.pod_uid in (None, POD)
        assert where.unit is None or (where.unit.isprintable() and len(where.unit) <= NAME_LIMIT)


def test_container_as_kubernetes_writes_it() -> None:
    """A container is shown with its runtime, where that is known."""
    assert Where(None, ID, "containerd").container == f"containerd://{ID}"
    assert Where(None, ID).container == ID
    assert NOWHERE.container is None


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["psql", "-h", "db"], "psql -h db"),
        (["a", "--password=x", "b"], "a --password=<hidden> b"),
        (["a", "--db-password", "x", "b"], "a --db-password <hidden> b"),
        (["a", "--api-key", "--next"], "a --api-key --next"),
        (["a", "ACCESS_TOKEN=x"], "a ACCESS_TOKEN=<hidden>"),
        (["curl", "-H", "Authorization: Bearer x y"], "curl -H Authorization: <hidden>"),
        (["curl", "-u", "me:x", "-u", "me"], "curl -u me:<hidden> -u me"),
        (["a", "postgres://me:x@db/y"], "a postgres://me:<hidden>@db/y"),
        (["sh", "-c", "mysql --password=x; rm y"], "sh -c mysql --password=<hidden>"),
        (["a\n\x1b[31m"], "a\\n\\x1b[31m"),
        ([""], ""),
    ],
)
def test_command_line(arguments: list[str], shown: str) -> None:
    """A command line is visible text, and what tells itself as a password is not in it."""
    assert command_line(arguments) == shown


@given(st.lists(st.text()))
def test_any_command_line_is_shown(arguments: list[str]) -> None:
    """No command line raises, and every one is visible and bounded."""
    shown = command_line(arguments)
    assert shown.isprintable()
    assert len(shown) <= COMMAND_LIMIT


@pytest.mark.parametrize(
    "text", ["passw" * 800, "--" + "auth-" * 800, "a" * 4096, "://:" * 1024, "token " * 700]
)
def test_no_command_line_takes_long(text: str) -> None:
    """A command line that was made to be slow to read is not."""
    began = time.process_time()
    for _ in range(10):
        command_line([text, text])
        parse_cgroup(text)
    assert time.process_time() - began < 0.1
