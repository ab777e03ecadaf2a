"""What the role `device` writes and what it refuses, rendered by Ansible's own engine."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from model_registry.core.errors import UsageError
from model_registry.core.robot import SOURCES, Footprint, Robot
from model_registry.core.sensors import CameraSettings, JointSettings, JointsSource, Sensors
from model_registry.core.toml import read_toml
from stack.agent.settings.config import ChannelSettings, Config, GateSettings, PermissionSettings
from stack.agent.settings.hook import Hook

ROLE = Path(__file__).parents[3] / "ansible/roles/device"
IMAGE = f"registry.bench:5000/homeport/stack@sha256:{'ab' * 32}"
LOCK = ROLE.parents[2] / "requirements/robot.txt"
# Any files do: the role names what it makes of them by their digests.
PROCESS = {
    "homeport_runtime": "process",
    "homeport_lock": str(LOCK),
    "homeport_wheel": str(LOCK),
    "homeport_agent_file": str(LOCK),
}
PROCESS_UNITS = ("homeport-supervisor", "homeport-agent", "homeport-monitor", "homeport-recovery")
UNITS = ("homeport-supervisor", "homeport-agent", "homeport-monitor", "homeport-slot@", "homeport-recovery")
WINDOW = {"days": ["mon-fri"], "at": "02:00", "for": "3h", "tz": "Europe/Berlin"}
HOST: dict[str, Any] = {
    "python": "3.10",
    "openssl": True,
    "machine": "x86_64",
    "venv": True,
    "systemd": True,
    "docker": "20.10.24+dfsg1",
    "docker_client": True,
    "docker_security": ["name=apparmor", "name=seccomp", "profile=default"],
    "docker_runtimes": ["runc"],
    "cdi": [],
    "ids": {"10001": [None, None], "10002": ["homeport-supervisor"] * 2},
    "account": None,
    "rmem_max": 212992,
    "rmem_writable": True,
    "l4t": "",
    "realtime": True,
    "nice": True,
    "image": False,
    "deployment": None,
    "fingerprints": [],
}


def templar(**variables: object) -> Templar:
    """Defaults and variables of the role for a docker robot; a keyword replaces one."""
    loader = DataLoader()
    role: dict[str, Any] = {}
    for folder in ("defaults", "vars"):
        role |= loader.load_from_file(str(ROLE / folder / "main.yml"), trusted_as_template=True)
    inventory = {
        "inventory_hostname": "bay-1",
        "homeport_embodiment": "mobile_base",
        "homeport_row": "cpu",
        "homeport_source": "https://registry.bench:5000",
        "homeport_runtime": "docker",
        "homeport_device_image": IMAGE,
        "device_fingerprint": "f" * 64,
        "device_host": HOST,
    }
    return Templar(loader=loader, variables=role | inventory | variables)


def render(name: str, **variables: object) -> str:
    return str(templar(**variables).template(trust_as_template((ROLE / "templates" / f"{name}.j2").read_text())))


def unit(name: str, **variables: object) -> str:
    return render(f"{name}.service", **variables)


@pytest.mark.parametrize("runtime", ["docker", "process"])
def test_the_agent_reads_every_key_that_the_role_writes(tmp_path: Path, runtime: str) -> None:
    path = tmp_path / "agent.toml"
    gate = {field.name: 0.5 for field in fields(GateSettings)}
    path.write_text(
        render(
            "agent.toml",
            **(PROCESS if runtime == "process" else {"homeport_runtime": runtime}),
            homeport_gpu="cdi",
            homeport_slot_environment={"OMP_NUM_THREADS": 1},
            homeport_gate_settings=gate,
            homeport_permission_settings={"battery_min": 0.4, "lease_s": 9.0},
            homeport_channel_settings={"outdated": "refuse"},
            homeport_hook={"command": ["/opt/site/may-change", "--docked"], "timeout_s": 5, "user": "site"},
            homeport_windows=[WINDOW, {**WINDOW, "tz": "UTC"}],
            homeport_device_path=["/opt/site"],
            homeport_memory_mib=6144,
            homeport_fetch_settings={"limit_rate": "20M", "give_up_s": 60},
        )
    )

    config = Config.load(path)

    others = {
        "docker": {"device_python", "device_path", "slot_nice"},
        "process": {"device_image", "gpu", "slot_weight"},
    }[runtime]
    written = {line.split(" = ")[0].strip("[]") for line in path.read_text().splitlines() if line[:1] not in ("#", "")}
    inner = {"schema", "OMP_NUM_THREADS", "command", "timeout_s", "user", *WINDOW, "battery_min", "lease_s", "outdated"}
    inner |= {"limit_rate", "give_up_s"}
    assert written - set(gate) - inner == {field.name for field in fields(Config)} - others
    assert (config.slot_nice, config.slot_weight) == ((0, 400) if runtime == "docker" else (-5, None))
    assert config.hook == Hook(("/opt/site/may-change", "--docked"), 5.0, "site")
    assert [(window.tz, sorted(window.days)) for window in config.windows] == [
        (tz, [0, 1, 2, 3, 4]) for tz in ("Europe/Berlin", "UTC")
    ]
    assert config.environment == {"OMP_NUM_THREADS": "1"} and config.gate == GateSettings(**gate)
    assert config.permission == PermissionSettings(0.4, 9.0) and config.channel == ChannelSettings("refuse")
    assert (config.device_image, config.gpu) == ((IMAGE, "cdi") if runtime == "docker" else (None, "none"))


def test_the_robot_is_read_back_as_the_inventory_says(tmp_path: Path) -> None:
    path = tmp_path / "robot.toml"
    body = {"homeport_footprint": {"front": 0.4, "rear": 0.3, "half_width": 0.2}, "homeport_lidar": {"yaw": 3.14}}
    body["homeport_voice"] = {"stop": ["arrête", "止まれ", 'say "ho"'], "emergency": ["🛑 urgence"]}
    body["homeport_cameras"] = {
        "front": {"topic": "/front/image", "stamps": False},
        "Wrist": {"topic": "/wrist/image", "max_age_ms": 150},
        "alias": {"top": "front"},
    }
    body["homeport_sources"] = {"joints": {"max_age_ms": 50, "topic": "/arm/joint_states"}}
    body["homeport_joints"] = {"Elbow": {"unit": "deg", "scale": 57.29578, "offset": 90, "sign": -1}}
    path.write_text(render("robot.toml", homeport_l4t="36.4.3", homeport_limits={"linear": 0.8}, **body))

    robot = Robot.load(path)

    assert robot.sensors == Sensors(
        {"front": CameraSettings("/front/image", None, False), "Wrist": CameraSettings("/wrist/image", 150.0)},
        {"top": "front"},
        JointsSource("/arm/joint_states", 50.0),
        {"Elbow": JointSettings("deg", 57.29578, 90.0, -1)},
    )
    assert set(robot.sources) == set(SOURCES), "the supervisor waits for no camera and no joint"
    assert (robot.name, robot.row, robot.l4t, robot.limits.linear) == ("bay-1", "cpu", "36.4.3", 0.8)
    assert (robot.footprint, robot.lidar.yaw) == (Footprint(0.4, 0.3, 0.2, round=False), 3.14)
    assert (robot.stop_words.stop, robot.stop_words.emergency) == (("arrête", "止まれ", 'say "ho"'), ("🛑 urgence",))
    read_toml(path)


def test_systemd_accepts_every_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    for name in UNITS:
        text = unit(name).replace("/usr/local/bin/homeport-agent", "/bin/true").replace("/usr/bin/docker", "/bin/true")
        (tmp_path / f"{name}.service").write_text(text)
    paths = [str(tmp_path / f"{name}.service".replace("@", "@a")) for name in UNITS]
    (tmp_path / "homeport-slot@a.service").symlink_to("homeport-slot@.service")

    done = subprocess.run(["systemd-analyze", "verify", "--man=no", *paths], capture_output=True, text=True)

    assert [line for line in done.stderr.splitlines() if "homeport" in line] == []


@pytest.mark.parametrize("name", ["homeport-supervisor", "homeport-monitor"])
def test_a_container_is_confined_and_never_sees_docker(name: str) -> None:
    start = next(line for line in unit(name).replace("\\\n", "").splitlines() if line.startswith("ExecStart="))
    words = start.split()

    for flag in ("--read-only", "--rm", "ALL", "no-new-privileges", "never", "host", "10002:10002", "/tmp", "none"):
        assert flag in words, flag
    assert "docker.sock" not in start and "--restart" not in start and "--privileged" not in start
    assert words[-2:] == [f"homeport/pin:{IMAGE[-64:]}", f"stack.{name.removeprefix('homeport-')}"]
    assert "\\" not in start


def test_nothing_needs_the_monitor_and_the_supervisor_starts_before_the_agent() -> None:
    texts = {name: unit(name) for name in UNITS}

    assert [name for name, text in texts.items() if "homeport-monitor.service" in text] == []
    assert not any("Requires=" in text or "BindsTo=" in text for text in texts.values())
    assert "After=docker.service homeport-supervisor.service" in texts["homeport-agent"]
    assert "Restart=always" in texts["homeport-supervisor"] and "Restart=on-failure" in texts["homeport-monitor"]
    assert "Restart=no" in texts["homeport-slot@"] and "[Install]" not in texts["homeport-slot@"]


def test_every_start_clears_what_a_crash_left_and_every_stop_takes_two_seconds() -> None:
    for name in UNITS:
        container = name.replace("@", "-%i")
        expected = name not in ("homeport-agent", "homeport-recovery")
        assert (f"ExecStartPre=-/usr/bin/docker rm --force {container}\n" in unit(name)) is expected
        assert (f"ExecStop=/usr/bin/docker stop -t 2 {container}\n" in unit(name)) is expected


def test_the_agent_tells_systemd_that_it_lives_and_is_ended_in_bounded_time() -> None:
    lines = unit("homeport-agent").splitlines()

    for line in ("Type=notify", "NotifyAccess=main", "WatchdogSec=120", "TimeoutStartSec=120", "TimeoutStopSec=20"):
        assert line in lines
    assert "network" not in unit("homeport-agent"), "a robot without a network recovers as well"
    clock = [line for line in lines if line.startswith("ProtectClock=")]
    assert clock[-1] == "ProtectClock=no", "it forbids to read whether the clock is kept right"
    assert "CapabilityBoundingSet=~CAP_SYS_TIME CAP_WAKE_ALARM" in lines and "NoNewPrivileges=yes" in lines


def test_recovery_comes_before_the_stack_and_nothing_waits_for_it_in_vain() -> None:
    text = unit("homeport-recovery")
    before = next(line for line in text.splitlines() if line.startswith("Before=")).removeprefix("Before=").split()

    agent = "homeport-agent.service"
    assert before == ["homeport-supervisor.service", "homeport-slot@a.service", "homeport-slot@b.service", agent]
    assert "docker" not in text.split("[Unit]")[1] and "network" not in text.split("[Unit]")[1]
    assert "TimeoutStartSec=20" in text and "RemainAfterExit=yes" in text and "Restart=" not in text
    starts = [line for line in text.splitlines() if line.startswith("ExecStart=")]
    assert starts == [
        "ExecStart=-/usr/local/bin/homeport-agent-update --settle",
        "ExecStart=/usr/local/bin/homeport-agent recover",
    ]


@pytest.mark.parametrize("name", UNITS)
def test_no_unit_reboots_the_robot_or_gives_up(name: str) -> None:
    text = unit(name)

    assert not re.search("StartLimitAction|FailureAction|SuccessAction|RebootArgument|reboot", text)
    assert ("StartLimitIntervalSec=0" in text) is ("Restart=always" in text)


def test_a_new_agent_is_put_beside_the_old_one_and_tried_before_anything_else_changes() -> None:
    tasks = {name: yaml.safe_load((ROLE / "tasks" / f"{name}.yml").read_text()) for name in ("main", "agent", "units")}
    put, _, tried = tasks["agent"]
    order = [next(iter(task.values())) if "name" not in task else task["name"] for task in tasks["main"]]

    for variables, path in (
        ({}, "/usr/local/bin/homeport-agent.candidate"),
        (PROCESS, "/usr/local/bin/homeport-agent.candidate"),
        ({"homeport_runtime": "process", "homeport_root": "/srv/robot"}, "/usr/local/bin/homeport-agent"),
    ):
        assert templar(**variables).template(trust_as_template(put["ansible.builtin.copy"]["dest"])) == path
    assert "notify" not in put and "device_has_units" in tried["when"]
    argv = templar().template(trust_as_template(tried["ansible.builtin.command"]["argv"][0]))
    assert argv == "/usr/local/bin/homeport-agent-update"
    assert order.index("Install the agent") < order.index("Configure robot, agent and DDS")
    assert (ROLE / "files/homeport-agent-update").read_bytes() == (
        ROLE.parents[2] / "stack/agent/shell/update.sh"
    ).read_bytes()


def test_supervisor_and_monitor_change_under_hold_only() -> None:
    [held] = yaml.safe_load((ROLE / "tasks/hold.yml").read_text())
    units = yaml.safe_load((ROLE / "tasks/units.yml").read_text())
    restarted = next(task for task in units if "restarted" in str(task.get("ansible.builtin.systemd_service")))

    assert held["when"][0] == "device_stale" and "rescue" in held
    assert [next(iter(task.values())) for task in held["block"]] == ["Command zero speed", "See the robot stand"]
    state = restarted["ansible.builtin.systemd_service"]["state"]
    for fingerprint, expected in (("other", "restarted"), ("f" * 64, "started")):
        host = HOST | {"fingerprints": [fingerprint]}
        found = templar(device_host=host, item="homeport-monitor").template(trust_as_template(state))
        assert found == expected
    assert templar(device_host=HOST, item="homeport-agent").template(trust_as_template(state)) == "started"


def test_real_time_is_asked_for_where_the_host_can_grant_it() -> None:
    assert "--ulimit rtprio=50" in unit("homeport-supervisor")
    assert "rtprio" not in unit("homeport-supervisor", device_host=HOST | {"realtime": False})


def test_slots_and_supervisor_get_their_share_of_a_busy_processor() -> None:
    """A container is a control group of Docker's, which its unit's settings would not reach."""
    share = {"homeport_processor": {"weight": 900, "nice": -8}}
    supervisor = unit("process/homeport-supervisor", **PROCESS, **share)
    assert "CPUWeight=900" in supervisor and "Nice=-8" in supervisor
    agent = unit("process/homeport-agent", **PROCESS, **share)
    assert "CPUWeight=900" in agent and "LimitNICE=-8" in agent and "\nNice" not in agent
    assert "--cpu-shares 23570 " in unit("homeport-supervisor", **share)
    assert "slot_weight = 900" in render("agent.toml", **share)
    assert "slot_nice = -8" in render("agent.toml", **PROCESS, **share)
    assert "slot_nice" not in render("agent.toml", **PROCESS, **share, homeport_root="/srv/robot")


def test_no_priority_is_asked_for_where_the_host_cannot_grant_it() -> None:
    weak = HOST | {"realtime": False, "nice": False}
    supervisor = unit("process/homeport-supervisor", **PROCESS, device_host=weak)
    assert "Nice=" not in supervisor and "CPUWeight=400" in supervisor
    assert "LimitNICE=" not in unit("process/homeport-agent", **PROCESS, device_host=weak)


def test_folders_of_sockets_and_status_belong_to_who_writes_them() -> None:
    lines = [line.split() for line in render("tmpfiles.conf").splitlines() if line.startswith("d ")]

    assert {
        path.removeprefix("/run/homeport"): (mode[-3:], user, group) for _, path, mode, user, group, _ in lines
    } == {
        "": ("755", "root", "root"),
        "/control": ("750", "10002", "homeport-agent"),
        "/operator": ("750", "10002", "homeport-operator"),
        "/slot-a": ("755", "10001", "10001"),
        "/slot-b": ("755", "10001", "10001"),
    }


@pytest.mark.parametrize("variables", [{}, PROCESS], ids=["docker", "process"])
def test_a_good_host_has_no_problems(variables: dict[str, object]) -> None:
    assert templar(**variables).template(trust_as_template("{{ device_problems }}")) == []


@pytest.mark.parametrize(
    ("change", "host", "message"),
    [
        ({"homeport_wheel": ""}, {}, "make dist"),
        ({"homeport_lock": ""}, {}, "requirements/robot.txt"),
        ({}, {"machine": "aarch64"}, "exist for x86_64 only"),
        ({}, {"venv": False}, "python3-venv"),
        ({}, {"account": {"home": "/home/homeport", "shell": "/bin/bash"}}, "set ansible_user to the account"),
        ({}, {"systemd": False}, "homeport_root"),
        ({}, {"openssl": False}, "install the package openssl"),
        ({}, {"python": "3.9"}, "needs 3.10"),
    ],
)
def test_a_host_of_plain_processes_that_would_not_work_is_refused(change, host, message) -> None:
    settings = templar(**{**PROCESS, **change}, device_host=HOST | host)

    [problem] = settings.template(trust_as_template("{{ device_problems }}"))

    assert message in problem


def test_the_account_that_the_role_made_before_is_its_own() -> None:
    made = {"home": "/var/lib/homeport", "shell": "/usr/sbin/nologin"}
    settings = templar(**PROCESS, device_host=HOST | {"account": made})

    assert settings.template(trust_as_template("{{ device_problems }}")) == []


def test_the_example_logs_in_to_another_account_than_programs_run_under() -> None:
    example = yaml.safe_load((ROLE.parents[1] / "inventory/process/group_vars/robots.yml").read_text())

    assert example["ansible_user"] != "homeport"


def test_an_environment_that_is_there_needs_no_wheels_of_ours() -> None:
    settings = templar(
        **PROCESS, homeport_environment="/opt/ros", device_host=HOST | {"machine": "aarch64", "venv": False}
    )

    assert settings.template(trust_as_template("{{ device_problems }}")) == []


@pytest.mark.parametrize("name", PROCESS_UNITS)
def test_systemd_accepts_the_units_of_plain_processes(name: str, tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed here")
    text = unit(f"process/{name}", **PROCESS)
    for program in ("/usr/local/bin/homeport-agent-update", "/usr/local/bin/homeport-agent"):
        text = text.replace(program, "/bin/true")
    text = re.sub(r"ExecStart=/var/lib/homeport/envs/\w+/bin/python3", "ExecStart=/bin/true", text)
    (tmp_path / f"{name}.service").write_text(text)

    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / f"{name}.service")], capture_output=True, text=True
    )

    assert [line for line in done.stderr.splitlines() if f"{name}.service:" in line] == []


def test_plain_processes_run_under_one_account_and_slots_outlive_their_agent() -> None:
    texts = {name: unit(f"process/{name}", **PROCESS) for name in PROCESS_UNITS}

    assert all("User=homeport" in text and "docker" not in text for text in texts.values())
    assert "KillMode=process" in texts["homeport-agent"]
    assert "LimitRTPRIO=50" in texts["homeport-supervisor"]
    assert "RestrictRealtime=no" in texts["homeport-supervisor"]
    for name in ("homeport-supervisor", "homeport-monitor"):
        assert f"HOMEPORT_FINGERPRINT={'f' * 64}" in texts[name]
        assert "PYTHONPATH=/var/lib/homeport/device/" in texts[name]
    assert {
        line.split()[3] for line in render("process/tmpfiles.conf", **PROCESS).splitlines() if line[:2] == "d "
    } == {"homeport"}


def test_each_task_of_an_environment_is_done_once() -> None:
    tasks = yaml.safe_load((ROLE / "tasks/environment.yml").read_text())
    commands = [task["ansible.builtin.command"] for task in tasks[1]["block"] if "ansible.builtin.command" in task]

    assert {command["creates"] for command in commands} == {"{{ device_locked }}/ready"}
    settings = templar(**PROCESS, homeport_wheelhouse="/srv/wheels")
    assert "--no-index" in settings.template(trust_as_template(commands[1]["argv"]))
    assert "--no-index" not in templar(**PROCESS).template(trust_as_template(commands[1]["argv"]))
    [bring] = [task for task in tasks[1]["block"] if "wheels, where" in task["name"]]
    assert "not device_ready.stat.exists" in bring["when"]


@pytest.mark.parametrize(
    ("change", "host", "message"),
    [
        ({"homeport_device_image": "registry.bench:5000/homeport/stack:0.1.0"}, {}, "not a tag"),
        ({"homeport_device_image": f"homeport/stack@sha256:{'ab' * 32}"}, {}, "expected HOST[:PORT]/name"),
        ({"homeport_device_image": ""}, {}, "got nothing"),
        ({"homeport_source": "oci:/srv/registry"}, {}, "expected https://HOST"),
        ({"homeport_root": "/srv/robot"}, {}, "use the system's folders"),
        ({}, {"python": "3.9"}, "the agent needs 3.10"),
        ({}, {"openssl": False}, "install the package openssl"),
        ({}, {"systemd": False}, "homeport_runtime=process"),
        ({}, {"docker": ""}, "this role never installs it"),
        ({}, {"docker": "19.03.8"}, "this role never upgrades it"),
        ({}, {"docker_security": ["name=seccomp", "name=userns"]}, "take userns-remap out of /etc/docker/daemon.json"),
        ({}, {"docker_security": ["name=rootless"]}, "this Docker engine is rootless"),
        ({"homeport_gpu": "runtime"}, {}, "Docker has no runtime nvidia, only runc"),
        ({"homeport_gpu": "cdi"}, {}, "nvidia-ctk cdi generate"),
        ({}, {"ids": {"10001": ["alice", "users"], "10002": [None, None]}}, "id 10001 belongs to alice and users"),
        ({}, {"ids": {"10001": [None, None], "10002": ["bob", None]}}, "id 10002 belongs to bob"),
        ({}, {"rmem_writable": False}, "net.core.rmem_max is 212992 and cannot be set here"),
        ({}, {"rmem_writable": False, "rmem_max": None}, "not to be seen"),
        ({"homeport_l4t": "36.4.3"}, {"l4t": "36.5.0"}, "this is L4T 36.5.0"),
        ({}, {"deployment": "abcdef-12"}, "a release is being changed (abcdef-12)"),
    ],
)
def test_a_host_that_would_not_work_is_refused_with_one_reason_and_the_remedy(change, host, message) -> None:
    (problem,) = templar(**change, device_host=HOST | host).template(trust_as_template("{{ device_problems }}"))

    assert message in problem


@pytest.mark.parametrize(
    ("change", "host"),
    [
        ({"homeport_gpu": "runtime"}, {"docker_runtimes": ["nvidia", "runc"]}),
        ({"homeport_gpu": "cdi"}, {"cdi": ["/etc/cdi/nvidia.yaml"]}),
        ({"homeport_l4t": "36.4.3"}, {"l4t": "36.4.3"}),
        ({}, {"rmem_writable": False, "rmem_max": 8388608}),
        ({"homeport_sysctl": False}, {"rmem_writable": False}),
        ({}, {"docker": "28.0.1"}),
        ({"homeport_device_image": f"registry.example.org/a/b@sha256:{'00' * 32}"}, {}),
    ],
)
def test_what_the_host_can_do_is_not_refused(change, host) -> None:
    assert templar(**change, device_host=HOST | host).template(trust_as_template("{{ device_problems }}")) == []


def test_the_authority_is_installed_for_the_agent_and_for_every_registry_that_docker_asks() -> None:
    expression = trust_as_template("{{ device_ca_files }}")

    assert templar().template(expression) == []
    assert templar(homeport_registry_ca="ca.crt", homeport_source="https://one:5000").template(expression) == [
        "/etc/homeport/registry-ca.crt",
        "/etc/docker/certs.d/one:5000/ca.crt",
        "/etc/docker/certs.d/registry.bench:5000/ca.crt",
    ]


def test_the_probe_answers_on_any_host_with_exactly_what_is_judged() -> None:
    done = subprocess.run([sys.executable, "-c", (ROLE / "files/probe.py").read_text(), IMAGE], capture_output=True)

    assert json.loads(done.stdout).keys() == HOST.keys()


def test_every_variable_of_the_role_is_specified_and_explained() -> None:
    defaults = yaml.safe_load((ROLE / "defaults/main.yml").read_text())
    specified = yaml.safe_load((ROLE / "meta/argument_specs.yml").read_text())["argument_specs"]["main"]["options"]
    readme = (ROLE / "README.md").read_text()

    assert set(defaults) == set(specified)
    inventory = {word for value in defaults.values() for word in re.findall(r"homeport_\w+", str(value))}
    assert [word for word in sorted(inventory) if f"`{word}`" not in readme] == []


@pytest.mark.parametrize(
    ("root", "path"), [("", "/usr/local/bin/homeport-rescue"), ("/srv/robot", "/srv/robot/bin/homeport-rescue")]
)
def test_the_rescue_is_the_one_of_this_checkout_and_stands_outside_of_the_slots(root: str, path: str) -> None:
    script = ROLE.parents[2] / "stack/agent/shell/rescue.sh"

    assert (ROLE / "files/homeport-rescue").read_bytes() == script.read_bytes()
    assert templar(homeport_root=root).template(trust_as_template("{{ device_rescue }}")) == path


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"homeport_limits": {"linear": 0.0, "angular_jerk": 4.0}, "homeport_base_timeout_s": 0.25}, True),
        ({"homeport_sources": {"scan": {"present": False}, "estop": {"present": True, "max_age_ms": 500}}}, True),
        ({"homeport_base_timeout_s": 0.3}, False),
        ({"homeport_base_timeout_s": 0}, False),
        ({"homeport_limits": {"lineer": 0.4}}, False),
        ({"homeport_limits": {"angular": -1.0}}, False),
        ({"homeport_sources": {"scan": {"present": True}}}, False),
        ({"homeport_sources": {"odom": {"max_age_ms": 100}}}, False),
        ({"homeport_sources": {"lidar": {"present": False}}}, False),
        ({"homeport_cameras": {"top": {"topic": "/top"}, "alias": {"front": "top"}}}, True),
        ({"homeport_cameras": {"top": {"max_age_ms": 100}}}, False),
        ({"homeport_cameras": {"top": {"topic": "/top"}, "alias": {"front": "left"}}}, False),
        ({"homeport_sources": {"joints": {"topic": "/joint_states"}}}, False),
        ({"homeport_sources": {"joints": {"max_age_ms": 50}}}, True),
        ({"homeport_joints": {"elbow": {"sign": 0}}}, False),
        ({"homeport_joints": {"elbow": {"sign": -1}}}, True),
        ({"homeport_voice": {"stop": ["arrête", "止まれ"]}}, True),
        ({"homeport_voice": {"stop": "arrête"}}, False),
        ({"homeport_voice": {"stop": ["!?"]}}, False),
        ({"homeport_voice": {"halt": ["arrête"]}}, False),
        ({"homeport_voice": {"emergency": [112]}}, False),
    ],
)
def test_settings_that_the_supervisor_would_refuse_are_refused_before_anything_changes(
    change: dict[str, object], accepted: bool, tmp_path: Path
) -> None:
    tasks = yaml.safe_load((ROLE / "tasks/preflight.yml").read_text())
    names = (
        "Check limits, sources and the base's timeout",
        "Check that the site's words are lists of texts",
        "Check cameras and joints",
    )
    conditions = [line for task in tasks if task["name"] in names for line in task["ansible.builtin.assert"]["that"]]
    settings = templar(homeport_footprint={"radius": 0.2}, **change)
    robot = tmp_path / "robot.toml"
    robot.write_text(settings.template(trust_as_template((ROLE / "templates/robot.toml.j2").read_text())))

    assert all(settings.evaluate_conditional(trust_as_template(each)) for each in conditions) is accepted
    if accepted:
        Robot.load(robot)
    else:
        with pytest.raises(UsageError, match=r"robot\.toml"):
            Robot.load(robot)


@pytest.mark.parametrize(
    ("client", "accepted"),
    [
        ({}, True),
        ({"cert": "robot.crt", "key": "robot.key"}, True),
        ({"cert": "robot.crt"}, False),
        ({"key": "robot.key"}, False),
        ({"cert": "robot.crt", "key": "robot.key", "ca": "ca.crt"}, False),
    ],
)
def test_a_certificate_for_registries_has_its_key(client: dict[str, str], accepted: bool) -> None:
    tasks = yaml.safe_load((ROLE / "tasks/preflight.yml").read_text())
    [task] = [task for task in tasks if task["name"] == "Check that a certificate for registries has its key"]
    settings = templar(homeport_registry_client=client)

    assert settings.evaluate_conditional(trust_as_template(task["ansible.builtin.assert"]["that"])) is accepted


@pytest.mark.parametrize(
    ("change", "accepted"),
    [
        ({}, True),
        ({"homeport_domain_id": 0}, True),
        ({"homeport_domain_id": 232}, True),
        ({"homeport_domain_id": "41"}, True),
        ({"homeport_domain_id": 233}, False),
        ({"homeport_domain_id": -1}, False),
        ({"homeport_domain_id": 1.5}, False),
        ({"homeport_domain_id": "lab"}, False),
        ({"homeport_slot_environment": {"OMP_NUM_THREADS": 1}}, True),
        ({"homeport_slot_environment": {"ROS_DOMAIN_ID": 7}}, False),
    ],
)
def test_a_ros_domain_that_cannot_be_is_refused_by_role_and_agent(
    change: dict[str, object], accepted: bool, tmp_path: Path
) -> None:
    tasks = yaml.safe_load((ROLE / "tasks/preflight.yml").read_text())
    names = ("Check that the ROS domain exists", "Check that slots have no other domain than their supervisor")
    found = [task["ansible.builtin.assert"]["that"] for task in tasks if task["name"] in names]
    conditions = [line for that in found for line in ([that] if isinstance(that, str) else that)]
    path = tmp_path / "agent.toml"
    path.write_text(render("agent.toml", **change))

    assert all(templar(**change).evaluate_conditional(trust_as_template(each)) for each in conditions) is accepted
    if change.get("homeport_domain_id") == 233 or "ROS_DOMAIN_ID" in path.read_text():
        with pytest.raises(UsageError, match=r"ROS domain from 0 to 232, got 233|ROS_DOMAIN_ID is domain_id"):
            Config.load(path)


@pytest.mark.parametrize(("domain", "named"), [(101, False), (102, True), (214, True), (215, False)])
def test_a_ros_domain_whose_ports_others_may_get_is_named_by_the_role(domain: int, named: bool) -> None:
    tasks = yaml.safe_load((ROLE / "tasks/preflight.yml").read_text())
    [task] = [each for each in tasks if each["name"] == "Name a ROS domain whose ports may be taken"]

    assert templar(homeport_domain_id=domain).evaluate_conditional(trust_as_template(task["when"])) is named
