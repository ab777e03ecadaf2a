"""The command line: results on stdout, words on stderr, and the exit codes of the documentation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from model_registry.cli import app
from model_registry.cli.entry import run
from tests.fakes.model import make_model
from tests.fakes.odd_graphs import rename_axes, with_graph
from tests.fakes.recipe import make_key, make_recipe

Result = tuple[int, str, str]


class Shell:
    """Calls the command line in this process."""

    def __init__(self, folder: Path, capture: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capture = folder, capture
        self.source = f"oci:{folder / 'registry'}"

    def __call__(self, *arguments: object) -> Result:
        hook = sys.excepthook
        try:
            code = run(app, [str(word) for word in arguments])
        finally:
            sys.excepthook = hook
        out, err = self._capture.readouterr()
        return code, out.strip(), err.strip()

    def released(self) -> str:
        """Pack and publish; the release's digest."""
        assert self("model", "pack", make_model(self.folder / "m"), "--source", self.source)[0] == 0
        key, recipe = make_key(self.folder / "keys"), make_recipe(self.folder / "recipe")
        code, out, err = self("release", "create", "--file", recipe, "--source", self.source, "--key", key)
        assert code == 0, err
        return out


@pytest.fixture
def shell(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    monkeypatch.delenv("HOMEPORT_SOURCE", raising=False)
    return Shell(tmp_path, capsys)


def pull_release(shell: Shell, digest: str) -> Result:
    where = ("--source", shell.source, "--repository", "releases/pilot", "--to", shell.folder / "out")
    return shell("release", "pull", digest, *where, "--row-arch", "process/amd64", "--keys", shell.folder / "keys")


def test_the_whole_way_from_a_folder_to_a_robot(shell: Shell) -> None:
    digest = shell.released()
    code, out, _ = pull_release(shell, digest)
    assert (code, json.loads(out)["release"]) == (0, digest)
    assert json.loads(out)["bytes_fetched"] > 0
    model = json.loads((shell.folder / "out/release.json").read_text())["model"]
    announced = json.loads(out)["model_bytes"]
    reference = f"{model['repository']}@{model['digest']}"
    wanted = ("model", "pull", reference, "--source", shell.source, "--to", shell.folder / "models", "--json")
    code, out, _ = shell(*wanted)
    assert (code, json.loads(out)["changed"]) == (0, True)
    files = [
        path for path in Path(json.loads(out)["path"]).rglob("*") if path.is_file() and path.name != "manifest.json"
    ]
    assert announced == sum(path.stat().st_size for path in files)
    assert shell("model", "verify", json.loads(out)["path"])[0] == 0
    code, out, _ = shell(*wanted)
    assert json.loads(out)["bytes_fetched"] == 0


def test_packing_says_what_it_changes(shell: Shell) -> None:
    folder = with_graph(shell.folder / "odd", rename_axes(("lidar", 0, "batch"), ("action", 0, "batch")))
    code, out, err = shell("model", "pack", folder, "--source", shell.source)
    assert (code, out.partition("@")[0]) == (0, "models/pilot")
    for tensor in ("lidar", "action"):
        assert f"policy.onnx: axis 0 of '{tensor}' (batch) is fixed to 1, as vla.json says; the folder stays" in err
    assert shell("model", "verify", out, "--source", shell.source)[0] == 0
    assert shell("model", "verify", folder)[0] == 0


def test_what_is_here_already_needs_no_source(shell: Shell) -> None:
    digest = shell.released()
    pull_release(shell, digest)
    (shell.folder / "registry").rename(shell.folder / "away")
    code, out, _ = pull_release(shell, digest)
    nothing = {"bytes_fetched": 0, "image_bytes": 0, "model_bytes": 0}
    assert (code, json.loads(out)) == (0, {"release": digest, **nothing})


def test_lists_show_what_is_there(shell: Shell) -> None:
    digest = shell.released()
    _, models, _ = shell("model", "list", "--source", shell.source, "--json")
    assert [(row["name"], row["version"]) for row in json.loads(models)] == [("models/pilot", "1.0.0")]
    _, listed, _ = shell("release", "list", "--source", shell.source, "--json")
    assert json.loads(listed) == [{"name": "pilot", "version": "1.0.0", "release": digest, "counter": 1}]


def test_show_says_whether_the_signature_was_checked(shell: Shell) -> None:
    shell.released()
    show = ("release", "show", "pilot:1.0.0", "--source", shell.source)
    assert "not verified" in shell(*show)[1]
    assert "(verified)" in shell(*show, "--keys", shell.folder / "keys")[1]


def test_a_model_is_pushed_to_another_source(shell: Shell) -> None:
    shell.released()
    target = f"oci:{shell.folder / 'mirror'}"
    code, out, _ = shell("model", "push", "models/pilot:1.0.0", "--from", shell.source, "--to", target)
    assert code == 0
    assert shell("model", "verify", out, "--source", target)[0] == 0


def test_the_source_may_come_from_the_environment(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    shell.released()
    monkeypatch.setenv("HOMEPORT_SOURCE", shell.source)
    assert shell("model", "list")[0] == 0


def test_keys_are_made_and_shown(shell: Shell) -> None:
    code, out, err = shell("keys", "generate", "--out", shell.folder / "new", "--name", "fleet")
    assert (code, "Keep" in err) == (0, True)
    assert shell("keys", "show", out)[1] == Path(out).stem


def test_keys_inside_a_repository_are_refused(shell: Shell) -> None:
    (shell.folder / ".git").mkdir()
    code, out, err = shell("keys", "generate", "--out", shell.folder / "new")
    assert (code, out) == (5, "")
    assert err.startswith("error: ") and "\n" not in err


def test_a_wrong_signature_ends_with_5(shell: Shell) -> None:
    digest = shell.released()
    make_key(shell.folder / "others")
    where = ("--source", shell.source, "--repository", "releases/pilot", "--to", shell.folder / "out")
    words = ("release", "pull", digest, *where, "--row-arch", "process/amd64", "--keys", shell.folder / "others")
    code, out, err = shell(*words)
    assert (code, out) == (5, "")
    assert "no valid signature" in err
    assert not (shell.folder / "out").exists()


def test_an_unknown_release_ends_with_1(shell: Shell) -> None:
    shell.released()
    code, _, err = pull_release(shell, f"sha256:{'0' * 64}")
    assert (code, "publish it there" in err) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ("release", "pull", "1.0.0", "--source", "oci:none", "--repository", "releases/pilot", "--to", "x",
         "--row-arch", "p/amd64"),
        ("model", "pull", "models/pilot:1.0.0", "--source", "oci:none", "--to", "x"),
        ("model", "list", "--source", "nowhere"),
        ("model", "list"),
        ("model", "verify", "models/pilot:1.0.0"),
        ("model", "fly"),
        ("release", "verify", "pilot:1.0.0", "--source", "oci:none"),
        ("keys", "generate"),
    ],
    ids=lambda words: " ".join(words[:3]),
)  # fmt: skip
def test_a_wrong_call_ends_with_2(words: tuple[str, ...], shell: Shell) -> None:
    code, out, err = shell(*words)
    assert (code, out) == (2, "")
    assert err


def test_a_missing_folder_is_not_created_by_reading(shell: Shell) -> None:
    code, _, err = shell("model", "list", "--source", shell.source)
    assert (code, "no OCI image layout" in err) == (1, True)
    assert list(shell.folder.iterdir()) == []


def test_a_traceback_is_shown_with_debug_only(shell: Shell) -> None:
    assert "Traceback" not in shell("model", "list", "--source", shell.source)[2]
    assert "Traceback" in shell("--debug", "model", "list", "--source", shell.source)[2]


def test_the_program_runs_by_itself_and_inside_homeport(tmp_path: Path) -> None:
    for module in ("model_registry.cli", "stack.cli"):
        words = [sys.executable, "-m", module, "model", "list", "--source", f"oci:{tmp_path / 'none'}"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("error: ")


def test_registry_verbs_load_neither_network_nor_numbers() -> None:
    code = "import sys; sys.argv=['homeport','model','list','--source','oci:none']\nimport stack.cli\n"
    code += "try: stack.cli.main()\nexcept SystemExit: pass\n"
    code += "sys.exit(bool({'numpy', 'onnxruntime', 'urllib3', 'cryptography'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
