"""A supervisor on real sockets, without ROS: it sees slots through their status files and does what a test tells it."""

from __future__ import annotations

import json
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from model_registry.core.layout import Layout

RUN = 20


class FakeSupervisor:
    """`with FakeSupervisor(layout) as supervisor:`; change `linear`, `battery`, `latched`; name releases that fail in
    `revert_after_s`.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.linear, self.battery = 0.0, 0.9
        self.latched: list[str] = []
        self.faults: dict[str, str | None] = {}
        self.unheard: list[str] = []
        self.revert_after_s: dict[str, float] = {}
        self.hears: set[str] = set()
        """Slots whose actions go on, also when their status does not."""
        self.requests: list[dict[str, Any]] = []
        self.selected: dict[str, Any] | None = None
        self.reverted: dict[str, Any] | None = None
        self.holders: dict[str, str] = {}
        self.armed = False
        self._fallback: str | None = None
        self._probation_ends = 0.0
        self._selected_at = 0.0
        self._lock = threading.Lock()
        self._listeners: list[socket.socket] = []

    def __enter__(self) -> FakeSupervisor:
        for path in (self.layout.control_socket, self.layout.operator_socket):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(path))
            listener.listen(8)
            self._listeners.append(listener)
            threading.Thread(target=self._serve, args=(listener,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def _serve(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with suppress(ConnectionError), connection, connection.makefile("rb") as stream:
                for line in stream:
                    connection.sendall(json.dumps(self._reply(json.loads(line))).encode() + b"\n")

    def _reply(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            self.requests.append(request)
            try:
                return {"v": 1, "ok": True, "result": getattr(self, f"_{request['verb']}")(request)}
            except PermissionError as error:
                return {"v": 1, "ok": False, "error": {"code": 5, "message": str(error)}}

    def _select(self, request: dict[str, Any]) -> dict[str, Any]:
        view = self._slot(request["slot"])
        chosen = self.selected or {}
        again = (chosen.get("slot"), chosen.get("release")) == (request["slot"], request["release"])
        if not again and (not view["selectable"] or view["release"] != request["release"][7:19]):
            raise PermissionError(f"slot {request['slot']}: {view['refusal'] or 'another release'}")
        self.selected = {"slot": request["slot"], "release": request["release"], "epoch": view["epoch"]}
        self._fallback = request["fallback"]
        self._selected_at = time.monotonic()
        self._probation_ends = self._selected_at + request["probation_s"]
        now = time.monotonic_ns()
        return {"slot": request["slot"], "release": request["release"], "tick": 1, "monotonic_ns": now}

    def _hold(self, request: dict[str, Any]) -> dict[str, Any]:
        self.holders[request["owner"]] = request["reason"]
        self.linear = 0.0
        return {"held": True, "at_zero": True}

    def _unhold(self, request: dict[str, Any]) -> dict[str, Any]:
        self.holders.pop(request["owner"], None)
        return {"held": bool(self.holders), "at_zero": True}

    def _arm(self, _: dict[str, Any]) -> dict[str, Any]:
        if self.latched:
            raise PermissionError(f"arm: {', '.join(self.latched)}")
        self.armed = True
        return {"state": "ARMED", "armed": True, "blocking": []}

    def _reset(self, _: dict[str, Any]) -> dict[str, Any]:
        self.latched = []
        return {"state": "SAFE_STOP", "armed": False, "blocking": []}

    def _slot(self, slot: str) -> dict[str, Any]:
        try:
            status = json.loads(self.layout.slot_status(slot).read_bytes())
        except (OSError, ValueError):
            status = {}
        age_ms = (time.monotonic_ns() - status.get("monotonic_ns", 0)) / 1e6
        age_ms = 20.0 if slot in self.hears else age_ms
        actions = status.get("actions", 0) if age_ms < 1000 else 0
        selectable = actions >= RUN
        return {
            "release": status["release"][7:19] if status else None,
            "epoch": status.get("epoch"),
            "seq": actions,
            "age_ms": age_ms,
            "actions": actions,
            "run": actions,
            "selectable": selectable,
            "refusal": None if selectable else f"{actions} of {RUN} actions",
            "non_finite": 0,
            "wrong_width": 0,
            "late": 0,
            "limited": 0,
            "disagreement": None,
        }

    def _maybe_revert(self) -> None:
        chosen = self.selected
        if chosen is None or time.monotonic() > self._probation_ends:
            return
        if time.monotonic() - self._selected_at < self.revert_after_s.get(chosen["release"], float("inf")):
            return
        self.reverted = {
            **{"slot": chosen["slot"], "release": chosen["release"], "to": self._fallback, "reason": "out of limits"},
            **{"metric": "limited", "value": 31.0, "threshold": 10.0, "monotonic_ns": time.monotonic_ns()},
        }
        back = self._slot(self._fallback) if self._fallback else None
        release = f"sha256:{self.layout.slot(self._fallback).resolve().name}" if self._fallback else None
        self.selected = {"slot": self._fallback, "release": release, "epoch": back["epoch"]} if back else None

    def _status(self, _: dict[str, Any]) -> dict[str, Any]:
        self._maybe_revert()
        names = ("scan", "odom", "battery")
        left = max(0.0, self._probation_ends - time.monotonic())
        return {
            "schema": 1,
            "protocol": 1,
            "seq": len(self.requests),
            "monotonic_ns": time.monotonic_ns(),
            "state": "ARMED" if self.armed else "SAFE_STOP",
            "armed": self.armed,
            "held": bool(self.holders),
            "reasons": [],
            "latched": self.latched,
            "blocking": self.latched,
            "limited_by": [],
            "unheard": self.unheard,
            "selected": self.selected,
            "probation": {"fallback": self._fallback, "remaining_s": left} if left else None,
            "reverted": self.reverted,
            "strangers": [],
            "buttons": [],
            "version": "0.1.0",
            "slots": {slot: self._slot(slot) for slot in ("a", "b")},
            "speed": {"linear": self.linear, "angular": 0.0, "source": "odom"},
            "command": None,
            "battery": self.battery,
            "holders": [{"owner": owner, "reason": reason} for owner, reason in self.holders.items()],
            "sources": {
                name: {"required": True, "age_ms": 10.0, "max_age_ms": 500.0, "fault": self.faults.get(name)}
                for name in names
            },
            "limits": {
                **{"linear": 1.0, "angular": 1.0, "linear_acceleration": 1.0, "angular_acceleration": 1.0},
                **{"linear_jerk": 10.0, "angular_jerk": 10.0},
            },
            "thresholds": {
                **{"min_battery": 0.2, "max_linear": 1.0, "max_angular": 1.0},
                **{"min_obstacle": 0.1, "max_processing_time": 1.0, "max_action_deviation": 0.1},
            },
            "envelope": {"nearest_m": None, "cap": None, "reaction_ms": 120.0},
            "ticks": {"count": 1, "missed": 0, "late_p99_ms": 0.1, "scheduler": "other"},
        }

    def verbs(self) -> list[str]:
        """The verbs that came in, without status."""
        with self._lock:
            return [request["verb"] for request in self.requests if request["verb"] != "status"]
