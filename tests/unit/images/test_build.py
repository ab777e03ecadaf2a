"""How a context is filled, which commands build, and what install.py leaves out, links and compiles."""

from __future__ import annotations

import os
import py_compile
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from images import build, install, lock, platforms, rootfs, sbom
from images.plan import CheckoutFacts, targets

ROOT = Path(__file__).parents[3]
DOCKERFILE = (ROOT / "images/stack.Dockerfile").read_text()
CPU = platforms.read()["cpu"]
STATUS = """Package: tini
Status: install ok installed
Architecture: amd64
Version: 0.19.0-1

Package: perl
Status: deinstall ok config-files
Architecture: amd64
Version: 5.36.0
"""


def test_a_context_holds_exactly_its_files_and_keeps_those_that_are_the_same(tmp_path: Path) -> None:
    source, folder = tmp_path / "cache", tmp_path / "context"
    source.mkdir()
    for name in ("a", "b"):
        (source / name).write_text(name)
    build.fill(folder, {"a": source / "a", "b": source / "b"})
    (folder / "debs").mkdir()
    before = (folder / "a").stat().st_ctime_ns

    build.fill(folder, {"a": source / "a"})

    assert sorted(path.name for path in folder.iterdir()) == ["a", "debs"]
    assert (folder / "a").stat().st_ctime_ns == before or (folder / "a").samefile(source / "a")


def test_a_changed_source_is_taken_anew_without_touching_the_old_one(tmp_path: Path) -> None:
    old, new, folder = tmp_path / "old", tmp_path / "new", tmp_path / "context"
    old.write_text("old")
    new.write_text("new")
    build.fill(folder, {"x": old})

    build.fill(folder, {"x": new})

    assert (folder / "x").read_text() == "new"
    assert old.read_text() == "old"


def test_the_build_has_no_network_and_takes_arguments_labels_and_tags_from_the_plan() -> None:
    empty = lock.Lock({"cpu/amd64": lock.LockEntry("", "", {}, (), ())})
    target = targets([CPU], empty, CheckoutFacts("1.2.3", "0" * 40, 0, ""), arches=["amd64"])[0]

    argv = build.build_argv("docker", target, "/id", no_cache=True)

    assert {"--network=none", "--platform=linux/amd64", "--no-cache", "--iidfile=/id"} <= set(argv)
    assert argv[argv.index("OS=debian") - 1] == "--build-arg"
    assert argv[argv.index("dev.homeport.row=cpu") - 1] == "--label"
    assert argv[-2:] == ["--tag=homeport/stack:1.2.3-cpu-amd64", "build/images/cpu-amd64"]


@pytest.mark.parametrize(
    ("plugin", "version", "answer"),
    [("v0.20.0", "28.2.2", True), (None, "28.2.2", False), (None, "20.10.24+dfsg1", True), (None, None, False)],
)
def test_a_client_builds_with_buildx_or_when_it_is_old_enough_to_need_none(
    plugin: str | None, version: str | None, answer: bool
) -> None:
    assert build.can_build(lambda *words: plugin if words[0] == "buildx" else version) is answer


def test_the_root_filesystem_has_no_documentation_but_every_copyright() -> None:
    argv = rootfs.argv(CPU, "arm64", Path("out.tar"))

    assert "--architectures=arm64" in argv
    assert argv.index("--dpkgopt=path-exclude=/usr/share/doc/*") < argv.index(
        "--dpkgopt=path-include=/usr/share/doc/*/copyright"
    )
    assert argv[-2:] == ["bookworm", "out.tar"]


def test_only_installed_packages_count_and_differences_are_named() -> None:
    here = rootfs.packages(STATUS)

    assert here == {"tini": "0.19.0-1"}
    assert rootfs.drift(here, {"tini": "0.18", "openssl": "3"}) == [
        "openssl is absent, the lock says 3",
        "tini is 0.19.0-1, the lock says 0.18",
    ]


def test_compiled_files_of_the_system_are_valid_whatever_date_their_source_has(tmp_path: Path) -> None:
    module = tmp_path / "usr/lib/python3.11/module.py"
    module.parent.mkdir(parents=True)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/hostname").write_text("builder")
    module.write_text("ANSWER = 42\n")
    py_compile.compile(str(module))

    rootfs.finish(tmp_path)
    module.write_text("ANSWER = 43\n")  # never looked at again

    argv = [sys.executable, "-c", "import module; print(module.ANSWER)"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPYCACHEPREFIX"}
    done = subprocess.run(argv, cwd=module.parent, env=environment, capture_output=True, text=True)
    assert done.stdout == "42\n", done.stderr
    assert (tmp_path / "etc/hostname").read_text() == ""


def wheel(path: Path, files: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


def test_unused_files_stay_in_the_wheel_but_licences_never_do(tmp_path: Path) -> None:
    files = ["m/__init__.py", "m/tests/test_m.py", "m/tests/LICENSE", "m-1.data/data/include/m.h", "m-1.data/scripts/m"]
    house = wheel(tmp_path / "m-1-py3-none-any.whl", dict.fromkeys(files, "x"))

    install.unpack(house, tmp_path / "env", "lib", ["*/tests/*", "include/*"])

    found = sorted(path.relative_to(tmp_path / "env").as_posix() for path in (tmp_path / "env").rglob("*.*"))
    assert found == ["lib/m/__init__.py"]
    assert (tmp_path / "env/lib/m/tests/LICENSE").exists()


def test_a_wheel_cannot_write_outside_the_environment(tmp_path: Path) -> None:
    house = wheel(tmp_path / "m-1-py3-none-any.whl", {"m/../../../evil.py": "x"})

    install.unpack(house, tmp_path / "env/inner", "lib", [])

    assert not list(tmp_path.rglob("evil.py"))


def test_equal_libraries_become_links_to_the_first(tmp_path: Path) -> None:
    for name in ("b/lib.so", "a/lib.so", "c/other.so"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(name[-6:].encode() * 9000)

    install.link_equal(tmp_path)

    assert (tmp_path / "b/lib.so").readlink() == Path("../a/lib.so")
    assert not (tmp_path / "c/other.so").is_symlink()


def test_the_bill_of_materials_names_packages_and_wheels_and_is_the_same_twice(tmp_path: Path) -> None:
    for name, text in {
        "etc/os-release": 'ID="debian"\n',
        "var/lib/dpkg/status": STATUS,
        "opt/homeport/app/homeport-1.dist-info/METADATA": (
            "Name: homeport\nVersion: 1\nLicense-Expression: Apache-2.0\n"
        ),
    }.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(text)

    text = sbom.text(tmp_path)

    assert re.findall(r'"referenceLocator": "(.+)"', text) == [
        "pkg:deb/debian/tini@0.19.0-1?arch=amd64",
        "pkg:pypi/homeport@1",
    ]
    assert '"licenseDeclared": "Apache-2.0"' in text
    assert sbom.text(tmp_path) == text


@pytest.mark.parametrize("word", ["# syntax=", "<<", "--link", "--parents", "curl", "wget"])
def test_the_dockerfile_stays_in_the_shared_dialect_and_fetches_nothing(word: str) -> None:
    assert word not in DOCKERFILE


def test_the_dockerfile_declares_only_arguments_of_the_plan() -> None:
    declared = set(re.findall(r"^ARG (\w+)", DOCKERFILE, re.MULTILINE))

    assert declared <= {"OS", "BASE", "ROW", "ARCH", "PYTHON", "ROS_DISTRO", "SOURCE_DATE_EPOCH"}
    assert len(DOCKERFILE.splitlines()) <= 80


@pytest.mark.parametrize("name", ["entrypoint", "healthcheck"])
def test_shell_in_the_image_is_short_and_clean(name: str) -> None:
    path = ROOT / "images" / name
    shellcheck = shutil.which("shellcheck", path=str(Path(sys.executable).parent))

    assert len(path.read_text().splitlines()) <= 20
    assert subprocess.run([str(shellcheck), str(path)], capture_output=True, text=True).stdout == ""
