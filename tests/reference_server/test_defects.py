"""Every defect changes what it says, and the conforming server does not show it."""

import probes_of_limits  # noqa: F401 - its probes register themselves
import probes_of_pages  # noqa: F401 - the same
import pytest
from probes import PROBES, insert_repeats

from openbell.reference_server.behaviour import Behaviour
from openbell.reference_server.defects import all_defects

# Those of streams and retries are shown in test_stream_variants.py and test_retries.py, those of fuzzing by the proof;
# what shows under load alone claims no check, and is shown there.
ELSEWHERE = ("WS", "CRD-003", "IDM", "FUZ")
DEFECTS = {one.name: one for one in all_defects()
           if one.catches and not any(check.startswith(ELSEWHERE) for check in one.catches)}


def test_every_defect_has_a_probe_and_says_what_it_is():
    assert PROBES.keys() == DEFECTS.keys()
    for one in DEFECTS.values():
        assert one.doc.endswith(".")
        assert one.catches
        assert all(rules and all(rules) for rules in one.catches.values())


CRASHES = {"limit-crashes", "tampered-crashes", "malformed-token-crashes", "anonymous-crashes"}


@pytest.mark.parametrize("name", sorted(DEFECTS))
async def test_the_defect_shows(start, name, caplog):
    assert await PROBES[name](start(DEFECTS[name].apply(Behaviour())))
    assert ("crashed" in caplog.text) == (name in CRASHES)


@pytest.mark.parametrize("name", sorted(DEFECTS))
async def test_the_conforming_server_does_not_show_it(start, name):
    assert not await PROBES[name](start())


@pytest.mark.parametrize("name", ["sealed-offset", "offset-cursor"])
async def test_offsets_repeat_rows_when_one_is_inserted_before_them(start, name):
    assert await insert_repeats(start(DEFECTS[name].apply(Behaviour())))
    assert not await insert_repeats(start())
