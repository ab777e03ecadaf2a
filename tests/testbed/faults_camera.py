"""Cases of faults of the camera, on a robot that a real policy drives: it stands while its camera cannot be used.

The slot says in its status what is wrong (tests/integration/test_slot_inputs.py). The supervisor only hears that it has
nothing to do, so that the robot stays armed.
"""

from __future__ import annotations

from tests.testbed.deeds import body
from tests.testbed.injection import Case

_FRAME_MS = 70.0
_TICKS_MS = 120.0  # of the slot and of the supervisor
_RAMP_MS = 150.0  # from 0.3 m/s at 2 m/s²
_MAX_AGE_MS = 300.0  # of the camera, in the profile of the reference policy
_AT_ONCE_MS = _FRAME_MS + _TICKS_MS + _RAMP_MS

CASES = (
    Case("camera_stamped_80_ms_ahead", body(camera_stamp_offset_s=0.08), "ARMED", "", _AT_ONCE_MS, real_policy=True),
    Case("camera_stamp_zero", body(camera_stamp_offset_s=None), "ARMED", "", _AT_ONCE_MS, real_policy=True),
    Case("camera_stamp_a_second_old", body(camera_stamp_offset_s=-1.0), "ARMED", "", _AT_ONCE_MS, real_policy=True),
    Case("camera_stamp_an_hour_ahead", body(camera_stamp_offset_s=3600.0), "ARMED", "", _AT_ONCE_MS, real_policy=True),
    Case(
        "camera_encoding_that_nobody_reads",
        body(camera_encoding="yuv420"),
        "ARMED",
        "",
        _MAX_AGE_MS + _AT_ONCE_MS,
        real_policy=True,
    ),
)
