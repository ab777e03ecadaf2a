"""Stand-ins for `docker`, `systemctl` and `journalctl`: they note their arguments beside themselves, and images and
containers are files there.

`install(folder)` puts them into a folder for PATH. A container is a process of this machine that runs the code of its
image.
"""

from __future__ import annotations

import os
import sys
import time
from _json import encode_basestring_ascii

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any


class File(str):
    """As much of pathlib.Path as is used here.

    A deployment starts these programs fifty times, and they load no module that they can do without.
    """

    def __truediv__(self, name: str) -> File:
        return File(f"{self}/{name}")

    @property
    def name(self) -> str:
        return os.path.basename(self)

    def exists(self) -> bool:
        return os.path.exists(self)

    def iterdir(self) -> Iterator[File]:
        return (self / name for name in os.listdir(self))

    def open(self, mode: str) -> Any:
        return open(self, mode)

    def read_bytes(self) -> bytes:
        with open(self, "rb") as file:
            return file.read()

    def read_text(self) -> str:
        with open(self) as file:
            return file.read()

    def resolve(self) -> File:
        return File(os.path.realpath(self))

    def symlink_to(self, target: str) -> None:
        os.symlink(target, self)

    def touch(self) -> None:
        self.write_text("")

    def unlink(self, missing_ok: bool = False) -> None:
        if os.path.lexists(self) or not missing_ok:
            os.unlink(self)

    def write_text(self, text: str) -> None:
        with open(self, "w") as file:
            file.write(text)


STAND_IN = "stand_in"
TERM, KILL = 15, 9
HERE = File(os.path.dirname(os.path.realpath(__file__)))
OVERLAY = (
    "Error response from daemon: error creating overlay mount to /var/lib/docker/overlay2/1/merged: "
    "no such file or directory"
)
SOURCE = "https://registry.test:5000"
INFO = {
    "ServerVersion": "20.10.24",
    "Runtimes": {"runc": {}},
    "CDISpecDirs": None,
    "DockerRootDir": "/",
}


def install(folder: Path) -> Path:
    """Write the three programs and an empty store; returns the folder."""
    import json
    import py_compile

    folder.mkdir()
    py_compile.compile(__file__, str(folder / f"{STAND_IN}.pyc"), doraise=True)
    lines = ("import sys", f"sys.path.insert(0, {str(folder)!r})", f"import {STAND_IN}", f"{STAND_IN}.main()")
    program = "\n".join((f"#!{sys.executable} -IS", *lines, ""))
    for name in ("docker", "systemctl", "journalctl"):
        path = folder / name
        path.write_text(program)
        path.chmod(0o755)
    (folder / "info.json").write_text(json.dumps({**INFO, "DockerRootDir": str(folder)}))
    for name in ("registry", "images", "containers", "tags", "created", "damaged"):
        (folder / name).mkdir()
    return folder


def calls(folder: Path) -> list[list[str]]:
    """Every command line so far, the program's name first."""
    import json

    path = folder / "calls.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def image(name: str) -> File | None:
    """`images/<hex of the ID>` is a link to a folder of `registry/<digest hex>`; a reference ends in a digest of either
    kind, or is one of `tags/`.
    """
    tag = HERE / "tags" / name.replace("/", "+")
    digest = (tag.read_text() if tag.exists() else name).rpartition("sha256:")[2]
    for path in (HERE / "images").iterdir():
        if digest in (path.name, path.resolve().name):
            return path
    return None


def lives(pid: str) -> bool:
    try:
        return File(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def container(name: str, folder: File | Path = HERE) -> list[str]:
    """The ID of a container's image, the process of `docker run`, and the container's own; empty when no such container
    runs.
    """
    try:
        return (folder / "containers" / name).read_text().split()
    except FileNotFoundError:
        return []


def kill(pids: list[str]) -> None:
    for pid in pids:
        try:
            os.kill(int(pid), KILL)
        except ProcessLookupError:
            continue


def end(code: int, stdout: str = "", stderr: str = "") -> None:
    print(stdout, end="\n" if stdout else "")
    print(stderr, end="\n" if stderr else "", file=sys.stderr)
    sys.exit(code)


def pull(reference: str) -> None:
    import json

    source = HERE / "registry" / reference.rpartition("sha256:")[2]
    if (HERE / "pull_error").exists():
        end(1, "", (HERE / "pull_error").read_text())
    if not source.exists():
        end(1, "", "Error response from daemon: manifest unknown: manifest unknown")
    facts = json.loads((source / "image.json").read_text())
    (HERE / "images" / facts["Id"][7:]).symlink_to(source)
    end(0, reference)


def run(words: list[str]) -> None:
    """Options come in pairs but for a few; then the image, a module and its arguments."""
    import signal
    import subprocess

    environment, name = dict(os.environ), ""
    words.pop(0)
    while words[0].startswith("-"):
        option = words.pop(0)
        if option in ("--rm", "--read-only", "--no-healthcheck"):
            continue
        value = words.pop(0)
        if option == "--name":
            name = value
        if option == "--env":
            key, _, environment[key] = value.partition("=")
        if option == "--mount":
            path = value.split("source=")[1].split(",")[0]
            if not os.path.exists(path):
                end(125, "", f"docker: invalid mount config: bind source path does not exist: {path}")
    found = image(words.pop(0))
    if found is None or (HERE / "damaged" / found.name).exists():
        end(125, "", "docker: No such image" if found is None else OVERLAY)
    found = HERE / "images" / (HERE / "run_instead").read_text() if (HERE / "run_instead").exists() else found
    environment["PYTHONPATH"] = str(found / "site")
    source = (HERE / "source").read_text() if (HERE / "source").exists() else SOURCE
    words = [word.replace(SOURCE, source) for word in words]
    child = subprocess.Popen([sys.executable, "-S", "-m", *words], env=environment, cwd="/")
    note, written = HERE / "containers" / name, HERE / f"container-{os.getpid()}"
    written.write_text(f"sha256:{found.name} {os.getpid()} {child.pid}")
    os.rename(written, note)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: child.terminate())
    code = child.wait()
    note.unlink(missing_ok=True)
    sys.exit(code)


def remove(name: str) -> None:
    if (HERE / "created" / name).exists():
        (HERE / "created" / name).unlink()
        return
    found = container(name)
    if not found:
        end(1, "", f"Error: No such container: {name}")
    kill(found[1:])
    (HERE / "containers" / name).unlink(missing_ok=True)


def save(name: str) -> None:
    """As engine 20.10 does: a manifest, the configuration by its digest, the layers.

    What the store has lost is missing.
    """
    import json
    import tarfile

    found = image(name)
    if found is None:
        end(1, "", f"Error response from daemon: reference does not exist: {name}")
    if (HERE / "slow_save").exists():
        (HERE / "slow_save.seen").touch()
        while (HERE / "slow_save").exists():
            time.sleep(0.02)
    manifest = HERE / f"manifest-{os.getpid()}"
    manifest.write_text(json.dumps([{"Config": f"{found.name}.json", "RepoTags": [name], "Layers": ["1/layer.tar"]}]))
    with tarfile.open(fileobj=sys.stdout.buffer, mode="w|") as archive:
        if not (HERE / "damaged" / found.name).exists():
            archive.add(found / "layer", "1/layer.tar")
        archive.add(found / "config.json", f"{found.name}.json")
        archive.add(manifest, "manifest.json")
        archive.add(found / "where", "where")
    manifest.unlink()


def load(path: str) -> None:
    """The image of an archive, with its names; one that is there already is left alone."""
    import json
    import tarfile

    with tarfile.open(path) as archive:
        manifest = json.load(archive.extractfile("manifest.json"))[0]
        where = archive.extractfile("where").read().decode()
    identity = "0" * 64 if (HERE / "load_another").exists() else manifest["Config"][:64]
    target = HERE / "images" / identity
    if not target.exists():
        target.symlink_to(where)
    for name in manifest["RepoTags"]:
        (HERE / "tags" / name.replace("/", "+")).write_text(f"sha256:{identity}")


def untag(name: str) -> None:
    """`image rm`: of a name, or of an image with all its names."""
    found, tags = image(name), list((HERE / "tags").iterdir())
    if found is None:
        end(1, "", f"Error: No such image: {name}")
    if not name.startswith("sha256:"):
        (HERE / "tags" / name.replace("/", "+")).unlink()
        return
    if any(container(path.name)[:1] == [f"sha256:{found.name}"] for path in (HERE / "containers").iterdir()):
        end(1, "", "Error response from daemon: conflict: image is being used by running container")
    for path in tags:
        if path.read_text() == f"sha256:{found.name}":
            path.unlink()
    (HERE / "damaged" / found.name).unlink(missing_ok=True)
    found.unlink()


def create(words: list[str]) -> None:
    found, label = image(words[-1]), words[words.index("--label") + 1]
    if found is None or (HERE / "damaged" / found.name).exists():
        end(1, "", "Error: No such image" if found is None else OVERLAY)
    if (HERE / "create_error").exists():
        end(1, "", (HERE / "create_error").read_text())
    if (once := HERE / "create_error_once").exists():
        words = once.read_text()
        once.unlink()
        end(1, "", words)
    name = f"{os.getpid()}"
    (HERE / "created" / name).write_text(label)
    end(0, name)


def tag(identity: str, name: str) -> None:
    (HERE / "tags" / name.replace("/", "+")).write_text(f"sha256:{image(identity).name}")


def list_images(words: list[str]) -> None:
    if "--format" not in words:
        end(0, "\n".join(f"sha256:{path.name}" for path in (HERE / "images").iterdir()))
    tags = [path for path in (HERE / "tags").iterdir() if path.name.startswith(words[-1].replace("/", "+"))]
    end(0, "\n".join(f"{path.name.partition(':')[2]} {path.read_text()}" for path in tags))


def inspect_image(name: str) -> None:
    found = image(name)
    end(0, (found / "image.json").read_text()) if found else end(1, "[]", "Error: No such image")


def list_containers(wanted: str) -> None:
    """By label those that were created, by name those that run."""
    if wanted.startswith("label="):
        end(0, "\n".join(path.name for path in (HERE / "created").iterdir() if path.read_text() == wanted[6:]))
    end(0, "c0ffee" if (HERE / "containers" / wanted.rpartition("/?")[2].rstrip("$")).exists() else "")


def inspect_container(name: str) -> None:
    found = container(name)
    end(0, " ".join(found[:2])) if found else end(1, "", "Error: No such container")


def docker(words: list[str]) -> None:
    last = words[-1]
    verbs = {
        "info": lambda: end(0, (HERE / "info.json").read_text()),
        "image ls": lambda: list_images(words),
        "image inspect": lambda: inspect_image(last),
        "image rm": lambda: untag(last),
        "container ls": lambda: list_containers(last),
        "container inspect": lambda: inspect_container(last),
        "container create": lambda: create(words),
        "tag": lambda: tag(words[1], last),
        "save": lambda: save(last),
        "load": lambda: load(last),
        "pull": lambda: pull(last),
        "run": lambda: run(words),
        "rm": lambda: remove(last),
    }
    verbs[" ".join(words[: 2 if words[0] in ("image", "container") else 1])]()


def systemctl(words: list[str]) -> None:
    """Units of slots, and that of the agent, which systemd starts again when it was killed."""
    words = [word for word in words if word != "--no-block"]
    name = words[-1].partition(".")[0]
    slot = name.partition("@")[2]
    unit = HERE / f"unit-{slot or name}"
    running = unit.exists() and lives(unit.read_text())
    if words[0] == "kill" and not running:
        end(1, "", "Failed to kill unit: it is not active")
    if name == "homeport-supervisor" or words[0] == "cat" or (words[0] == "start" and running):
        return
    if words[0] == "restart" and running:
        stop(unit)
    if words[0] in ("start", "restart"):
        import json
        import subprocess

        with (HERE / f"log-{slot or name}").open("ab") as log:
            verb = ["run-slot", slot] if slot else ["serve"]
            argv = [*json.loads((HERE / "agent.json").read_text()), *verb]
            if slot:
                argv = ["sh", "-c", 'trap : TERM; "$@"; echo $? > "$0"', str(HERE / f"status-{slot}"), *argv]
            null = subprocess.DEVNULL
            process = subprocess.Popen(argv, stdin=null, stdout=log, stderr=log, start_new_session=True)
        unit.write_text(str(process.pid))
    elif words[0] == "show" and "MainPID" in words:
        end(0, unit.read_text() if running else "0")
    elif words[0] == "show":
        status = HERE / f"status-{slot}"
        code = status.read_text() if status.exists() and not running else "0"
        end(0, f"ActiveState={'active' if running else 'failed'}\nExecMainStatus={code}")
    elif running:
        stop(unit, KILL if words[0] == "kill" else TERM)


def stop(unit: File, number: int = TERM) -> None:
    pid = int(unit.read_text())
    # systemd ends all that is in a unit; an agent that a test has started itself leads no group
    (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, number)
    deadline = time.monotonic() + 5.0
    while lives(unit.read_text()) and time.monotonic() < deadline:
        time.sleep(0.02)


def main() -> None:
    name, words = os.path.basename(sys.argv[0]), sys.argv[1:]
    with (HERE / "calls.jsonl").open("a") as file:
        file.write(f"[{', '.join(map(encode_basestring_ascii, (name, *words)))}]\n")
    if name == "journalctl":
        log = HERE / f"log-{words[1].partition('@')[2].partition('.')[0]}"
        sys.stdout.buffer.write(log.read_bytes() if log.exists() else b"")
        sys.exit(0)
    (docker if name == "docker" else systemctl)(words)
