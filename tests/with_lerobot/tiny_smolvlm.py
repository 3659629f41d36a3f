"""A tiny SmolVLM with a vocabulary of a few words, as a folder that transformers loads without a network."""

from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (  # pyright: ignore[reportMissingImports]
    PreTrainedTokenizerFast,
    SmolVLMConfig,
    SmolVLMImageProcessor,
    SmolVLMProcessor,
    SmolVLMVideoProcessor,
)

SPECIAL = {
    "image_token": "<image>", "fake_image_token": "<fake_token_around_image>", "global_image_token": "<global-img>",
    "end_of_utterance_token": "<end_of_utterance>",
}  # fmt: skip
WORDS = ("<pad>", "<unk>", *SPECIAL.values(), "reach", "for", "the", "red", "plate", "stay", "where", "you", "are")


def write_smolvlm(out: Path) -> Path:
    """Write configuration, tokenizer and processor; the weights are SmolVLA's own."""
    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>", extra_special_tokens=SPECIAL
    )
    text = dict(model_type="llama", vocab_size=len(WORDS), hidden_size=32, intermediate_size=32, num_hidden_layers=2)
    text |= dict(num_attention_heads=2, num_key_value_heads=1, head_dim=16, pad_token_id=0)
    vision = dict(hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2)
    vision |= dict(image_size=64, patch_size=16)
    image_token = words[SPECIAL["image_token"]]
    config = SmolVLMConfig(vision_config=vision, text_config=text, scale_factor=2, image_token_id=image_token)
    config.save_pretrained(out)
    processor = SmolVLMProcessor(SmolVLMImageProcessor(), fast, SmolVLMVideoProcessor(), image_seq_len=4)
    processor.save_pretrained(out)
    return out
