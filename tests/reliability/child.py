"""The service without a kernel as a process of its own: `python3 -m tests.reliability.child`.

Takes a JSON object: `state`, `url` and the `environ` of the settings. With `tasks`, it is a user
of its own who may have so many tasks, until SIGUSR1 lets him have more. A message waits before it
starts. Ends by SIGTERM, and then prints what was imported by another thread than the main one.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tcp_trace.log import logs
from tcp_trace.notify.answers import judge_status
from tcp_trace.notify.httpchannel import HttpChannel
from tcp_trace.probes.connectmaps import Maps
from tcp_trace.service import daemon
from tests.reliability.pipeline import feed, record, service, settings


def main(given: dict[str, Any]) -> int:
    """Run the service until SIGTERM."""
    configured = settings(Path(given["state"]), given["url"], **given["environ"])
    logs.setup(configured, None, sys.stderr)
    logging.getLogger(__name__).info("the log has its thread")
    logs.flush()
    if "tasks" in given:
        _limit(given["tasks"], given["state"])
    imported = _note_imports()
    daemon._HOUSEKEEPING = 0.2
    Maps.watch = lambda *_: None  # type: ignore[method-assign] # there is no map
    running = service(configured)
    feed(running, [record(0, "192.0.2.1")])
    code = running.run()
    sys.stdout.write(json.dumps(imported) + "\n")
    return code


def _limit(tasks: int, state: str) -> None:
    """Become somebody who may have so many tasks; what he could not read is loaded before."""
    hard = resource.getrlimit(resource.RLIMIT_NPROC)[1]
    if os.geteuid() == 0:
        HttpChannel(_Nowhere(), judge_status)
        __import__("tcp_trace.service.metrics")
        nobody_else = 50_000_000 + os.getpid()  # a process that just ended may still count
        os.chown(state, nobody_else, nobody_else)
        os.setgroups([])
        os.setresgid(nobody_else, nobody_else, nobody_else)
        os.setresuid(nobody_else, nobody_else, nobody_else)
    resource.setrlimit(resource.RLIMIT_NPROC, (tasks, hard))
    signal.signal(
        signal.SIGUSR1, lambda *_: resource.setrlimit(resource.RLIMIT_NPROC, (hard, hard))
    )


class _Nowhere:
    def reveal(self) -> str:
        return "http://127.0.0.1:1/"


def _note_imports() -> list[str]:
    """Return a list that gets what is imported by another thread than the main one."""
    imported: list[str] = []

    def heard(event: str, arguments: tuple[object, ...]) -> None:
        if event == "import" and threading.current_thread() is not threading.main_thread():
            imported.append(str(arguments[0]))

    sys.addaudithook(heard)
    return imported


if __name__ == "__main__":
    raise SystemExit(main(json.loads(sys.argv[1])))
