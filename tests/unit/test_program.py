"""Stage 1 on a kernel that cannot do what was asked for."""

from __future__ import annotations

import pytest

from tcp_trace.config import Hook
from tcp_trace.kernel import program


class WithoutKprobes:
    """What BCC does on a kernel without kprobes."""

    def attach_kprobe(self, **_: object) -> None:
        """Fail as BCC does."""
        raise OSError("it's not traceable")


def test_a_kprobe_that_cannot_be_placed_names_the_way_out() -> None:
    """Who insists on the kprobe is told which variable that was, why it fails, what to write."""
    with pytest.raises(program.StartError) as caught:
        program._attach(WithoutKprobes(), Hook.KPROBE)
    assert str(caught.value) == (
        "HOOK=kprobe: the kprobe on tcp_set_state cannot be placed: it's not traceable; "
        "use HOOK=auto"
    )
