"""Everything that is done to a robot to see it stop.

One case a fault, on a played robot with a real supervisor, real topics and real processes.

    for case in CASES:
        outcome = run(robot, heard, case)

A case says what is done, in which state and for which reason the robot must end, and how long it may take to zero;
`bar_ms` None means that the robot must go on as if nothing had happened. Nothing that stopped may start again by itself
once the fault is gone.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from geometry_msgs.msg import Twist
from std_msgs.msg import Bool

from stack.supervisor.state import names
from tests.fakes.ros import Process, wait_until
from tests.fakes.supervision import Bench
from tests.testbed.deeds import body, say, silent, slot
from tests.testbed.faults_camera import CASES as CAMERA
from tests.testbed.faults_messages import CASES as MESSAGES
from tests.testbed.faults_stops import CASES as STOPS
from tests.testbed.injection import Case, Deed, Outcome, run
from tests.testbed.listening import Listening
from tests.testbed.played import LISTENER, NEW, ROBOT, PlayedRobot

MODEL = Path(__file__).parents[2] / "stack" / "models" / "reference" / "pilot-1.0.0"
AGE_MS = 500.0  # of scan and odometry in the played robot.toml
RAMP_MS = 150.0  # from 0.3 m/s at 2 m/s²
FLOOD_S = 1.0


def to_program(number: signal.Signals) -> Deed:
    """A signal to the process of slot a; it is replaced for the next case."""

    def deed(robot: PlayedRobot) -> None:
        robot.programs["a"].signal(number)

    return deed


def restart(name: str) -> Deed:
    """The played slot as another process of what it was at first."""

    def deed(robot: PlayedRobot) -> None:
        robot.slots[name].stop()
        robot.slots[name].heal()
        robot.slots[name].start()

    return deed


def bury(robot: PlayedRobot) -> None:
    """End the process of slot a for good, and let the played one speak again."""
    program = robot.programs.pop("a")
    with contextlib.suppress(ProcessLookupError):
        os.kill(program.pid, signal.SIGKILL)
    program.wait(3.0)
    robot.slots["a"].start()


def starve(robot: PlayedRobot) -> None:
    """Give the process of slot a a fifth of the time, in pieces of 200 ms, as a cgroup quota does."""
    program = robot.programs["a"]

    def duty() -> None:
        pause = threading.Event()
        for _ in range(8):
            program.signal(signal.SIGSTOP)
            pause.wait(0.16)
            program.signal(signal.SIGCONT)
            pause.wait(0.04)

    threading.Thread(target=duty, daemon=True).start()


def second_writer(robot: PlayedRobot) -> None:
    """Somebody else's teleoperation."""
    foreign = robot.ros.publisher("/cmd_vel", Twist)
    wait_until(lambda: foreign.get_subscription_count() >= 2, 5.0, "the second writer to be connected")
    message = Twist()
    message.linear.x = 0.3
    foreign.publish(message)
    wait_until(lambda: robot.status["latched"], 3.0, "the supervisor to notice")
    robot.ros.node.destroy_publisher(foreign)


def replay(robot: PlayedRobot) -> None:
    """An older process of the slot speaks up, and the real one is silent: its actions must not drive."""
    played = robot.slots["a"]
    played.epoch -= 1_000_000


def flood_sockets(robot: PlayedRobot) -> None:
    """A thousand connections, and a hundred megabytes without a newline."""

    def flood() -> None:
        clients = []
        for _ in range(1000):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)
            client.connect_ex(str(robot.layout.control_socket))
            clients.append(client)
        chunk, end = b"x" * 65_536, time.monotonic() + FLOOD_S
        sent = 0
        while time.monotonic() < end and sent < 100_000_000:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                client.settimeout(0.2)
                with contextlib.suppress(OSError):
                    client.connect(str(robot.layout.operator_socket))
                    while time.monotonic() < end:
                        sent += client.send(chunk)
        for client in clients:
            client.close()

    threading.Thread(target=flood, daemon=True).start()


def freeze_listener(robot: PlayedRobot) -> None:
    """A subscriber of everything, such as a monitor, is stopped in the middle of it."""
    program = Process(
        [robot.python, str(LISTENER), str(robot.folder / "frozen.jsonl")],
        robot.environment,
        robot.folder / "frozen.log",
    ).__enter__()
    wait_until(
        lambda: (
            "ready" in (robot.folder / "frozen.jsonl").read_text()
            if (robot.folder / "frozen.jsonl").exists()
            else False
        ),
        10.0,
        "it to hear",
    )
    program.signal(signal.SIGSTOP)
    robot.programs["frozen"] = program


def thaw_listener(robot: PlayedRobot) -> None:
    robot.programs.pop("frozen").__exit__(None)


def end_supervisor(number: signal.Signals) -> Deed:
    def deed(robot: PlayedRobot) -> None:
        robot.supervisor.signal(number)
        robot.supervisor.wait(5.0)

    return deed


def pause_supervisor(robot: PlayedRobot) -> None:
    """It is stopped for half a second, as on a machine that pauses, and goes on.

    The base has stopped, and nothing old may be said.
    """
    robot.supervisor.signal(signal.SIGSTOP)
    threading.Event().wait(0.5)
    robot.supervisor.signal(signal.SIGCONT)


def megabyte(robot: PlayedRobot) -> None:
    """One action with a megabyte of names, among the good ones."""
    played = robot.slots["a"]
    message = played.message()
    message.joint_names = ["x" * 1_000_000]
    played.publisher.publish(message)


def press(robot: PlayedRobot) -> None:
    robot.estop.publish(Bool(data=True))


def release(robot: PlayedRobot) -> None:
    robot.estop.publish(Bool(data=False))


def chatter(robot: PlayedRobot) -> None:
    """An e-stop button with a bad contact."""
    for _ in range(5):
        press(robot)
        release(robot)


def hold(robot: PlayedRobot) -> None:
    robot.control("hold", owner="fault", reason="ramp")


def unhold(robot: PlayedRobot) -> None:
    robot.control("unhold", owner="fault")


def damage(robot: PlayedRobot) -> None:
    """Flip a byte of the engine, and start the policy again: it must refuse to run."""
    engine = next((robot.layout.engines).glob("*/policy/engine.onnx"))
    data = bytearray(engine.read_bytes())
    data[len(data) // 2] ^= 1
    engine.write_bytes(bytes(data))
    robot.programs["a"].signal(signal.SIGTERM)
    robot.programs["a"].wait(5.0)
    if robot.start_policy().wait(20.0) == 0:
        raise AssertionError("a damaged engine ran")


NAN, INF = math.nan, math.inf
STOP = 150.0
CASES = (
    Case("policy_killed", to_program(signal.SIGKILL), "SAFE_STOP", "silence", STOP, bury, process=True),
    Case("policy_frozen", to_program(signal.SIGSTOP), "SAFE_STOP", "silence", STOP, bury, process=True),
    Case("policy_aborts", to_program(signal.SIGABRT), "SAFE_STOP", "silence", STOP, bury, process=True),
    Case("policy_terminated", to_program(signal.SIGTERM), "SAFE_STOP", "silence", STOP, bury, process=True),
    Case("policy_at_a_fifth_of_the_processor", starve, "SAFE_STOP", "silence", 250.0, bury, process=True),
    Case("slot_silent", silent(), "SAFE_STOP", "silence", STOP, restart("a")),
    Case("slot_has_nothing_to_say", slot(steps=0), "ARMED", "", STOP + RAMP_MS, slot(steps=8)),
    Case("action_nan", slot(value=[NAN, 0.0]), "LATCHED", "non_finite", STOP),
    Case("action_inf", slot(value=[0.0, INF]), "LATCHED", "non_finite", STOP),
    Case("action_too_narrow", slot(value=[0.3]), "LATCHED", "wrong_width", STOP),
    Case("action_too_wide", slot(value=[0.3, 0.0, 0.0]), "LATCHED", "wrong_width", STOP),
    Case("action_other_names", slot(names=["angular_z", "linear_x"]), "LATCHED", "wrong_width", STOP),
    Case("action_ten_times_too_large", slot(speed=3.0), "LIMITED", "speed", None),
    Case("action_stamp_in_the_future", slot(stamp_offset_s=1.0), "SAFE_STOP", "action_stale", STOP),
    Case("action_stamp_too_old", slot(stamp_offset_s=-2.0), "SAFE_STOP", "action_stale", STOP),
    Case("action_of_an_older_process", replay, "SAFE_STOP", "silence", STOP, restart("a")),
    Case("action_of_another_release", slot(release=NEW, epoch=2**62), "SAFE_STOP", "silence", STOP, restart("a")),
    Case("scan_lost", body(scan_on=False), "SAFE_STOP", "scan_stale", AGE_MS + 160.0),
    Case("scan_all_nan", body(ranges=[NAN] * 360), "SAFE_STOP", "scan_bad", 200.0),
    Case("scan_all_zero", body(ranges=[0.0] * 360), "SAFE_STOP", "scan_bad", 200.0),
    Case("scan_of_no_beams", body(ranges=[NAN]), "SAFE_STOP", "scan_bad", 200.0),
    Case("scan_frozen", body(ranges=[4.0] * 360), "SAFE_STOP", "scan_bad", 850.0),
    Case("scan_stamp_in_the_future", body(scan_stamp_offset_s=3600.0), "SAFE_STOP", "scan_bad", 200.0),
    Case("scan_stamp_an_hour_old", body(scan_stamp_offset_s=-3600.0), "SAFE_STOP", "scan_bad", 200.0),
    Case("odom_lost", body(odom_on=False), "SAFE_STOP", "odom_stale", AGE_MS + 80.0),
    Case("odom_frozen", body(frozen_odom=True), "SAFE_STOP", "odom_bad", 750.0),
    Case("odom_not_finite", body(odom_value=NAN), "SAFE_STOP", "odom_bad", 100.0),
    Case("odom_stamp_in_the_future", body(odom_stamp_offset_s=3600.0), "SAFE_STOP", "odom_bad", 100.0),
    Case("battery_unknown", body(battery=NAN), "SAFE_STOP", "battery_stale", 700.0 + RAMP_MS),
    Case("battery_at_19_percent", body(battery=0.19), "SAFE_STOP", "battery_low", 700.0 + RAMP_MS),
    Case(
        "battery_swings_around_the_floor", body(battery=0.19, swing=0.02), "SAFE_STOP", "battery_low", 1200.0 + RAMP_MS
    ),
    Case("something_steps_in_the_way", body(thing=(0.0, 0.24)), "SAFE_STOP", "", 250.0 + RAMP_MS),
    Case("something_stands_far_ahead", body(thing=(0.0, 2.5)), "RUN", "", None),
    Case("estop_pressed", press, "LATCHED", "estop", 60.0, release),
    Case("estop_chatters", chatter, "LATCHED", "estop", 100.0, release),
    Case("voice_says_stop", say("stop"), "ARMED", "", 60.0 + RAMP_MS + 60.0),
    Case("voice_says_emergency_stop", say("Emergency stop!"), "LATCHED", "estop", 60.0),
    Case("voice_is_garbage", say("\x00\x01ÿ" * 300), "RUN", "", None),
    Case("voice_is_a_megabyte", say("x" * 1_000_000), "RUN", "", None),
    Case("second_writer", second_writer, "LATCHED", "second_writer", 400.0),
    Case("hold", hold, "ARMED", "hold", 60.0 + RAMP_MS + 60.0, unhold),
    Case("sockets_flooded", flood_sockets, "RUN", "", None),
    Case("subscriber_frozen", freeze_listener, "RUN", "", None, thaw_listener),
    Case("switch_then_candidate_silent", silent("b"), "RUN", "silence", None, restart("b"), probation=True),
    Case(
        "switch_then_candidate_nan", slot("b", value=[NAN, 0.0]), "RUN", "non_finite", None, restart("b"),
        probation=True,
    ),
    Case(
        "switch_then_candidate_late", slot("b", stamp_offset_s=-2.0), "RUN", "action_stale", None, restart("b"),
        probation=True,
    ),
    Case(
        "switch_then_candidate_out_of_limits", slot("b", speed=3.0), "RUN", "out_of_limits", None, restart("b"),
        probation=True,
    ),
    Case("action_of_a_megabyte", megabyte, "LATCHED", "wrong_width", 250.0),
    Case("supervisor_paused", pause_supervisor, "SAFE_STOP", "overrun", 320.0, watch="odom"),
    Case("supervisor_killed", end_supervisor(signal.SIGKILL), "ENDED", "", 320.0, watch="odom"),
    Case("supervisor_terminated", end_supervisor(signal.SIGTERM), "ENDED", "", 200.0),
    Case("supervisor_interrupted", end_supervisor(signal.SIGINT), "ENDED", "", 200.0),
    *STOPS,
    *MESSAGES,
)  # fmt: skip
REAL_POLICY = (
    Case("camera_lost", body(camera_on=False), "ARMED", "", 300.0 + 70.0 + 120.0 + RAMP_MS, real_policy=True),
    Case("camera_frozen", body(frozen_camera=True), "ARMED", "", 30 * 70.0 + 120.0 + RAMP_MS, real_policy=True),
    Case(
        "real_policy_killed",
        to_program(signal.SIGKILL),
        "SAFE_STOP",
        "silence",
        STOP,
        lambda r: r.start_policy(),
        real_policy=True,
    ),
    *CAMERA,
    Case("engine_damaged", damage, "SAFE_STOP", "silence", 20_000.0, real_policy=True),
)
"""What only a real policy can do; in this order, the last one breaks it."""
QUICK = (
    "policy_killed",
    "action_nan",
    "action_too_wide",
    "scan_all_nan",
    "scan_frozen",
    "odom_stamp_in_the_future",
    "battery_at_19_percent",
    "something_steps_in_the_way",
    "second_writer",
    "sockets_flooded",
    "switch_then_candidate_late",
    *(case.name for case in STOPS),
    *(case.name for case in MESSAGES),
)


def policy_outcomes(folder: Path) -> Iterator[Outcome]:
    """What only a real policy can do wrong: the reference policy on a robot of its own."""
    body = ROBOT.replace("diff_drive", "mobile_base")
    with PlayedRobot(folder, body, slots="", model=MODEL) as robot, Listening(robot) as heard:
        for case in REAL_POLICY:
            yield run(robot, heard, case)


def clock_outcomes() -> list[Outcome]:
    """The ROS clock set while the robot drives, on an injected clock: no machine's own is touched.

    One tick is 20 ms.
    """
    found = []
    for name, step_s in (("hour_ahead", 3600.0), ("hour_back", -3600.0), ("tenth_ahead", 0.1), ("tenth_back", -0.1)):
        case = Case(f"clock_set_{name}", lambda robot: None, "SAFE_STOP", "clock_step", 60.0)
        bench = Bench()
        bench.drive()
        bench.clock_error_s, start = step_s, len(bench.outputs)
        bench.tick(20)
        reasons = tuple(names(bench.supervisor.machine.reasons | bench.supervisor.machine.latched))
        state = bench.state
        ticks = next(i for i, output in enumerate(bench.outputs[start:]) if output.command == (0.0, 0.0)) + 1
        bench.tick(200)
        resumed = bench.supervisor.machine.armed or bench.state != "SAFE_STOP"
        found.append(Outcome(case, state, reasons, ticks * 20.0, resumed, 20.0))
    return found
