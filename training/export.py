"""The shipped folder: configuration, half-precision weights, tokenizer and processor, as Hugging Face stores them."""

from pathlib import Path

import torch
from transformers import GenerationConfig, PreTrainedModel, ProcessorMixin


def export(model: PreTrainedModel, processor: ProcessorMixin, folder: Path) -> None:
    """Write the model so that stock from_pretrained() loads it without network."""
    tokens = processor.tokenizer
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=8,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
    )
    model.to(torch.float16).save_pretrained(folder)
    processor.save_pretrained(folder)
