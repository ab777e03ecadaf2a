"""The seed's defects that are the policy's to mend, each by its number in the inventory.

Where another test says more, this one is short.
"""

from __future__ import annotations

import ast
import json
import math
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from model_registry.core.contract import Contract
from model_registry.core.contract.cameras import CameraRecipe
from model_registry.core.contract.observation import TextRecipe
from model_registry.core.errors import HomeportError, UsageError
from stack.engine.backends import BackendIdentity
from stack.engine.images import ImagePreprocessor
from stack.engine.lidar import lidar_sectors
from stack.engine.observing import Frame, LaserScan, Observation, Tensor
from stack.engine.words import CommandTokenizer
from stack.models.commands import PAD, UNKNOWN
from stack.models.package import SECTORS
from stack.monitor.resources import Resources, ResourceSample
from stack.policy.cdr import parse_scan
from stack.policy.ladder import HOT_S, LIMITS, Ladder
from stack.policy.profile import PROFILES, SETTINGS, TopicFacts, profile
from stack.policy.slot import Slot
from tests.fakes.observations import Constant, beams, command, drive, feed, frame, make_slot, ros, timed
from tests.fakes.tiny import make_tiny_model

POLICY = Path(__file__).parents[3] / "stack" / "policy"
MODULES = sorted(POLICY.glob("*.py"))
FULL_TURN = (-math.pi, math.tau / 360)


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return make_tiny_model(tmp_path / "model")


@pytest.fixture
def backend() -> Constant:
    return Constant()


@pytest.fixture
def slot(model: Path, backend: Constant) -> Slot:
    return make_slot(model, backend)


def calls() -> Iterator[tuple[str, str]]:
    """(module, called name) of every call in the policy's code, such as `time.time`."""
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                yield path.stem, ast.unparse(node.func)


def changed(model: Path, change: object) -> bytes:
    document = json.loads((model / "vla.json").read_bytes())
    change(document)  # type: ignore[operator]
    return json.dumps(document).encode()


def test_d01_every_module_can_be_imported() -> None:
    names = [f"stack.policy.{path.stem}" for path in MODULES if path.stem != "__main__"]
    subprocess.run([sys.executable, "-W", "ignore", "-c", f"import {', '.join(names)}"], check=True, timeout=60)


def test_d01_a_tick_without_an_action_is_counted_and_becomes_trouble(slot: Slot, backend: Constant) -> None:
    drive(slot)
    backend.value = math.nan
    for number in range(1, 30):
        now = 10.0 + number / 10
        feed(slot, now)
        slot.infer(now, ros(now))
        assert slot.action(now, ros(now)).steps is None
    assert slot.ticks.empty == 29 and slot.ticks.struggling
    slot.pace.adjust({}, 13.0)
    assert slot.pace.rung.name == "full"  # it uses too little to give anything up


@pytest.mark.parametrize(
    ("name", "shape"),
    [("lidar", [1, 180]), ("lidar", [91]), ("tokens", [1, 20]), ("image", [1, 3, 224, 224]), ("image", [3, 112, 11])],
)
def test_d02_a_shape_that_its_preparation_does_not_give_is_refused(model: Path, name: str, shape: list[int]) -> None:
    def change(document: dict) -> None:
        document["graphs"][0]["shapes"] = {name: shape}

    with pytest.raises(UsageError, match=name):
        Contract.parse(changed(model, change))


@pytest.mark.parametrize(("part", "dtype"), [("text", "float32"), ("cameras.front", "int64"), ("text", "uint8")])
def test_d09_a_kind_of_number_that_is_not_fed_is_refused(model: Path, part: str, dtype: str) -> None:
    def change(document: dict) -> None:
        table = document["observation"]
        for name in part.split("."):
            table = table[name]
        table["dtype"] = dtype

    with pytest.raises(UsageError, match=rf"{part}.dtype"):
        Contract.parse(changed(model, change))


def test_d08_the_backend_is_given_whole_arrays(slot: Slot, backend: Constant) -> None:
    drive(slot)
    inputs = backend.given
    assert all(value.flags.c_contiguous for value in inputs.values())
    assert {name: value.dtype for name, value in inputs.items()} == {
        "image": np.float32,
        "lidar": np.float32,
        "tokens": np.int64,
    }


def test_d13_a_host_without_gpu_libraries_imports_everything() -> None:
    program = (
        "import sys, stack.policy.node, stack.policy.load;"
        "assert not {'torch', 'tensorrt', 'torch_tensorrt', 'cuda', 'pycuda', 'pynvml', 'jtop'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True, timeout=60)


@pytest.mark.parametrize(
    ("name", "degraded", "optimized"),
    [("tensorrt", False, True), ("tensorrt", True, False), ("onnxruntime", True, False), ("torch", False, False)],
)
def test_d15_what_is_reported_is_what_really_runs(name: str, degraded: bool, optimized: bool) -> None:
    facts = TopicFacts(1.0, {}, 0.01, BackendIdentity(name, {}, "fp16"), degraded, 0, 0, ResourceSample())
    body = PROFILES["optimized"].topics[0].body(facts)
    assert isinstance(body, dict) and body["model_optimized"] is optimized


def test_d17_words_are_the_same_numbers_in_every_process(model: Path) -> None:
    program = (
        "import sys, pathlib; from stack.engine.words import CommandTokenizer as T;"
        "from model_registry.core.contract.observation import TextRecipe;"
        "print(T(pathlib.Path(sys.argv[1]), TextRecipe('', 10))('turn left').numbers.tolist())"
    )
    argv = [sys.executable, "-c", program, str(model / "tokenizer.json")]
    said = {
        subprocess.run(argv, env={"PYTHONHASHSEED": seed}, capture_output=True, check=True, timeout=60).stdout
        for seed in ("0", "7")
    }
    here = CommandTokenizer(model / "tokenizer.json", TextRecipe("", 10))("turn left").numbers
    assert said == {f"{here.tolist()}\n".encode()}


def test_d18_padding_is_no_word_and_a_command_of_unknown_words_moves_nothing(slot: Slot, model: Path) -> None:
    tokens = CommandTokenizer(model / "tokenizer.json", TextRecipe("", 10))("turn blarg").numbers
    assert tokens[0, 1] == UNKNOWN and tokens[0, 2] == PAD
    slot.on_command(command("blarg flub"), 10.0)
    feed(slot, 10.0)
    assert not slot.infer(10.0, ros(10.0))
    assert slot.action(10.0, ros(10.0)).void_reason == "command_without_motion"


def test_d19_pixels_are_rgb_and_float32() -> None:
    red = np.zeros((4, 4, 3), np.uint8)
    red[:, :, 2] = 255  # as bgr8
    tensor = ImagePreprocessor(CameraRecipe(4, 4))((Frame(red, (2, 1, 0)),))
    assert tensor.dtype == np.float32 and tensor[0, :, 0, 0].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("count", [90, 180, 360, 720])
def test_d20_beams_are_placed_by_angle_however_many_there_are(count: int) -> None:
    ranges = np.full(count, 2.0, np.float32)
    ranges[count * 3 // 4] = 0.5  # a quarter turn to the left
    sectors, _ = lidar_sectors(ranges, -math.pi, math.tau / count, 0.05, 12.0, 90, 3.0)
    assert int(np.argmin(sectors)) == 67


def test_d20_a_scanner_that_is_mounted_turned_shows_what_is_where_on_the_body(model: Path, backend: Constant) -> None:
    ranges = np.full(360, 2.0, np.float32)
    ranges[180] = 0.5  # ahead of the scanner
    scan, dark = LaserScan(0, *FULL_TURN, 0.05, 12.0, ranges), Frame(np.zeros((24, 32, 3), np.uint8))
    nearest = []
    for yaw in (0.0, math.pi / 2):
        inference = timed(model, backend, yaw)
        inference(Observation(frames={"front": (dark,)}, scan=scan, text="go to the red pillar"))
        nearest.append(int(np.argmin(backend.seen["lidar"])))
    assert nearest[1] - nearest[0] == round(SECTORS / 4)


def test_d21_beams_that_say_nothing_are_left_out_and_their_part_is_told(slot: Slot) -> None:
    ranges = np.full(360, 2.0, np.float32)
    ranges[:90] = (np.nan, 0.0, -np.inf) * 30
    _, valid = lidar_sectors(ranges, *FULL_TURN, 0.05, 12.0, 90, 3.0)
    assert valid == 0.75
    slot.on_scan(beams(1010, 0.0), 10.0, ros(10.0))
    assert slot.inputs(10.0, ros(10.0))["scan"]["valid"] == parse_scan(beams(1010, 0.0)).valid == 0.0  # type: ignore[index]


@pytest.mark.parametrize("missing", ["camera_front", "scan"])
def test_d22_a_missing_input_stops_and_is_never_made_up(slot: Slot, missing: str) -> None:
    slot.on_command(command("turn left"), 10.0)
    if missing == "camera_front":
        slot.on_scan(beams(1010), 10.0, ros(10.0))
    else:
        slot.on_camera("front", frame(1010), 10.0, ros(10.0))
    assert not slot.infer(10.0, ros(10.0))
    assert slot.action(10.0, ros(10.0)).void_reason == f"{missing}_missing"


def test_d23_nothing_that_is_too_old_moves_the_robot(slot: Slot) -> None:
    slot.on_command(command("turn left", 0.2), 10.0)
    feed(slot, 10.0)
    assert slot.infer(10.0, ros(10.0))
    slot.on_scan(beams(1010.31), 10.31, ros(10.31))
    assert slot.action(10.31, ros(10.31)).void_reason == "command_expired"
    slot.on_command(command("turn left"), 10.31)
    assert slot.action(10.31, ros(10.31)).void_reason == "camera_front_stale"


def test_d24_d47_the_node_takes_sensors_best_effort_and_logs_nothing_at_tick_rate() -> None:
    text = (POLICY / "node.py").read_text()
    assert "_SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)" in text
    assert not [name for _, name in calls() if "get_logger" in name or name.startswith(("log.", "logging."))]


def test_d25_durations_are_monotonic_and_wall_time_is_only_for_stamps() -> None:
    assert {module for module, name in calls() if name in ("time.time", "time.time_ns")} == {"node"}


class Held(Constant):
    """A backend that computes for as long as a test wants."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.free = threading.Event(), threading.Event()
        self.free.set()

    def infer(self, inputs: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        self.begun.set()
        assert self.free.wait(30.0)
        return super().infer(inputs)


def test_d26_a_slow_inference_delays_no_tick(model: Path) -> None:
    """While it computes in its own thread, ticks take the chunk that is there, and frames and commands are received."""
    backend = Held()
    slot = make_slot(model, backend)
    drive(slot)
    backend.begun.clear()
    backend.free.clear()
    feed(slot, 10.04)
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(slot.infer, 10.04, ros(10.04))
        try:
            assert backend.begun.wait(30.0)
            left = threads.submit(lambda: [slot.action(10.0 + n / 20, ros(10.0 + n / 20)).steps for n in (1, 2, 3)])
            assert [len(steps) for steps in left.result(30.0) if steps is not None] == [6, 5, 4]
            threads.submit(feed, slot, 10.16).result(30.0)
            threads.submit(slot.on_command, command("turn left"), 10.16).result(30.0)
            assert not slow.done()
        finally:
            backend.free.set()
    assert slow.result() and slot.chunks.delay_steps == 3


def test_d27_d29_one_sampler_that_never_waits(tmp_path: Path) -> None:
    text = (POLICY.parent / "monitor" / "resources.py").read_text()
    assert "cpu_percent(None)" in text and "interval" not in text
    assert not [module for module, name in calls() if name.startswith("psutil.cpu_percent")]
    assert Resources(tmp_path).sample().memory_percent is not None


def test_d28_resource_optimized_acts(slot: Slot) -> None:
    drive(slot)
    assert slot.action(10.0, ros(10.0)).steps is not None


def test_d30_only_language_is_cached_and_by_its_text(slot: Slot) -> None:
    drive(slot)
    first = slot.inference.cache("go to the red pillar")
    assert first is slot.inference.cache("go to the red pillar")
    assert slot.inference.cache.misses == 1


def test_d31_nothing_empties_caches_while_it_drives() -> None:
    assert not [name for _, name in calls() if "empty_cache" in name or name == "gc.collect"]


def test_d32_the_model_changes_once_for_a_load_that_stays_and_back_after_a_calm_time() -> None:
    ladder, seen = Ladder(), []
    for tenth in range(600):  # the seed changed its mind every second of this
        load = {"cpu_percent": 86.0 if tenth % 20 < 10 else 84.0}
        ladder = ladder.step(load, 0.5, tenth / 10, 2)
        seen.append(ladder.index)
    assert seen == [0] * 600
    assert HOT_S >= 2.0 and LIMITS["cpu_percent"] == LIMITS["memory_percent"] == (85.0, 60.0)


@pytest.mark.parametrize("metres", [math.nan, 0.0, -math.inf])
def test_d33_a_scan_that_says_nothing_stops(slot: Slot, metres: float) -> None:
    drive(slot)
    slot.on_scan(beams(1010, metres), 10.0, ros(10.0))
    assert slot.action(10.0, ros(10.0)).void_reason == "scan_blind"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_d39_a_number_that_is_not_finite_is_no_action(slot: Slot, backend: Constant, value: float) -> None:
    backend.value = value
    drive(slot)
    assert slot.action(10.0, ros(10.0)).steps is None
    assert slot.chunks.non_finite == 1


def test_d41_what_was_seen_too_long_ago_is_dropped_before_it_acts(model: Path, backend: Constant) -> None:
    slot = make_slot(model, backend, "safe_production", max_cycle_s=0.002)
    backend.seconds = 0.004
    drive(slot)
    assert slot.action(10.0, ros(10.0)).steps is None and slot.slow == 1


def test_d43_no_slot_writes_cmd_vel() -> None:
    assert not [path for path in MODULES if "cmd_vel" in path.read_text() or "Twist" in path.read_text()]


def test_d48_the_advisory_score_decides_nothing() -> None:
    users = {path.stem for path in MODULES if "advisory" in path.read_text()}
    assert users == {"slot", "chunks", "status", "node"}  # kept, told
    read = {
        f"{path.stem}: {ast.unparse(node.test if isinstance(node, ast.If) else node)}"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.If, ast.IfExp, ast.Compare)) and "advisory" in ast.unparse(getattr(node, "test", node))
    }
    told = {"node: action.advisory is not None", "node: message.points and action.advisory is not None"}
    assert read == told, "whether there is one to tell, and nothing else"


def test_d49_settings_have_a_type_and_a_range() -> None:
    for name, (low, high) in SETTINGS.items():
        assert low <= getattr(PROFILES["optimized"], name) <= high
    with pytest.raises(HomeportError):
        profile("optimized", {"camera_max_age_s": 1e9})
    assert replace(PROFILES["optimized"], inference_hz=5.0) == profile("optimized", {"inference_hz": 5.0})
