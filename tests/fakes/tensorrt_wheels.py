"""The real Python bindings of several TensorRT releases, without a GPU: the wheels of requirements/tensorrt, and stubs
for the libraries behind them.

The bindings export nothing that runs: they link to nine functions of three libraries, which `cc` makes here as
functions that return nothing.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import zipfile
from pathlib import Path

from images.resolve import cache
from model_registry.core.digest import Digest

REQUIREMENTS = Path(__file__).parents[2] / "requirements/tensorrt"
VERSIONS = sorted(
    (path.stem for path in REQUIREMENTS.glob("*.txt")), key=lambda text: [int(x) for x in text.split(".")]
)
LIBRARIES = {
    "libnvinfer": (
        "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
        "getBuilderPluginRegistry", "getPluginRegistry",
    ),
    "libnvonnxparser": ("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion"),
    "libnvinfer_plugin": ("initLibNvInferPlugins",),
}  # fmt: skip


class Offline(Exception):
    """The wheels are not in the cache and cannot be fetched."""


def wheels(version: str) -> Path:
    """A folder with the unpacked wheels of one file of requirements/tensorrt, from the cache or the package registry.

    Raises Offline.
    """
    lock = REQUIREMENTS / f"{version}.txt"
    folder = cache() / "tensorrt" / f"{Digest.of_file(lock).hex}-{sys.version_info[1]}"
    if folder.is_dir():
        return folder
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    command = [
        *(sys.executable, "-m", "pip", "download", "-qq", "--no-deps", "--only-binary=:all:", "--require-hashes"),
        *("-r", str(lock), "-d", str(temporary / "wheels")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Offline(f"TensorRT {version}: {done.stderr.strip()[-300:]}")
    for wheel in (temporary / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            names = [each for each in archive.namelist() if each.endswith((".py", ".so"))]  # not the 300 MB of sources
            archive.extractall(temporary, [each for each in names if "torch" not in each or each.endswith(".py")])
        wheel.unlink()
    temporary.rename(folder)
    return folder


def stubs(version: str, folder: Path) -> Path:
    """Compile the three libraries for one major version into `folder`."""
    for library, functions in LIBRARIES.items():
        source = folder / f"{library}.c"
        source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in functions))
        name = f"{library}.so.{version.partition('.')[0]}"
        subprocess.run(
            ["cc", "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(folder / name), str(source)], check=True
        )
    return folder


def run(version: str, model: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Our builder and runner over recording objects of one release, in a process of its own; JSON on stdout
    (tensorrt_run.py). Raises Offline.
    """
    root = REQUIREMENTS.parents[1]
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(stubs(version, folder)),
        "PYTHONPATH": os.pathsep.join((str(wheels(version)), str(root))),
    }
    command = [sys.executable, "-m", "tests.fakes.tensorrt_run", str(model), str(folder / "run")]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=110, check=False
    )


def parameters(wheel: Path, file: str, function: str) -> set[str]:
    """The named parameters of a function of Torch-TensorRT, from its source alone."""
    tree = ast.parse((wheel / "torch_tensorrt" / file).read_text())
    found = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    return {each.arg for each in (*found.args.posonlyargs, *found.args.args, *found.args.kwonlyargs)}


def undefined(bindings: Path) -> set[str]:
    """The symbols that a bindings library wants from TensorRT's libraries."""
    listed = subprocess.run(
        ["nm", "-D", "--undefined-only", str(bindings)], capture_output=True, text=True, check=True
    ).stdout.split()
    return {name for name in listed if "Infer" in name or "NvOnnx" in name or name.endswith("PluginRegistry")}
