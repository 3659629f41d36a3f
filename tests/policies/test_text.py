"""The frozen instruction encoder against torch's own transformer layer and against transformers."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tokenizers import BertWordPieceTokenizer
from torch import nn

from policies.language import minilm as text
from policies.language import states
from policies.language.minilm import FrozenText, find_files
from policies.language.states import FrozenStates, InstructionError
from policies.language.word_pieces import WordPieces, WordPiecesConfig
from policies.pretrained.weights import WeightsError
from sim.core.errors import UserError

ANCHOR = "put the red cube on the green plate"

# First four values of the states of the first, second and last token, by BertModel of
# transformers 5.23.0 on the same weights.
TRANSFORMERS_SAYS = {
    "open the drawer": [
        [-0.43552, 0.00908, -0.00941, -0.02129],
        [0.25086, 0.08216, -0.66258, 0.31364],
        [0.40250, 0.04496, 0.11220, 0.04288],
    ],
    "Put the red cube on the green plate.": [
        [0.00118, 0.05980, -0.34490, 0.39495],
        [0.11609, 0.42173, -1.02669, -0.06509],
        [0.06079, 0.11214, -0.31867, 0.18575],
    ],
}


@pytest.fixture(scope="module")
def encoder() -> FrozenText:
    return FrozenText()


def torch_layer(weights: dict[str, torch.Tensor], number: int) -> nn.TransformerEncoderLayer:
    """A BERT layer of the checkpoint as torch.nn writes it."""
    layer = nn.TransformerEncoderLayer(
        384, 12, 1536, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
    )
    own = {k.split(".", 3)[3]: v for k, v in weights.items() if k.startswith(f"encoder.layer.{number}.")}
    parts = [f"attention.self.{name}" for name in ("query", "key", "value")]
    state = {
        "self_attn.in_proj_weight": torch.cat([own[f"{part}.weight"] for part in parts]),
        "self_attn.in_proj_bias": torch.cat([own[f"{part}.bias"] for part in parts]),
    }
    for ours, theirs in {
        "self_attn.out_proj": "attention.output.dense",
        "norm1": "attention.output.LayerNorm",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm2": "output.LayerNorm",
    }.items():
        state |= {f"{ours}.{kind}": own[f"{theirs}.{kind}"] for kind in ("weight", "bias")}
    layer.load_state_dict(state)
    return layer.eval()


def torch_states(sentences: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """States and mask of a padded batch, by torch.nn layers with an attention mask."""
    path, _ = find_files("package")
    weights = load_file(path)
    tokenizer = BertWordPieceTokenizer(str(path.parent / "vocab.txt"), lowercase=True)
    tokenizer.enable_padding(length=24)
    encodings = tokenizer.encode_batch(sentences)
    ids = torch.tensor([encoding.ids for encoding in encodings])
    mask = torch.tensor([encoding.attention_mask for encoding in encodings]).bool()
    table = {k.split(".", 1)[1]: v for k, v in weights.items() if k.startswith("embeddings.")}
    x = table["word_embeddings.weight"][ids] + table["position_embeddings.weight"][:24]
    x = x + table["token_type_embeddings.weight"][0]
    norm = table["LayerNorm.weight"], table["LayerNorm.bias"]
    x = nn.functional.layer_norm(x, (384,), *norm, eps=1e-12)
    with torch.no_grad():
        for number in range(6):
            x = torch_layer(weights, number)(x, src_key_padding_mask=~mask)
    return x.numpy(), mask.numpy()


def test_states_equal_torch_layers_on_a_padded_batch(encoder):
    sentences = [ANCHOR, "Open the drawer!", "stack the three blocks, then wave", "déjà-vu 42"]
    tokens, mask = encoder.encode(sentences)
    expected, expected_mask = torch_states(sentences)
    np.testing.assert_array_equal(mask, expected_mask)
    np.testing.assert_allclose(tokens[mask], expected[mask], atol=2e-5)


@pytest.mark.parametrize("sentence", TRANSFORMERS_SAYS)
def test_states_equal_those_of_transformers(encoder, sentence):
    tokens, mask = encoder.encode([sentence])
    states = tokens[0][mask[0]]
    found = states[[0, 1, -1], :4]
    np.testing.assert_allclose(found, TRANSFORMERS_SAYS[sentence], atol=2e-5)


def test_states_equal_transformers_itself_if_installed(encoder):
    reason = "transformers is not installed: typed-out values of it are compared instead"
    transformers = pytest.importorskip("transformers", reason=reason)
    path, _ = find_files("package")
    model = transformers.BertModel.from_pretrained(path.parent, add_pooling_layer=False).eval()
    tokenizer = BertWordPieceTokenizer(str(path.parent / "vocab.txt"), lowercase=True)
    with torch.no_grad():
        expected = model(torch.tensor([tokenizer.encode(ANCHOR).ids])).last_hidden_state[0]
    tokens, mask = encoder.encode([ANCHOR])
    np.testing.assert_allclose(tokens[0][mask[0]], expected.numpy(), atol=2e-5)


def test_an_encoder_remembers_so_many_instructions_and_no_more(encoder, monkeypatch):
    monkeypatch.setattr(states, "MOST_KEPT", 2)
    computed = []
    kept = FrozenStates(lambda ids: computed.append(ids) or torch.zeros(*ids.shape, 4), encoder._tokenizer, 4, 24)
    for sentence in ("wave", "stop", "wave", "go", "stop", "wave"):
        kept.encode([sentence])
    assert len(computed) == 4 and len(kept._states) == 2  # the first is forgotten for the third, and asked for again


def test_word_pieces_are_those_of_the_packages_own_tokenizer():
    path, _ = find_files("package")
    vocabulary = (path.parent / "vocab.txt").read_text().splitlines()
    pieces = WordPieces(WordPiecesConfig(max_tokens=12))
    numbers, mask = pieces.encode(["unstack the teal cube", "wave"])
    assert numbers.shape == (2, 12, 1) and numbers.dtype == np.float32 and not numbers[~mask].any()
    assert [vocabulary[int(one)] for one in numbers[0][mask[0], 0]] == (
        ["[CLS]", "un", "##sta", "##ck", "the", "tea", "##l", "cube", "[SEP]"]
    )
    assert len(vocabulary) == WordPiecesConfig.vocabulary > numbers.max()
    with pytest.raises(InstructionError, match="has 14 tokens, expected at most 12"):
        pieces.encode(["put " * 12])
    assert WordPieces(WordPiecesConfig()).fingerprint != pieces.fingerprint


def test_shapes_types_and_zero_padding(encoder):
    tokens, mask = encoder.encode([ANCHOR, "wave"])
    assert tokens.shape == (2, 24, 384)
    assert tokens.dtype == np.float32
    assert mask.shape == (2, 24)
    assert mask.dtype == bool
    assert mask.sum(1).tolist() == [10, 3]
    assert not tokens[~mask].any()
    assert encoder.encode([])[0].shape == (0, 24, 384)


def pooled(encoder: FrozenText, sentence: str) -> np.ndarray:
    tokens, mask = encoder.encode([sentence])
    mean = tokens[0][mask[0]].mean(0)
    return mean / np.linalg.norm(mean)


@pytest.mark.parametrize("paraphrase", ["place the red block onto the green dish", ANCHOR.upper()])
@pytest.mark.parametrize("unrelated", ["open the drawer", "turn on the lamp", "peel a banana"])
def test_paraphrase_is_nearer_than_something_else(encoder, paraphrase, unrelated):
    anchor = pooled(encoder, ANCHOR)
    assert anchor @ pooled(encoder, paraphrase) > anchor @ pooled(encoder, unrelated) + 0.1


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def test_token_states_keep_the_order_of_colours_that_pooling_loses(encoder):
    swapped = "put the green cube on the red plate"
    tokens, _ = encoder.encode([ANCHOR, swapped])
    colour = 3  # [CLS] put the red
    assert cosine(pooled(encoder, ANCHOR), pooled(encoder, swapped)) > 0.95
    assert cosine(tokens[0, colour], tokens[1, colour]) < 0.8


def test_padding_does_not_change_states(encoder):
    longer, _ = FrozenText(max_tokens=64).encode([ANCHOR])
    np.testing.assert_array_equal(longer[0, :24], encoder.encode([ANCHOR])[0][0])


def test_same_instruction_same_states_in_any_company(encoder):
    alone = FrozenText().encode([ANCHOR])[0][0]
    among, _ = encoder.encode(["wave", ANCHOR, "open the drawer", ANCHOR])
    np.testing.assert_array_equal(among[1], alone)
    np.testing.assert_array_equal(among[3], alone)


def test_an_instruction_is_computed_once_and_results_are_copies(encoder, monkeypatch):
    tokens, _ = encoder.encode([ANCHOR])
    kept = tokens.copy()
    tokens[:] = np.nan
    monkeypatch.setattr(encoder, "_compute", None)
    np.testing.assert_array_equal(encoder.encode([ANCHOR])[0], kept)


def test_too_long_instruction_is_named(encoder):
    long = "very " * 30 + "slowly"
    with pytest.raises(InstructionError, match="' has 33 tokens, expected at most 24"):
        encoder.encode([ANCHOR, long])
    assert issubclass(InstructionError, ValueError)
    assert FrozenText(max_tokens=33).encode([long])[1].all()


@pytest.mark.parametrize("empty", ["", "  \n"])
def test_empty_instruction_is_refused(encoder, empty):
    with pytest.raises(InstructionError, match="is empty"):
        encoder.encode([empty])


def test_bad_options_are_refused():
    with pytest.raises(UserError, match="max_tokens is 2"):
        FrozenText(max_tokens=2)
    with pytest.raises(UserError, match="'word2vec', expected one of 'hub', 'package'"):
        FrozenText(source="word2vec")


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
def test_tampered_files_are_refused(tmp_path, monkeypatch, name):
    weights, tokenizer = find_files("package")
    copies = tmp_path / "fake_package" / text.PACKAGE_FOLDER
    copies.mkdir(parents=True)
    (tmp_path / "fake_package" / "__init__.py").touch()
    for path in (weights, tokenizer):
        (copies / path.name).symlink_to(path)
    data = bytearray((copies / name).read_bytes())
    data[-9] ^= 1
    (copies / name).unlink()
    (copies / name).write_bytes(data)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(text, "PACKAGE", "fake_package")
    with pytest.raises(WeightsError, match=f"{name} has sha256 .* expected .*; reinstall it"):
        FrozenText()


def test_missing_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(text, "PACKAGE", "no_such_package")
    with pytest.raises(WeightsError, match="no_such_package is not installed.*--no-deps"):
        FrozenText()


def test_fingerprint_follows_the_length(encoder):
    assert encoder.fingerprint == FrozenText().fingerprint
    assert encoder.fingerprint != FrozenText(max_tokens=32).fingerprint
