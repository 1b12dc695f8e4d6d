"""Rotary positions in a ``config.json``: ``rope_theta`` and ``rope_scaling`` up to transformers 4, ``rope_parameters`` from 5 on.

Scaling: linear (Chen et al. 2023, arXiv:2306.15595), llama3 (Grattafiori et al. 2024, arXiv:2407.21783), YaRN (Peng et al. 2023,
arXiv:2309.00071).
"""

import math
from collections.abc import Mapping
from typing import Any

from scratchlm.export.fields import Fields

THETA = 10000.0
FAST, SLOW = 32.0, 1.0
"""YaRN's turns within the original context above which a channel is left alone, and below which it is stretched whole."""


def rope_fields(shape: Mapping[str, Any]) -> dict[str, Any]:
    """Both spellings."""
    scaling = _theirs(shape["rope_scaling"])
    parameters = {"rope_theta": shape["rope_theta"]} | (scaling or {"rope_type": "default"})
    return {"rope_theta": shape["rope_theta"], "rope_scaling": scaling, "rope_parameters": parameters}


def rope_of(fields: Fields) -> dict[str, Any]:
    """``rope_theta`` and ``rope_scaling`` in our terms, from either spelling; UsageError when the two disagree."""
    fields.must("partial_rotary_factor", 1)
    told = [name for name in ("rope_scaling", "rope_parameters") if fields.values.get(name) is not None]
    if not told:
        return {"rope_theta": fields.number("rope_theta", THETA), "rope_scaling": None}
    found = [_ours(fields, name) for name in told]
    if found[0] != found[-1]:
        raise fields.refuse("rope_parameters", "it disagrees with rope_scaling")
    return found[0]


def default_attention_factor(factor: float, scale: float = 1.0) -> float:
    """What YaRN multiplies queries and keys by: eq. 22 of the paper; ``scale`` is DeepSeek's addition to it."""
    return 0.1 * scale * math.log(factor) + 1.0 if factor > 1 else 1.0


def _theirs(scaling: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if scaling is None:
        return None
    kind = scaling["kind"]
    found = {"rope_type": kind, "type": kind, "factor": scaling["factor"]}
    if kind == "llama3":
        found |= {
            "low_freq_factor": scaling["low_frequency_factor"],
            "high_freq_factor": scaling["high_frequency_factor"],
            "original_max_position_embeddings": scaling["original_context"],
        }
    if kind == "yarn":
        found |= {
            "original_max_position_embeddings": scaling["original_context"],
            "beta_fast": scaling["fast"],
            "beta_slow": scaling["slow"],
        }
        if scaling["attention_factor"] is not None:
            found["attention_factor"] = scaling["attention_factor"]
    return found


def _ours(fields: Fields, name: str) -> dict[str, Any]:
    given = fields.values[name]
    if not isinstance(given, dict):
        raise fields.refuse(name, "a mapping is expected")
    if any(isinstance(value, dict) for value in given.values()):
        raise fields.refuse(name, "here all layers rotate alike")
    inner = Fields(given, f"{fields.where}: {name}")
    inner.must("partial_rotary_factor", 1)
    theta = inner.number("rope_theta") if given.get("rope_theta") is not None else fields.number("rope_theta", THETA)
    return {"rope_theta": theta, "rope_scaling": _scaling(inner, fields)}


def _scaling(inner: Fields, outer: Fields) -> dict[str, Any] | None:
    kind = inner.values.get("rope_type", inner.values.get("type", "default"))
    if kind == "default":
        return None
    if kind not in ("linear", "llama3", "yarn"):
        raise inner.refuse("rope_type" if "rope_type" in inner.values else "type", "here it can be default, linear, llama3 or yarn")
    if kind == "linear":
        return {"kind": kind, "factor": inner.number("factor")}
    original = inner.whole("original_max_position_embeddings", outer.whole("max_position_embeddings"))
    if kind == "llama3":
        low, high = inner.number("low_freq_factor"), inner.number("high_freq_factor")
        factors = {"factor": inner.number("factor"), "low_frequency_factor": low, "high_frequency_factor": high}
        return {"kind": kind, **factors, "original_context": original}
    return {"kind": kind, **_yarn(inner, outer, original)}


def _yarn(inner: Fields, outer: Fields, original: int) -> dict[str, Any]:
    inner.must("truncate", True)
    factor = inner.number("factor", outer.whole("max_position_embeddings") / original)
    attention = inner.number_or_none("attention_factor")
    part, whole = inner.number_or_none("mscale"), inner.number_or_none("mscale_all_dim")
    if attention is None and part and whole:
        attention = default_attention_factor(factor, part) / default_attention_factor(factor, whole)
    fast, slow = inner.number("beta_fast", FAST), inner.number("beta_slow", SLOW)
    return {"factor": factor, "original_context": original, "fast": fast, "slow": slow, "attention_factor": attention}
