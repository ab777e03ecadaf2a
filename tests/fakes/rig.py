"""A robot folder with a real agent, a fake supervisor and a source full of small signed releases, all below one
temporary folder.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_registry.core import dsse
from model_registry.core.digest import Digest
from model_registry.core.documents import dump
from model_registry.core.layout import Layout
from model_registry.core.release import PAYLOAD_TYPE
from model_registry.keys import cosign
from stack.agent.__main__ import main
from tests.fakes.robot import ARCH, release_fields
from tests.fakes.schemas import check
from tests.fakes.settings import robot_toml
from tests.fakes.supervisor import FakeSupervisor
from tests.fakes.trust import Signer

TOP = Path(__file__).parents[2]
SITE = Path(__file__).with_name("site")
LOCK = Digest.of(b"lock")
ROBOT = robot_toml(battery_floor=0.1, limits={"angular_acceleration": 2.0})


def wheel(behaviour: dict[str, object]) -> bytes:
    """The fake release's code, with what goes wrong in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in sorted(SITE.rglob("*.py")):
            archive.writestr(str(path.relative_to(SITE)), path.read_bytes())
        archive.writestr("stack/policy/behaviour.json", json.dumps(behaviour))
    return buffer.getvalue()


def contract(space: str = "base_velocity") -> bytes:
    base = space == "base_velocity"
    units = {"linear_x": "m/s", "angular_z": "rad/s"} if base else {"shoulder": "rad/s", "elbow": "rad/s"}
    files = {name: str(Digest.of(name.encode())) for name in ("net.onnx", "tokens.json", "norm.json", "golden.npz")}
    outputs = [{"name": "actions", "dtype": "float32", "shape": [1, 4, 2]}]
    inputs = {"image": "cameras.front", "scan": "lidar", "tokens": "text"}
    fields = {
        "schema": 2,
        **{"name": "models/pilot", "version": "1.0.0", "requires": [], "licence": "Apache-2.0"},
        "embodiment": "mobile_base",
        "observation": {
            "cameras": {"front": {"width": 8, "height": 8}},
            "lidar": {"sectors": 90, "max_range_m": 5.0},
            "text": {"tokenizer": "tokens.json", "length": 4},
        },
        "graphs": [{"id": "policy", "path": "net.onnx", "runs": "frame", "inputs": inputs, "outputs": outputs}],
        "output": {"from": "policy.actions"},
        "statistics": "norm.json",
        "action": {
            "space": space,
            "dims": [{"name": name, "unit": unit, "min": -1.0, "max": 1.0} for name, unit in units.items()],
            "normalise": "mean_std",
            **{"horizon": 4, "execute_steps": 2, "control_hz": 20.0},
        },
        "goldens": [{"path": "golden.npz", "tolerance": {"fp32": 0.01}}],
        "files": files,
    }
    check(json.loads(dump(fields)), "vla")
    return dump(fields)


@dataclass
class Answer:
    """What one command line gave."""

    code: int
    document: dict[str, Any]
    stderr: str

    @property
    def result(self) -> dict[str, Any]:
        result: dict[str, Any] = self.document["result"]
        return result

    @property
    def message(self) -> str:
        return str(self.document["error"]["message"])


class Rig:
    """`with Rig(tmp_path) as rig: release = rig.publish("1.0.0"); rig.deploy(release)`."""

    def __init__(self, folder: Path) -> None:
        self.root, self.source = folder / "robot", folder / "source"
        self.root.mkdir()
        self.layout = Layout.at(self.root)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.supervisor = FakeSupervisor(self.layout)
        self.agent: subprocess.Popen[bytes] | None = None
        self.versions: dict[str, str] = {}
        for name in ("releases", "models"):
            (self.source / name).mkdir(parents=True)
        self._write_settings()

    def _write_settings(self) -> None:
        etc = self.layout.etc
        (etc / "keys").mkdir(parents=True)
        pem = self.key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        (etc / "keys" / f"{dsse.key_id(pem, 'key').hex}.pub").write_bytes(pem)
        self.key_id = dsse.key_id(pem, "key")
        self.layout.robot_toml.write_text(ROBOT)
        settings = {
            "schema": 1,
            "runtime": "process",
            "source": f"oci:{self.source}",
            "repository": "releases/pilot",
            "domain_id": 41,
            "device_python": sys.executable,
            "device_path": [str(SITE)],
        }
        text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items())
        gate = "[gate]\nshadow_s = 0.3\nprobation_s = 0.5\nready_s = 5.0\nrestore_s = 0.1\n"
        self.layout.agent_toml.write_text(f"{text}\n{gate}")
        python = self.layout.environment(LOCK) / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.symlink_to(sys.executable)

    def __enter__(self) -> Rig:
        self.supervisor.__enter__()
        self.start_agent()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_agent()
        for slot in ("a", "b"):
            process = self.layout.slot_process(slot)
            if process.exists() and (pid := json.loads(process.read_bytes())["pid"]):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, 9)
        self.supervisor.__exit__()
        shutil.rmtree(self.layout.run, ignore_errors=True)

    def start_agent(self, *before: str) -> None:
        """`before` are words to put before the command line, such as `nice`."""
        argv = [*before, sys.executable, "-m", "stack.agent", "--root", str(self.root), "serve"]
        with (self.root / "agent.log").open("ab") as log:
            self.agent = subprocess.Popen(argv, cwd=TOP, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self.until(self._answers, "the agent answers")

    def _answers(self) -> bool:
        return self.layout.agent_socket.exists() and "result" in self.run("status").document

    def stop_agent(self, kill: bool = False) -> None:
        if self.agent is not None:
            self.agent.kill() if kill else self.agent.terminate()
            self.agent.wait(10)
            self.agent = None

    def run(self, *arguments: str) -> Answer:
        """One `homeport-agent` command line with --json; its document is checked against the schema."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(["--root", str(self.root), "--json", *arguments])
        document = json.loads(out.getvalue())
        check(document, "agent", "reply")
        return Answer(code, document, err.getvalue())

    def call(self, *arguments: str) -> Answer:
        """The same in a process of its own, for tests that do something else meanwhile."""
        argv = [sys.executable, "-m", "stack.agent", "--root", str(self.root), "--json", *arguments]
        done = subprocess.run(argv, cwd=TOP, capture_output=True, text=True, timeout=120)
        document = json.loads(done.stdout)
        check(document, "agent", "reply")
        return Answer(done.returncode, document, done.stderr)

    def status(self) -> dict[str, Any]:
        return self.run("status").result

    def until(self, condition: Callable[[], object], what: str, timeout_s: float = 20.0) -> None:
        """Look again and again, and at most half of the time: what looking costs is taken from what is waited for."""
        deadline = time.monotonic() + timeout_s
        while True:
            began = time.monotonic()
            if condition():
                return
            ended = time.monotonic()
            assert ended < deadline, f"waited {timeout_s} s until {what}"
            time.sleep(max(0.05, ended - began))

    def publish(
        self,
        version: str,
        behaviour: dict[str, object] | None = None,
        space: str = "base_velocity",
        change: Callable[[dict[str, Any]], None] | None = None,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> str:
        """Put a release into the source; returns its digest."""
        image = wheel({"version": version, **(behaviour or {})})
        files = {"vla.json": contract(space), "weights": os.urandom(64)}
        model = Digest.of(dump({name: str(Digest.of(data)) for name, data in files.items()}))
        fields: dict[str, Any] = dict(release_fields(model, version))
        fields["images"][f"process/{ARCH}"]["digest"] = str(Digest.of(image))
        if change is not None:
            change(fields)
        payload = dump(fields)
        signature = (key or self.key).sign(dsse.pae(PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256()))
        digest = Digest.of(payload)
        self.versions[str(digest)] = version
        self._put(self.source / "models" / model.hex, files)
        envelope = dsse.envelope(PAYLOAD_TYPE, payload, [(self.key_id, signature)])
        self._put(self.source / "releases" / digest.hex, {"release.dsse.json": envelope, "image.whl": image})
        return str(digest)

    def sign_also(self, release: str, signer: Signer) -> None:
        """Let another holder of a key sign what is published."""
        path = self.source / "releases" / release[7:] / "release.dsse.json"
        path.write_bytes(cosign(path.read_bytes(), signer.private, release))

    def _put(self, folder: Path, files: dict[str, bytes]) -> None:
        folder.mkdir(exist_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)

    def deploy(self, release: str, *options: str) -> Answer:
        """Stage and switch; the switch's answer."""
        staged = self.run("stage", release)
        assert staged.code == 0, staged.document
        return self.run("switch", release, *options)

    def journal(self) -> list[dict[str, Any]]:
        records = [json.loads(line) for line in self.layout.journal.read_text().splitlines()]
        for record in records:
            check(record, "journal")
            gate = record["detail"].get("gate")
            if isinstance(gate, dict):
                check(gate, "gate")
        return records

    def site(self, release: str) -> Path:
        return self.layout.release(Digest.parse(release)).site

    def copy_of(self, release: str) -> Path:
        """Where the copy of a staged release's image is, once there is one."""
        document = json.loads((self.site(release).parent / "release.json").read_bytes())
        return self.layout.images / f"{document['images'][f'process/{ARCH}']['digest'][7:]}.whl"

    def wait_copied(self, release: str) -> None:
        self.until(self.copy_of(release).exists, "the image was copied")

    def lose_image(self, release: str) -> None:
        """What the release runs is gone from where it runs from."""
        shutil.rmtree(self.site(release))

    def damage_image(self, release: str) -> None:
        """A part of what the release runs has gone."""
        (self.site(release) / "stack/policy/__main__.py").write_bytes(b"")

    def cut_off(self) -> None:
        """From now on no source answers."""
        self.source.rename(self.source.with_name("unplugged"))

    def processes(self) -> dict[str, int | None]:
        """Slot → pid of its live process."""
        slots = self.status()["slots"]
        return {name: slot["pid"] if slot else None for name, slot in slots.items()}
