"""Write the golden files anew: only when what is shown was changed on purpose."""

from __future__ import annotations

import sys

from tests.unit.notify.golden import SAMPLES, golden_file, rendered

for sample in SAMPLES:
    golden_file(sample).write_text(rendered(sample), encoding="utf-8")
sys.stdout.write(f"wrote {len(SAMPLES)} golden files; now read what changed: git diff\n")
