"""`tcp-trace run`: stage 1, which becomes stage 2 or fails, and the beginning of stage 2.

Each imports its own modules: stage 2 must start fast and stay small.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from tcp_trace.commands.loading import EX_CONFIG, env_file_of, load
from tcp_trace.log import output

if TYPE_CHECKING:
    import argparse
    from pathlib import Path

    from tcp_trace.settings.config import Settings


def run(args: argparse.Namespace) -> int:
    """Run stage 1, or with `--handover` stage 2; return the exit code."""
    if args.handover is not None:
        return _serve(args)
    settings = load(args)
    if settings is None:
        return EX_CONFIG
    from tcp_trace.commands import relay  # noqa: PLC0415
    from tcp_trace.host import serviceuser  # noqa: PLC0415

    try:
        account = serviceuser.chosen(settings.service_user)
    except serviceuser.AccountError as error:
        output.complain(str(error))
        return 1
    _say_if_second(settings)
    if relay.has_terminal() and (code := relay.fork(account)) is not None:
        return code
    from tcp_trace.kernel.contract import StartError  # noqa: PLC0415
    from tcp_trace.service import attach  # noqa: PLC0415

    try:
        attach.start(settings, account)
    except StartError as error:
        output.complain(str(error))
        return 1


def _serve(args: argparse.Namespace) -> int:
    """Run stage 2."""
    from tcp_trace.kernel import confinement, handover  # noqa: PLC0415

    try:
        handover.drop_privileges(args.handover)
    except OSError as error:
        output.complain(f"cannot drop privileges, so the service does not start: {error.strerror}")
        return 1
    confinement.forbid_exec()
    settings = load(args)
    if settings is None:
        return EX_CONFIG
    from tcp_trace.service.daemon import serve  # noqa: PLC0415

    landlock = _restrict_writes(settings.state_dir, args.log_file)
    return serve(settings, args.handover, args.log_file, env_file_of(args), landlock=landlock)


def _restrict_writes(state_dir: Path, log_file: Path | None) -> bool:
    from tcp_trace.kernel import confinement  # noqa: PLC0415

    # If it cannot be created, the outbox reports that.
    with contextlib.suppress(OSError):
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    logs = () if log_file is None else (log_file.absolute().parent,)
    return confinement.restrict_writes((state_dir, *logs))


def _say_if_second(settings: Settings) -> None:
    """Warn before compiling if another instance has STATE_DIR: this one sends nothing.

    If this process may not look, stage 2 finds out and logs it.
    """
    from tcp_trace.host import unprivileged  # noqa: PLC0415
    from tcp_trace.notify import store  # noqa: PLC0415

    path = settings.state_dir / store.NAME
    try:
        owner = unprivileged.owner_of(settings.state_dir, path.name)
        taken = unprivileged.call(owner, f"looking at {path}", lambda: store.is_claimed(path))
    except unprivileged.Refused:
        return
    if taken is True:
        output.complain(
            f"another tcp-trace has STATE_DIR={settings.state_dir}: this one watches and logs, and"
            " sends nothing; to send messages, give it another STATE_DIR"
        )
