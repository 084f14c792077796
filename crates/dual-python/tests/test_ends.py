"""Programs end as Python itself ends them."""

from __future__ import annotations

import os
from pathlib import Path

import ends
import postgres


def test_programs_end_as_pythons_own_do(shared_server: postgres.Server, tmp_path: Path) -> None:
    kinds = ends.available()
    jobs = 2 * (os.cpu_count() or 1)
    wrong = ends.count(kinds, 5 * len(kinds), jobs, shared_server, str(tmp_path))
    assert 5 * len(kinds) >= 200 and not wrong, ends.told(wrong)
