"""`python -m model_registry.cli`: the registry's verbs without the rest of Homeport."""

from __future__ import annotations

import sys

from model_registry.cli import app
from model_registry.cli.entry import run

if __name__ == "__main__":
    sys.exit(run(app, sys.argv[1:]))
