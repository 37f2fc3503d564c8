"""Chooses the precision and the size of an engine set with which a run is made."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from odtk_ray.artifacts.engine_set import EngineSet, is_engine_set, read_engine_set
from odtk_ray.artifacts.plan_key import Variant
from odtk_ray.config import InferConfig
from odtk_ray.errors import UsageError
from odtk_ray.options import flag_of
from odtk_ray.reporter import Reporter

# The best first: FP16 is what a checkpoint computes in too, and INT8 may cost accuracy.
_PRECISIONS = ("fp16", "fp32", "int8")


def read_plans(config: InferConfig, reporter: Reporter) -> EngineSet | None:
    """Read the plans of a run: those of one precision and size of an engine set.

    `--precision`, `--full-precision`, `--fit`, `--resize` and `--max-size` choose. Without them
    FP16 comes before FP32, and that before INT8; then the largest input is taken.

    Args:
        config: the user's settings.
        reporter: told what is taken, where there is a choice.

    Returns:
        the set of these plans; None if the model is no engine set.

    Raises:
        UsageError: the set cannot be used, or has no such plans.
    """
    if not is_engine_set(config.model):
        if config.precision is not None:
            raise UsageError(
                "--precision needs an engine set",
                f"{config.model} is not one",
                "--full-precision has checkpoints compute in FP32",
            )
        return None
    engines = read_engine_set(config.model)
    chosen = choose_variant(config, engines.variants)
    if len(engines.variants) > 1:
        others = ", ".join(str(other) for other in engines.variants if other != chosen)
        reporter.note(f"{config.model}: running its plans of {chosen} (it also has {others})")
    return engines.only(chosen)


def choose_variant(config: InferConfig, variants: Sequence[Variant]) -> Variant:
    """Return the best of the variants that have what the user asked for.

    Raises:
        UsageError: none has; the first setting that leaves none is named.
    """
    left = list(variants)
    for name, values in _asked(config).items():
        given = getattr(config, name)
        fitting = [variant for variant in left if values(variant) == given]
        if not fitting:
            raise _absent(config, name, left)
        left = fitting
    return min(left, key=_rank)


def _asked(config: InferConfig) -> dict[str, Callable[[Variant], object]]:
    """Return what each setting that was given asks of a variant."""
    wanted: dict[str, Callable[[Variant], object]] = {
        "precision": lambda variant: variant.precision,
        "full_precision": lambda variant: variant.precision == "fp32",
        "fit": lambda variant: variant.size,
        "resize": lambda variant: min(variant.size),
        "max_size": lambda variant: max(variant.size),
    }
    return {name: value for name, value in wanted.items() if getattr(config, name)}


def _rank(variant: Variant) -> tuple[int, int]:
    height, width = variant.size
    return _PRECISIONS.index(variant.precision), -height * width


def _absent(config: InferConfig, name: str, left: Sequence[Variant]) -> UsageError:
    flag = flag_of(name)
    return UsageError(
        f"{flag} contradicts {os.path.basename(config.model.rstrip('/'))}",
        f"its plans are {', '.join(map(str, left))}",
        f"leave {flag} out, or add such plans: odtk-ray export MODEL {config.model} --gpu-type all",
    )
