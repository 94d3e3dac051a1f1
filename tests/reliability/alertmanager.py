"""A real Alertmanager: the distribution's, unpacked and not installed, which would start it."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = "prometheus-alertmanager"
_CACHE = Path.home() / ".cache" / "tcp-trace" / PACKAGE
_PATIENCE = 60.0

# As docs/WEBHOOK.md advises, with waits that a test can wait for.
_CONFIGURATION = """
route:
  receiver: team
  group_by: [alertname, destination]
  group_wait: 3s
  group_interval: 5s
  repeat_interval: 4h
receivers:
  - name: team
    webhook_configs:
      - url: {webhook}
        send_resolved: true
"""


class Alertmanager(NamedTuple):
    """A running one."""

    url: str

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that stand."""
        with urllib.request.urlopen(f"{self.url}/api/v2/alerts", timeout=10) as answer:  # noqa: S310 - loopback
            found: list[dict[str, Any]] = json.load(answer)
        return found


def binary() -> Path:
    """Return the program, fetched by apt where the cache has none."""
    program = _CACHE / "usr" / "bin" / PACKAGE
    if program.exists():
        return program
    _CACHE.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_CACHE.parent) as work:
        download = ["apt-get", "-q", "download", PACKAGE]
        if subprocess.run(download, cwd=work, capture_output=True, check=False).returncode:
            subprocess.run(["apt-get", "-q", "update"], check=True, capture_output=True)
            subprocess.run(download, cwd=work, check=True, capture_output=True)
        (package,) = Path(work).glob("*.deb")
        unpacked = Path(work, "unpacked")
        subprocess.run(["dpkg-deb", "-x", package, unpacked], check=True)
        shutil.rmtree(_CACHE, ignore_errors=True)
        unpacked.rename(_CACHE)
    return program


@contextmanager
def running(folder: Path, webhook: str) -> Iterator[Alertmanager]:
    """Run one on loopback that notifies this webhook."""
    configuration = folder / "alertmanager.yml"
    configuration.write_text(_CONFIGURATION.format(webhook=webhook), encoding="utf-8")
    listens = f"127.0.0.1:{free_port()}"
    command = [
        *_with_templates(binary().parent.parent / "share"),
        str(binary()),
        f"--config.file={configuration}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={listens}",
        "--cluster.listen-address=",
    ]
    with (folder / "alertmanager.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait_for(f"http://{listens}/-/ready", process, folder / "alertmanager.log")
            yield Alertmanager(f"http://{listens}")
        finally:
            process.terminate()
            process.wait(30)


def _with_templates(share: Path) -> list[str]:
    """Return what runs a command with the package's files in /usr/share: it looks nowhere else."""
    layers = f"lowerdir={share}:/usr/share"
    mount = f'mount -t overlay overlay -o "{layers}" /usr/share && exec "$@"'
    return ["unshare", "--mount", "--", "sh", "-c", mount, "sh"]


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            urllib.request.urlopen(url, timeout=5).close()  # noqa: S310 - loopback
        except OSError:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(log.read_text(encoding="utf-8")) from None
            time.sleep(0.1)
        else:
            return
