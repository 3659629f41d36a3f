"""Frozen language models of the Hugging Face hub: the encoder of T5, or a BERT, by transformers' own classes."""

from dataclasses import dataclass

from torch import Tensor, nn

from policies.core.parts import LanguageConfig
from policies.core.registry import LANGUAGE
from policies.language.states import FrozenStates, load_tokenizer
from policies.pretrained.hub import (
    HubModel,
    KnownByFiles,
    checked_digest,
    gpu_or_cpu,
    hub_config,
    load_network,
    settings_digest,
)
from policies.pretrained.weights import WeightsError, sha256_of
from sim.core.options import at_least, option

CLASSES = {"t5": "T5EncoderModel", "bert": "BertModel"}
TOKENIZER = "tokenizer.json"


@LANGUAGE.register("hub_text")
@dataclass(frozen=True)
class HubTextConfig(HubModel, LanguageConfig):
    """Which network."""

    name: str = "hub_text"
    source: str = option("google-t5/t5-base", "a model of the hub, or a folder that holds one")
    max_tokens: int = option(32, "of an instruction, those that frame it counted", at_least(3))

    @property
    def width(self) -> int:
        return hub_config(self.folder).hidden_size

    def build(self) -> "HubText":
        return HubText(self)


class LastStates(nn.Module):
    """Token ids (1, T) to the last states (1, T, W), on a GPU where there is one."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.device = gpu_or_cpu()
        self.network = network.to(self.device)

    def forward(self, ids: Tensor) -> Tensor:
        return self.network(input_ids=ids.to(self.device)).last_hidden_state.cpu()


class HubText(KnownByFiles, FrozenStates):
    """Token states by a network that is never trained further."""

    def __init__(self, config: HubTextConfig):
        """WeightsError when the model is missing, of no known class or not the pinned one."""
        folder = config.folder
        found, digest = hub_config(folder), checked_digest(folder, config.sha256)
        if found.model_type not in CLASSES or not (folder / TOKENIZER).is_file():
            raise WeightsError(f"{folder} holds a {found.model_type}, expected {' or '.join(CLASSES)} and {TOKENIZER}")
        network = LastStates(load_network(folder, CLASSES[found.model_type]))
        super().__init__(network, load_tokenizer(folder / TOKENIZER), found.hidden_size, config.max_tokens)
        self._identity = f"{digest} {sha256_of(folder / TOKENIZER)} {config.max_tokens}"
        self._settings = settings_digest(folder)
