"""How a checkpoint of `transformers` says that it writes its answer: generation_config.json, else config.json.

Apart from `huggingface` since specs are checked with it: nothing of the library is imported.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from model_build.spec import Generation, Spec

SAME = (
    *("min_new_tokens", "num_beams", "length_penalty", "early_stopping", "no_repeat_ngram_size"),
    *("decoder_start_token_id", "pad_token_id", "forced_bos_token_id", "forced_eos_token_id"),
)
"""Keys that have one name there and in a spec's `generation`."""


def completed(spec: Spec, folder: Path) -> Spec:
    """The spec with the checkpoint's own values where its `generation` gives none."""
    given = spec.generation or Generation()
    own = {}
    for name, value in of_folder(folder).items():
        if name not in given.model_fields_set:
            with suppress(ValidationError):  # beyond what can be had here: the default stands
                own[name] = getattr(Generation.model_validate({name: value}), name)
    return spec.model_copy(update={"generation": given.model_copy(update=own)})


def of_folder(folder: Path) -> dict[str, Any]:
    """The checkpoint's values by the names of `spec.Generation`, as far as it says them."""
    values = {**_read(folder / "config.json"), **_read(folder / "generation_config.json")}
    found = {name: values[name] for name in SAME if values.get(name) is not None}
    ends = values.get("eos_token_id")
    if ends is not None:
        found["eos_token_ids"] = tuple(ends) if isinstance(ends, list) else (ends,)
    # Lengths of the whole answer, the token that it starts with included.
    if values.get("max_new_tokens") or values.get("max_length"):
        found["max_new_tokens"] = values.get("max_new_tokens") or max(1, values["max_length"] - 1)
    if values.get("min_length"):
        found.setdefault("min_new_tokens", max(0, values["min_length"] - 1))
    words = values.get("bad_words_ids") or []
    single = {word[0] for word in words if len(word) == 1} | set(values.get("suppress_tokens") or ())
    if single - set(found.get("eos_token_ids", ())):
        found["suppressed_tokens"] = tuple(sorted(single - set(found.get("eos_token_ids", ()))))
    if isinstance(found.get("early_stopping"), str):
        found["early_stopping"] = "never"
    return found


def _read(path: Path) -> dict[str, Any]:
    """A file's values; none where it is missing or broken, which loading the model reports."""
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}
