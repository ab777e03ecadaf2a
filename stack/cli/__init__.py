"""The command `homeport`: the registry's verbs and the engine's, in one program."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from model_registry.cli import mount
from model_registry.cli.entry import app_of, run
from stack.cli import fleet, init, model

__all__ = ["build", "main", "model"]  # model adds its verbs to those of the registry


def build(arguments: Sequence[str]) -> typer.Typer:
    """The whole program for one command line.

    The engine's verbs load numpy and ONNX Runtime: a registry verb does not wait for them.
    """
    app = app_of(
        "Homeport: proved, reversible deployment of VLA policies to robots.",
        "homeport keys generate --out ~/homeport-keys",
        "homeport model pack pilot-1.0.0 --source oci:registry",
        "homeport release create --file release.toml --source oci:registry --key ~/homeport-keys/homeport.key",
    )
    mount(app)
    app.add_typer(init.app, name="init")
    app.add_typer(fleet.app, name="fleet")
    verb = next((word for word in arguments if not word.startswith("-")), None)
    if verb not in ("model", "release", "channel", "keys", "image", "init", "fleet"):
        from stack.engine.cli import app as engine

        app.add_typer(engine, name="engine")
    return app


def main() -> None:
    """Entry point of `homeport`."""
    arguments = sys.argv[1:]
    sys.exit(run(build(arguments), arguments))
