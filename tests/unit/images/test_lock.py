"""The lock: exact or refused; and the commands that make it."""

from __future__ import annotations

from pathlib import Path

import pytest

from images import lock, platforms, resolve
from images.lock import Deb, Lock, LockEntry, Wheel
from model_registry.core.errors import HomeportError, IntegrityError, UsageError

ROWS = platforms.read()
WHEEL = Wheel("a-1-py3-none-any.whl", "a", "1", "0f" * 32)
ENTRY = LockEntry(
    "x:1", "sha256:" + "0f" * 32, {"tini": "1"}, (Deb("t.deb", "https://a.test/t.deb", "0f" * 32),), (WHEEL,)
)


def test_what_is_saved_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "lock.json"
    lock.save(Lock({"r/amd64": ENTRY}), path)

    assert lock.load(path) == Lock({"r/amd64": ENTRY})


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"x:1"', '""', "base and base_digest belong together"),
        ("a-1-py3-none-any.whl", "../a.whl", "expected the name of a file"),
        ('"schema": 1', '"schema": 2', "newer than this program knows"),
        ("0f0f", "0f", "expected sha256: and 64 hex"),
        ('"tini"', '"x": "1", "tini": 1, "y"', "expected a string"),
    ],
)
def test_an_inexact_lock_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "lock.json"
    lock.save(Lock({"r/amd64": ENTRY}), path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))

    with pytest.raises(UsageError, match=message):
        lock.load(path)


def test_every_locked_row_exists_and_has_one_hashed_wheel_per_distribution() -> None:
    locked = lock.load()

    assert (
        {"cpu/amd64", "cpu/arm64"} <= set(locked.entries) <= {f"{r.name}/{a}" for r in ROWS.values() for a in r.arches}
    )
    for key, entry in locked.entries.items():
        row = ROWS[key.partition("/")[0]]
        names = [wheel.name for wheel in entry.wheels]
        assert len(names) == len(set(names))
        assert not set(names) & set(row.without), key
        assert entry.base == row.base, f"{key}: run make lock PLATFORM={row.name}"
        assert row.base or set(row.packages) <= set(entry.packages), key


def test_the_arm64_image_has_no_ros_wheels_and_an_onnxruntime_that_runs_under_emulation() -> None:
    wheels = {wheel.name: wheel.version for wheel in lock.load().entry("cpu", "arm64").wheels}

    assert not [name for name in wheels if name.startswith("ros-")]
    assert tuple(map(int, wheels["onnxruntime"].split("."))) <= (1, 23, 2)


def test_versions_follow_the_robots_lock_except_where_the_row_says_otherwise() -> None:
    robot = "a==1 ; python_version < '3' \\\n    --hash=sha256:0f\nonnxruntime==9 \\\n    --hash=sha256:0f\n"

    assert resolve.constraints(ROWS["cpu"], "amd64", robot) == ["a==1 ; python_version < '3'", "onnxruntime==9"]
    assert resolve.constraints(ROWS["cpu"], "arm64", robot) == ["a==1 ; python_version < '3'"]


def test_wheels_are_asked_for_by_hash_for_the_platform_of_the_row() -> None:
    argv = resolve.download_argv(ROWS["jp6"], "arm64", Path("wanted"), Path("into"))

    assert {"--require-hashes", "--only-binary=:all:", "--no-deps"} <= set(argv)
    assert argv[argv.index("--python-version") + 1] == "3.10"
    platforms_asked = [word.partition("=")[2] for word in argv if word.startswith("--platform=")]
    assert platforms_asked[0] == "manylinux_2_35_aarch64"
    assert all(name.endswith("aarch64") for name in platforms_asked)


def test_what_is_left_out_is_not_resolved() -> None:
    argv = resolve.compile_argv(ROWS["cpu"], "amd64", Path("folder"))

    assert "--no-emit-package=huggingface-hub" in argv
    assert argv[argv.index("--python-platform") + 1] == "x86_64-manylinux_2_36"


def test_an_ubuntu_row_cannot_be_locked_without_its_package_archives() -> None:
    with pytest.raises(HomeportError):
        resolve.entry(ROWS["jp7"], "arm64", None)


def test_a_cached_wheel_with_other_bytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = tmp_path / "homeport/wheels" / WHEEL.sha256 / WHEEL.file
    path.parent.mkdir(parents=True)
    path.write_bytes(b"other bytes")

    with pytest.raises(IntegrityError):
        resolve.wheelhouse(ROWS["cpu"], "amd64", [WHEEL])


def test_a_program_that_is_not_installed_is_named_with_what_installs_it() -> None:
    with pytest.raises(HomeportError, match=r"no-such-program is not installed here; run requirements/bench\.sh"):
        resolve.run(["no-such-program"])


def test_a_command_gets_one_date_and_nothing_that_directs_a_python(monkeypatch: pytest.MonkeyPatch) -> None:
    """What sends compiled files elsewhere would keep them out of a root filesystem."""
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", "/elsewhere")
    environment = resolve.run(["env"]).splitlines()
    assert not [line for line in environment if line.startswith("PYTHON")]
    assert len([line for line in environment if line.startswith(("SOURCE_DATE_EPOCH=", "PATH="))]) == 2
