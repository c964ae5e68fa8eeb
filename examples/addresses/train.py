"""Makes the committed slices, tokenizer and weights: `python -m examples.addresses.train`, two minutes.

The addresses come from the source archive of the package `usaddress`, which only this script needs:
`pip download --no-deps --no-binary :all: usaddress==0.5.16`.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, nn

from examples import training
from examples.addresses import corpus, data, model
from examples.addresses.corpus import Address
from model_build.metrics import entity_f1
from serving.config import ServingConfig, Text
from serving.tasks import token_classification

EPOCHS = 60
BATCH = 32
PEAK_RATE = 0.003
CONFIG = ServingConfig(
    "addresses",
    "token-classification",
    data.HERE,
    labels=data.LABELS,
    text=Text("tokenizer.json", max_length=64),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--archive", type=Path, default=Path("usaddress-0.5.16.tar.gz"))
    arguments = parser.parse_args()
    training.start()
    torch.set_num_threads(1)
    found = corpus.read(arguments.archive)
    parts = {part: [one for one in found if one.part == part] for part in ("train", "evaluation", "calibration")}
    for part in ("evaluation", "calibration"):
        rows = ",\n".join(json.dumps([one.text, one.spans], ensure_ascii=False) for one in parts[part])
        (data.HERE / f"{part}.json").write_text(f"[\n{rows}\n]\n", encoding="utf-8")
    make_tokenizer([one.text for one in parts["train"]]).save(str(data.HERE / "tokenizer.json"))
    network = fit(parts["train"])
    save_file(network.state_dict(), data.HERE / "weights.safetensors")

    texts, spans = data.evaluation()
    result = entity_f1.score(labelled(network, texts), spans)
    bare = [without_commas(Address(text, tuple(of))) for text, of in zip(texts, spans, strict=True)]
    plain = entity_f1.score(labelled(network, [one.text for one in bare]), [one.spans for one in bare])
    training.record(
        data.HERE,
        metric="entity_f1",
        score=result.value,
        samples=len(texts),
        packages=("tokenizers",),
        threads=1,
        trained_on=len(parts["train"]),
        epochs=EPOCHS,
        details={name: round(value, 4) for name, value in result.details.items()},
        score_without_commas=round(plain.value, 4),
    )


def make_tokenizer(texts: list[str]) -> Tokenizer:
    """Pieces of words in lower case; each digit and each sign is a piece."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))  # noqa: S106  # no secret
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    )
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=model.PIECES,
        special_tokens=["[PAD]", "[UNK]"],
        initial_alphabet=list("abcdefghijklmnopqrstuvwxyz0123456789,.#-&/'()"),
        show_progress=False,
    )
    tokenizer.train_from_iterator([re.sub(r"\d", "7", text) for text in texts], trainer)
    return tokenizer


def fit(addresses: list[Address]) -> nn.Module:
    network = model.build()
    random = np.random.default_rng(training.SEED)
    by_kind = {kind: [one.text[s:e] for one in addresses for s, e, k in one.spans if k == kind] for kind in data.KINDS}
    loss_of = nn.CrossEntropyLoss(ignore_index=-1, label_smoothing=0.05)

    def loss(chosen: Tensor) -> Tensor:
        drawn = [varied(addresses[index], by_kind, random) for index in chosen.tolist()]
        inputs = token_classification.encode([one.text for one in drawn], CONFIG)
        ids, mask = (torch.from_numpy(array) for array in inputs.values())
        value: Tensor = loss_of(network(ids, mask).flatten(0, 1), targets(drawn, ids.shape[1]).flatten())
        return value

    return training.fit(network, len(addresses), loss, epochs=EPOCHS, batch=BATCH, peak_rate=PEAK_RATE)


def varied(address: Address, by_kind: dict[str, list[str]], random: np.random.Generator) -> Address:
    """The same form with some other words: parts of other addresses, other digits, and now and then no commas."""
    text, spans = "", []
    position = 0
    for start, end, kind in address.spans:
        text += address.text[position:start]
        content = address.text[start:end]
        if random.random() < 0.3:
            content = by_kind[kind][int(random.integers(len(by_kind[kind])))]
        content = re.sub(r"\d", lambda _: str(random.integers(10)), content)
        spans.append((len(text), len(text) + len(content), kind))
        text += content
        position = end
    made = Address(text + address.text[position:], tuple(spans))
    return without_commas(made) if random.random() < 0.2 else made


def without_commas(address: Address) -> Address:
    """Spans move by the commas before them."""

    def moved(place: int) -> int:
        return place - address.text[:place].count(",")

    spans = tuple((moved(start), moved(end), kind) for start, end, kind in address.spans)
    return Address(address.text.replace(",", ""), spans)


def targets(addresses: list[Address], length: int) -> Tensor:
    """Labels (batch, length) of the tokens that `encode` makes; -1 for the padding."""
    from serving.tasks import texts

    rows = torch.full((len(addresses), length), -1)
    for row, address, one in zip(
        rows, addresses, texts.tokenizer(CONFIG).encode_batch([address.text for address in addresses]), strict=True
    ):
        begun: set[int] = set()
        for place, (start, end) in enumerate(one.offsets):
            if not one.attention_mask[place]:
                continue
            inside = [i for i, (first, last, _) in enumerate(address.spans) if first <= start and end <= last]
            label = "O"
            if inside:
                label = ("I-" if inside[0] in begun else "B-") + address.spans[inside[0]][2]
                begun.add(inside[0])
            row[place] = data.LABELS.index(label)
    return rows


@torch.inference_mode()
def labelled(network: nn.Module, texts: list[str]) -> list[list[dict[str, object]]]:
    """What an endpoint would answer, each text alone."""
    found = []
    for text in texts:
        inputs = token_classification.encode([text], CONFIG)
        logits = network(*(torch.from_numpy(array) for array in inputs.values())).numpy()
        found += token_classification.answers({"logits": logits}, [text], CONFIG)
    return found


if __name__ == "__main__":
    main()
