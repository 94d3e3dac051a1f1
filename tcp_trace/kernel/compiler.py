"""From C to programs and maps in the kernel: the only module that imports `bcc`."""

from __future__ import annotations

import os
import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from tcp_trace.kernel.contract import Kind, NotAttachedError, StartError

if TYPE_CHECKING:
    from pathlib import Path

    from tcp_trace.kernel.contract import Attach

# Compiling takes most of the start. No debug types are needed, and BCC itself runs all of clang's
# optimisations a second time: the code is the same without the first.
_LESS_WORK = ("-g0", "-Xclang", "-disable-llvm-passes")

# The prefixes of KRETFUNC_PROBE() and BPF_ITER(). Newer versions of BCC add the module:
# kretfunc__vmlinux__tcp_v4_connect.
_PREFIXES = {Kind.FEXIT: "kretfunc__", Kind.ITERATOR: "bpf_iter__"}


class Unit(NamedTuple):
    """One compilation, with the tree of headers for it; None for the kernel's own headers."""

    text: str
    flags: tuple[str, ...]
    tree: Path | None = None


def import_bcc() -> Any:  # noqa: ANN401 - bcc has no types
    """Return the module. Raises StartError if it is missing."""
    try:
        import bcc  # noqa: PLC0415 - 70 MB, needed by the caller only
    except ImportError:
        raise StartError(
            f"{sys.executable} has no BCC; install the package python3-bpfcc "
            "and use the distribution's /usr/bin/python3"
        ) from None
    return bcc


class Module:
    """A unit's maps, created at once, and its programs, loaded one by one.

    The constructor raises whatever BCC does: nothing narrower than Exception.
    """

    def __init__(self, unit: Unit) -> None:
        self._bcc = import_bcc()
        self._links: list[int] = []

        class Unattached(self._bcc.BPF):  # type: ignore[misc,name-defined] # bcc has no types
            """BCC attaches programs by their names; here the probes decide."""

            def _trace_autoload(self) -> None:
                """Attach nothing."""

        # The compiler runs in the tree, and clang also looks into `../lib`. Without this variable
        # BCC uses the kernel's own headers.
        os.environ.pop("BCC_KERNEL_SOURCE", None)
        if unit.tree is not None:
            os.environ["BCC_KERNEL_SOURCE"] = str(unit.tree)
        self.bpf: Any = Unattached(text=unit.text, cflags=[*_LESS_WORK, *unit.flags])

    @cached_property
    def programs(self) -> dict[str, bytes]:
        """The instructions of each program, by the name of its C function."""
        import ctypes as ct  # noqa: PLC0415 - only here

        lib, module = self._bcc.lib, self.bpf.module
        names = [lib.bpf_function_name(module, n) for n in range(lib.bpf_num_functions(module))]
        return {
            name.decode(): ct.string_at(
                lib.bpf_function_start(module, name), lib.bpf_function_size(module, name)
            )
            for name in names
        }

    def program_of(self, attach: Attach) -> str | None:
        """Return the name of the program for an attachment, None if it is not compiled."""
        prefix = _PREFIXES.get(attach.kind)
        if prefix is None:
            return attach.function if attach.function in self.programs else None
        endings = ("__" + attach.function,)
        found = [n for n in self.programs if n.startswith(prefix) and n.endswith(endings)]
        return found[0] if found else None

    def map_fd(self, name: str) -> int:
        """Return the descriptor of a map."""
        return int(self.bpf[name].get_fd())

    def attach(self, attach: Attach) -> tuple[int, int]:
        """Load and attach a program; return the descriptors of its link and of the program.

        The program's is -1 except for FEXIT: only for those the kernel counts missed runs. Raises
        NotAttachedError.
        """
        program = self._load(attach)
        link = self._link(attach, program)
        if link < 0:
            raise NotAttachedError(_refused(attach))
        self._links.append(link)
        return link, program if attach.kind is Kind.FEXIT else -1

    def _load(self, attach: Attach) -> int:
        name = self.program_of(attach)
        if name is None:
            raise NotAttachedError(f"{attach.function} is not compiled")
        types = self._bcc.BPF
        kinds = {Kind.KPROBE: types.KPROBE, Kind.RAW_TRACEPOINT: types.RAW_TRACEPOINT}
        loaded = name
        if attach.kind in _PREFIXES:  # libbcc_bpf finds the target in the program's name
            loaded = name.removesuffix(attach.function) + attach.name
        lib, module, own = self._bcc.lib, self.bpf.module, name.encode()
        fd = lib.bcc_func_load(
            *(module, kinds.get(attach.kind, types.TRACING), loaded.encode()),
            *(lib.bpf_function_start(module, own), lib.bpf_function_size(module, own)),
            *(lib.bpf_module_license(module), lib.bpf_module_kern_version(module)),
            *(0, None, 0, None, -1),
        )
        if fd < 0:
            raise NotAttachedError(f"{loaded} cannot be loaded")
        self.bpf.funcs[loaded.encode()] = types.Function(self.bpf, loaded.encode(), fd)
        return int(fd)

    def _link(self, attach: Attach, program: int) -> int:
        # Not by BPF's methods: attach_raw_tracepoint() allows one program per tracepoint, and
        # detach_kprobe() has to write to tracefs, which the unit hides.
        lib, name = self._bcc.lib, attach.name.encode()
        if attach.kind is Kind.KPROBE:
            return int(lib.bpf_attach_kprobe(program, 0, b"p_" + name, name, 0, 0))
        if attach.kind is Kind.RAW_TRACEPOINT:
            return int(lib.bpf_attach_raw_tracepoint(program, name))
        if attach.kind is Kind.FEXIT:
            return int(lib.bpf_attach_kfunc(program))
        return int(lib.bcc_iter_attach(program, None, 0))

    def detach(self, link: int) -> None:
        """Undo `attach`; the program stays loaded."""
        self._links.remove(link)
        os.close(link)

    def close(self) -> None:
        """Detach and unload everything."""
        for link in self._links:
            os.close(link)
        self._links = []
        self.bpf.cleanup()


def _refused(attach: Attach) -> str:
    return {
        Kind.KPROBE: f"the kprobe on {attach.target} cannot be placed",
        Kind.RAW_TRACEPOINT: f"this kernel has no tracepoint {attach.target}",
        Kind.FEXIT: f"this kernel cannot watch {attach.target}() return",
        Kind.ITERATOR: f"this kernel has no iterator {attach.target}",
    }[attach.kind]
