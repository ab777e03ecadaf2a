"""The command lines of containers, flag by flag, and what is asked of Docker before anything stops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_registry.core.digest import Digest
from model_registry.core.documents import Reader, dump
from model_registry.core.errors import HomeportError, IncompatibleError, UsageError
from model_registry.core.layout import Layout
from model_registry.core.release import Release, check_image
from stack.agent.runtime.containers import (
    check_engine,
    device_argv,
    gpu_options,
    slot_argv,
    tool_argv,
    weight_options,
)
from stack.agent.settings.config import Config
from tests.fakes.robot import release_fields

RELEASE = Release.parse(dump(release_fields(Digest.of(b"model"))))
IMAGE = f"sha256:{'1' * 64}"
DEVICE = f"registry.example.org:5000/homeport/stack@sha256:{'2' * 64}"
HARDENED = [
    "docker", "run", "--rm", "--pull", "never", "--network", "host", "--log-driver", "none", "--user", "10001:10001",
    "--read-only", "--tmpfs", "/tmp", "--pids-limit", "512", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
]  # fmt: skip
AGENT = f"""
schema = 1
runtime = "docker"
source = "https://registry.example.org:5000"
repository = "releases/pilot"
domain_id = 41
device_image = "{DEVICE}"
environment = {{ OMP_NUM_THREADS = "1" }}
"""


def settings(folder: Path, text: str = AGENT) -> Config:
    path = folder / "agent.toml"
    path.write_text(text)
    return Config.load(path)


def binds(*paths: str) -> list[str]:
    """`path` is read-only, `path+` is not."""
    ways = [(path.rstrip("+"), "" if path.endswith("+") else ",readonly") for path in paths]
    return [word for path, way in ways for word in ("--mount", f"type=bind,source={path},target={path}{way}")]


def test_a_slot_sees_its_own_release_and_may_write_its_status(tmp_path: Path) -> None:
    layout, root = Layout(tmp_path, Path("/etc/homeport"), Path("/run/homeport")), tmp_path
    folder = layout.release(RELEASE.digest).path
    folder.mkdir(parents=True)
    (folder / "model").symlink_to(f"../../models/{RELEASE.model.hex}")
    (folder / "engine").symlink_to("../../engines/key")
    argv = slot_argv(layout, settings(tmp_path), RELEASE, "a", IMAGE)
    assert list(argv) == [
        *HARDENED, "--name", "homeport-slot-a",
        "--env", f"HOMEPORT_RELEASE={RELEASE.digest}", "--env", "ROS_DOMAIN_ID=41", "--env", "OMP_NUM_THREADS=1",
        "--env", "HOMEPORT_SLOT=a",
        *binds(f"{root}/slots", str(folder), f"{root}/models/{RELEASE.model.hex}", f"{root}/engines/key"),
        *binds("/etc/homeport/robot.toml", "/etc/homeport/dds.xml", "/run/homeport/slot-a+"),
        IMAGE, "stack.policy", "--slot", "a", "--root", str(root),
    ]  # fmt: skip


def test_tools_get_the_registry_s_authority_and_login_and_no_health_check(tmp_path: Path) -> None:
    layout = Layout(Path("/var/lib/homeport"), tmp_path, Path("/run/homeport"))
    (tmp_path / "registry-ca.crt").touch()
    (tmp_path / "docker").mkdir()
    trust = ["--env", f"SSL_CERT_FILE={tmp_path}/registry-ca.crt", "--env", f"DOCKER_CONFIG={tmp_path}/docker"]
    told = ["--env", "HOMEPORT_PROGRESS=1"]
    assert list(device_argv(layout, settings(tmp_path), DEVICE)) == [
        *HARDENED, "--name", "homeport-tool", "--no-healthcheck", *trust, *told,
        *binds(f"{tmp_path}/registry-ca.crt", f"{tmp_path}/docker", "/var/lib/homeport/ingest+"),
        DEVICE,
    ]  # fmt: skip
    assert list(tool_argv(layout, settings(tmp_path), RELEASE, IMAGE)) == [
        *HARDENED, "--name", "homeport-tool", "--no-healthcheck", "--cpu-shares", "128",
        "--env", f"HOMEPORT_RELEASE={RELEASE.digest}", "--env", "ROS_DOMAIN_ID=41", "--env", "OMP_NUM_THREADS=1",
        *trust, *told,
        *binds(f"{tmp_path}/robot.toml", f"{tmp_path}/registry-ca.crt", f"{tmp_path}/docker", "/var/lib/homeport+"),
        IMAGE,
    ]  # fmt: skip


def test_who_builds_and_who_runs_see_the_release_and_the_power_mode_of_a_jetson(tmp_path: Path) -> None:
    """Both are in the engine key; what one of them did not see would make every engine foreign to the other."""
    layout = Layout(tmp_path / "lib/homeport", tmp_path / "etc/homeport", Path("/run/homeport"))
    seen = {f"{tmp_path}/etc/nv_tegra_release", f"{tmp_path}/lib/nvpmodel"}
    for path in seen:
        Path(path).mkdir(parents=True)
    for argv in (
        slot_argv(layout, settings(tmp_path), RELEASE, "a", IMAGE),
        tool_argv(layout, settings(tmp_path), RELEASE, IMAGE),
    ):
        assert {f"type=bind,source={path},target={path},readonly" for path in seen} <= set(argv)


def test_a_real_robot_needs_no_root_option(tmp_path: Path) -> None:
    assert slot_argv(Layout.default(), settings(tmp_path), RELEASE, "b", IMAGE)[-3:] == ("stack.policy", "--slot", "b")


def test_a_slot_weighs_on_the_processor_what_the_settings_say(tmp_path: Path) -> None:
    layout, config = Layout.default(), settings(tmp_path, f"slot_weight = 400\n{AGENT}")
    argv = slot_argv(layout, config, RELEASE, "a", IMAGE)
    assert argv[argv.index("--cpu-shares") + 1] == "10462"
    assert "--cpu-shares" not in slot_argv(layout, settings(tmp_path), RELEASE, "a", IMAGE)
    assert [weight_options(weight)[1] for weight in (1, 10_000)] == ["2", "262144"]


def test_a_gpu_comes_in_by_runtime_or_by_device() -> None:
    assert gpu_options("none") == ()
    assert gpu_options("runtime")[:4] == ("--runtime", "nvidia", "--env", "NVIDIA_VISIBLE_DEVICES=all")
    assert gpu_options("cdi")[:2] == ("--device", "nvidia.com/gpu=all")


@pytest.mark.parametrize(
    ("gpu", "version", "changes", "words"),
    [
        ("none", "20.10.24", {}, None),
        ("none", "19.03.1", {}, "too old"),
        ("none", "", {}, "does not answer"),
        ("runtime", "20.10.24", {}, "nvidia-container-toolkit"),
        ("runtime", "20.10.24", {"Runtimes": {"nvidia": {}}}, None),
        ("cdi", "24.0.1", {"CDISpecDirs": ["{}/cdi"]}, "28.3 or newer"),
        ("cdi", "28.3.0", {"CDISpecDirs": []}, "daemon.json"),
        ("none", "20.10.24", {"SecurityOptions": ["name=seccomp,profile=default"]}, None),
        (
            "none",
            "20.10.24",
            {"SecurityOptions": ["name=seccomp,profile=default", "name=userns"]},
            "userns-remap is on",
        ),
        ("none", "28.3.0", {"SecurityOptions": ["name=rootless", "name=cgroupns"]}, "its engine is rootless"),
        ("cdi", "28.3.0", {"CDISpecDirs": ["{}/none"]}, "nvidia-ctk cdi generate"),
        ("cdi", "28.3.0", {"CDISpecDirs": ["{}/none", "{}/cdi"]}, None),
    ],
)
def test_an_engine_that_cannot_do_it_is_told_with_the_fix(
    gpu: str, version: str, changes: dict[str, object], words: str | None, tmp_path: Path
) -> None:
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi/nvidia.yaml").touch()
    fields = {"ServerVersion": version, "Runtimes": {"runc": {}}, "CDISpecDirs": None, **changes}
    info = Reader(json.loads(json.dumps(fields).replace("{}/", f"{tmp_path}/")), "docker info")
    if words is None:
        check_engine(info, gpu)
        return
    with pytest.raises(IncompatibleError, match=words):
        check_engine(info, gpu)


@pytest.mark.parametrize(
    ("labels", "architecture", "l4t", "words"),
    [
        ({"row": "jp6", "arch": "arm64", "l4t": "36.4.0,36.4.3"}, "arm64", "36.4.3", None),
        (
            {"row": "jp6", "arch": "arm64", "l4t": "36.4.0,36.4.3"},
            "arm64",
            "36.4",
            "and L4T 36.4 is needed",
        ),
        ({"row": "jp6", "arch": "arm64"}, "arm64", "36.4.3", "made for L4T none"),
        ({"row": "jp7", "arch": "arm64"}, "arm64", None, "made for jp7/arm64, and jp6/arm64 is needed"),
        ({"row": "jp6", "arch": "arm64"}, "amd64", None, "it holds amd64"),
        ({}, "arm64", None, "no image of Homeport"),
    ],
)
def test_an_image_fits_by_its_labels(
    labels: dict[str, str], architecture: str, l4t: str | None, words: str | None
) -> None:
    named = {f"dev.homeport.{key}": value for key, value in labels.items()}
    if words is None:
        check_image("image", named, architecture, "jp6/arm64", l4t)
        return
    with pytest.raises(IncompatibleError, match=words):
        check_image("image", named, architecture, "jp6/arm64", l4t)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"docker"', '"podman"', "expected one of docker, process"),
        ('"https://registry.example.org:5000"', '"oci:/srv/registry"', "runtime docker pulls images from https"),
        (DEVICE, "homeport/stack:1.0.0", "device_image: expected HOST"),
        ("device_image", "device_python", "device_image: missing"),
        ("domain_id", 'device_python = "x"\ndomain_id', "device_python: not for runtime docker"),
        ('"docker"', '"process"\ndevice_python = "x"', "device_image: not for runtime process"),
        ("domain_id", 'gpu = "all"\ndomain_id', "expected one of cdi, none, runtime"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error(old: str, new: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        settings(tmp_path, AGENT.replace(old, new, 1))


def test_the_same_configuration_is_right_as_it_stands(tmp_path: Path) -> None:
    config = settings(tmp_path)
    assert (config.device_image, config.device_python, config.gpu) == (DEVICE, None, "none")
    with pytest.raises(HomeportError):
        settings(tmp_path, "")
