"""`python -m stack.models {train,evaluate,spoil,seed}`: make, measure and spoil reference models; write the seed's."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from model_registry.core.errors import HomeportError, UsageError
from model_registry.core.release import PROFILES


def _train(options: argparse.Namespace) -> str:
    from stack.models.export import export  # torch: only here
    from stack.models.train import RECIPES, train

    if options.version not in RECIPES:
        raise UsageError(f"--version {options.version}: no recipe; use one of {', '.join(RECIPES)}")
    if options.out.exists():
        raise UsageError(f"--out {options.out}: exists already; name a folder that does not")
    export(train(RECIPES[options.version]), options.version, options.out)
    return str(options.out)


def _seed(options: argparse.Namespace) -> str:
    from stack.models.seeded import write  # torch: only here

    write(options.network, options.version, options.out)
    return str(options.out)


def _evaluate(options: argparse.Namespace) -> str:
    from stack.models.evaluate import evaluate

    return json.dumps(evaluate(options.model, options.layouts, options.execute_steps), indent=2)


def _spoil(options: argparse.Namespace) -> str:
    from stack.models.spoil import spoil

    spoil(options.model, options.out, options.version)
    return str(options.out)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m stack.models", description="Make, measure and spoil reference models."
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    train = verbs.add_parser("train", help="train and export a model folder (needs torch, onnx and onnxscript)")
    train.add_argument("--out", type=Path, required=True)
    train.set_defaults(run=_train)
    evaluate = verbs.add_parser("evaluate", help="drive held-out layouts in closed loop")
    evaluate.add_argument("model", type=Path)
    evaluate.add_argument("--layouts", type=int, default=100)
    evaluate.add_argument("--execute-steps", type=int, default=4)
    evaluate.set_defaults(run=_evaluate)
    spoil = verbs.add_parser("spoil", help="make the broken release that the bench rolls back")
    spoil.add_argument("model", type=Path)
    spoil.add_argument("out", type=Path)
    spoil.set_defaults(run=_spoil)
    seed = verbs.add_parser(
        "seed", help="write one of the seed's networks, not trained (needs torch, onnx and onnxscript)"
    )
    seed.add_argument("network", choices=PROFILES)
    seed.add_argument("--out", type=Path, required=True)
    seed.set_defaults(run=_seed)
    for verb in (train, spoil, seed):
        verb.add_argument("--version", required=True)
    return parser.parse_args()


def main() -> int:
    """Parse, run, print; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    options = _parse()
    try:
        sys.stdout.write(f"{options.run(options)}\n")
    except HomeportError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
