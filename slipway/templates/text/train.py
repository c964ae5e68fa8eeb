"""Writes tokenizer.json, weights.safetensors and sample.json, in seconds: python -m PACKAGE.train"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from . import data, model

HERE = Path(__file__).parent
STEPS = 200


def main() -> None:
    torch.manual_seed(0)
    texts, labels = data.training()
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))  # noqa: S106
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(
        texts,
        trainers.WordLevelTrainer(vocab_size=model.VOCABULARY, special_tokens=["[PAD]", "[UNK]"], show_progress=False),
    )
    tokenizer.save(str(HERE / "tokenizer.json"))
    tokenizer.enable_padding(pad_id=0)
    encoded = tokenizer.encode_batch(texts)
    tokens = torch.tensor([entry.ids for entry in encoded])
    mask = torch.tensor([entry.attention_mask for entry in encoded])
    network = model.build().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.02)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(tokens, mask), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
    save_file(network.state_dict(), HERE / "weights.safetensors")
    (HERE / "sample.json").write_text(json.dumps({"inputs": "Where is my parcel?"}) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
