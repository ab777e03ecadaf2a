"""Real processes and real topics for tests: an environment per ROS domain, processes that always end, and a recorder of
topics.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
_COUNTER = Path(tempfile.gettempdir()) / f"homeport-test-domains-{os.getuid()}"


def allocate_domain_id() -> int:
    """A ROS domain from 1 to 100, the next one of a counter that every test process on this machine shares."""
    with _COUNTER.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        domain = int(file.read() or 0) % 100 + 1
        file.seek(0)
        file.truncate()
        file.write(str(domain))
    return domain


def ros_env(tmp_path: Path, domain_id: int) -> dict[str, str]:
    """The environment of every ROS process (docs/interfaces.md), with logs below `tmp_path`."""
    return {
        **os.environ,
        "ROS_DOMAIN_ID": str(domain_id),
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(REPOSITORY / "images" / "dds.xml"),
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET",
        "ROS_LOG_DIR": str(tmp_path / "ros-log"),
        "PYTHONUNBUFFERED": "1",
    }


def wait_until(predicate: Callable[[], Any], deadline_s: float, what: str) -> Any:
    """Poll until `predicate` gives something true, and return it. Raises AssertionError naming `what`."""
    deadline = time.monotonic() + deadline_s
    pause = threading.Event()
    while True:
        value = predicate()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {deadline_s} s for {what}")
        pause.wait(0.02)


class Process:
    """A child process as a context manager:

    SIGTERM at the end, SIGKILL 3 s later, and its log is printed when the test failed.

    `argv` starts with a module for `python -m`, or with a path. An `urgent` one comes first wherever the processor is
    short, as root: the kernel weighs sessions before it weighs the processes in them, so it has one of its own.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str], log: Path, urgent: bool = False) -> None:
        first = [] if argv[0].startswith("/") else [sys.executable, "-m"]
        # A bench runs at real-time priority; what it starts must not inherit that, and starve the control loops that it
        # measures.
        usual = ["chrt", "--other", "0"] if os.sched_getscheduler(0) != os.SCHED_OTHER else []
        self.argv = [*usual, *first, *argv]
        self.log = log
        self._env, self._urgent = dict(env), urgent
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Process:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as file:
            self._child = subprocess.Popen(
                self.argv,
                env=self._env,
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=self._urgent,
            )
        if self._urgent:
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, self._child.pid, -10)
                Path(f"/proc/{self._child.pid}/autogroup").write_text("-10")
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        code = self.stop()
        if kind is not None:
            print(f"--- {' '.join(self.argv)} ended with {code}:\n{self.text}", file=sys.stderr)

    @property
    def child(self) -> subprocess.Popen[bytes]:
        assert self._child is not None, "not started"
        return self._child

    @property
    def pid(self) -> int:
        return self.child.pid

    @property
    def text(self) -> str:
        """What it has logged so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        self.child.send_signal(number)

    def stop(self) -> int:
        """End it and return its exit code."""
        if self.child.poll() is None:
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
        try:
            return self.child.wait(3.0)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return self.child.wait(3.0)

    def wait(self, deadline_s: float) -> int:
        """Wait for it to end by itself; returns its exit code."""
        return self.child.wait(deadline_s)


class Ros:
    """A node in this process, in a domain of its own, spun by a thread: records topics, and gives publishers."""

    def __init__(self, tmp_path: Path, domain_id: int) -> None:
        self._env = ros_env(tmp_path, domain_id)
        self._domain_id = domain_id
        self._lists: dict[str, list[tuple[float, Any]]] = {}

    def __enter__(self) -> Ros:
        with warnings.catch_warnings():
            # Its parser imports a module that Python has deprecated.
            warnings.simplefilter("ignore", DeprecationWarning)
            import rosidl_generator_py  # noqa: F401
        import rclpy
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions

        self._before = {key: os.environ.get(key) for key in self._env}
        os.environ.update(self._env)
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=self._domain_id, signal_handler_options=SignalHandlerOptions.NO)
        self.node = rclpy.create_node("test", context=self.context, enable_rosout=False, start_parameter_services=False)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        return self

    def pause(self) -> None:
        """Spin no more: what comes from now on stays in the queues."""
        self._ending.set()
        self._thread.join(3.0)

    def _spin(self) -> None:
        while not self._ending.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(3.0)
        self._executor.shutdown(timeout_sec=1.0)
        self.node.destroy_node()
        self.context.try_shutdown()
        for key, value in self._before.items():
            if value is None:
                os.environ.pop(key, None)
            else:
                os.environ[key] = value

    def record(self, topic: str, kind: Any, qos: Any = 50) -> list[tuple[float, Any]]:
        """A list that grows by (monotonic s, message)."""
        messages: list[tuple[float, Any]] = []
        self.node.create_subscription(kind, topic, lambda message: messages.append((time.monotonic(), message)), qos)
        return messages

    def publisher(self, topic: str, kind: Any, qos: Any = 10) -> Any:
        """A publisher that may be destroyed while this node is spun: it has no events of its own to wait for."""
        from rclpy.event_handler import PublisherEventCallbacks

        silent = PublisherEventCallbacks(use_default_callbacks=False)
        return self.node.create_publisher(kind, topic, qos, event_callbacks=silent)
