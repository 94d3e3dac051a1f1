"""What is missing of the packages that this stands on."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tcp_trace.commands import check
from tcp_trace.kernel.contract import StartError
from tcp_trace.kernel.findings import Level
from tcp_trace.kernel.privileges import Account
from tcp_trace.service import attach
from tcp_trace.settings import config, environment, requirements


@pytest.mark.parametrize("requirement", requirements.REQUIRED, ids=lambda each: each.name)
def test_what_is_missing_is_named_with_its_package(
    requirement: requirements.Requirement, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has a finding with its apt line, and the start asks for it before it compiles."""
    gone = requirement._replace(name=f"absent_{requirement.name}")
    monkeypatch.setattr(requirements, "REQUIRED", (gone,))
    (found,) = (one for one in check._tools() if one.name == "packages")
    assert (found.level, f"absent_{requirement.name}" in found.detail) == (Level.FAIL, True)
    assert found.fix == f"apt install {requirement.package}"
    account = Account(os.getuid(), os.getgid(), ())
    monkeypatch.setattr(environment, "restrict", lambda: None)
    with pytest.raises(StartError, match=f"apt install {requirement.package}"):
        attach.start(config.load({}, None), account)


def test_the_list_is_what_the_code_imports() -> None:
    """No module of another package is imported that is not in the list, and none is for nothing."""
    imported = set()
    for path in (Path(__file__).parents[3] / "tcp_trace").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                imported.add((node.module or "").partition(".")[0])
    others = imported - sys.stdlib_module_names - {"tcp_trace", "_typeshed"}
    listed = {one.name for one in requirements.REQUIRED if not one.is_library}
    assert others == listed | {"prometheus_client"}


@pytest.mark.parametrize("command", ["check", "incidents", "run", "test-alert"])
def test_without_dotenv_there_is_a_sentence(tmp_path: Path, command: str) -> None:
    """A missing library is no traceback: its package is named."""
    (tmp_path / "env").touch()
    code = (
        "import sys; sys.modules['dotenv'] = None; from tcp_trace.commands.cli import main;"
        f"raise SystemExit(main([{command!r}, '--env-file', {str(tmp_path / 'env')!r}]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode in {1, 78}
    assert "apt install python3-dotenv" in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr
