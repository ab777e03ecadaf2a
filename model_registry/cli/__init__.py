"""The verbs `homeport model`, `homeport release`, `homeport channel`, `homeport keys` and `homeport image`.

Parse, call, print; decisions are made one layer below.
"""

from __future__ import annotations

import typer

from model_registry.cli import channel, image, keys, looking, model, release
from model_registry.cli.entry import app_of

__all__ = ["app", "looking", "mount"]  # looking adds its verbs to those of model

app: typer.Typer = app_of(
    "Version, sign, store and fetch models and releases.", "homeport model list --source oci:registry"
)


def mount(onto: typer.Typer) -> None:
    """Add the verbs of this package to another program."""
    onto.add_typer(model.app, name="model")
    onto.add_typer(release.app, name="release")
    onto.add_typer(channel.app, name="channel")
    onto.add_typer(keys.app, name="keys")
    onto.add_typer(image.app, name="image")


mount(app)
