"""Networks of the Hugging Face hub by their published classes: files found, digest known, no weight left random."""

import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from policies.pretrained.weights import WeightsError, checked_file, sha256_of
from sim.core.errors import reason
from sim.core.options import option

WEIGHTS, SHARDS = "model.safetensors", "model-*.safetensors"
FILES = ["*.json", WEIGHTS, SHARDS]
CONFIG, SAVED_BY = "config.json", ("_name_or_path", "transformers_version")  # the second: names in it that say nothing
PREPROCESSOR, PROCESSOR = "preprocessor_config.json", "processor_config.json"  # the second as transformers 5 saves it


@dataclass(frozen=True)
class HubModel:
    """Options that say which files of a model are meant; a subclass gives the first two defaults."""

    name: str
    source: str  # a model of the hub, or a folder that holds one
    revision: str | None = option(None, "of the hub's repository; null: what its cache has, or the newest")
    sha256: str | None = option(
        None,
        "of model.safetensors, of several files that of what sha256sum model-*.safetensors prints; null: any, "
        "checkpoints keep to the one they were made with",
    )

    @property
    def folder(self) -> Path:
        """Where the model lies, see `hub_folder`."""
        return hub_folder(self.source, self.revision)


class KnownByFiles:
    """What an encoder of a hub model is told apart by."""

    _identity: str  # of weights, tokenizer and sizes
    _settings: str  # what `settings_digest` returns

    @property
    def fingerprint(self) -> str:
        """Twelve hexadecimal digits; equal ones mean equal weights, settings, tokenizer, lengths and image sizes."""
        return hashlib.sha256(f"{self._identity} {self._settings}".encode()).hexdigest()[:12]

    @property
    def earlier_fingerprint(self) -> str:
        """The fingerprint without the settings, as older checkpoints have it."""
        return hashlib.sha256(self._identity.encode()).hexdigest()[:12]


def import_transformers() -> Any:
    """Return the transformers module, made quiet. WeightsError when it is not installed."""
    try:
        transformers = importlib.import_module("transformers")
    except ImportError as error:
        raise WeightsError("a hub source needs transformers; install it with: pip install transformers") from error
    transformers.logging.set_verbosity_error()  # it reports each weight of the towers that are left out
    transformers.logging.disable_progress_bar()
    return transformers


def hub_folder(source: str, revision: str | None) -> Path:
    """Return the folder of a model: `source` itself where it is one, else from the hub's cache, else downloaded.

    With HF_HUB_OFFLINE=1 nothing is downloaded. WeightsError when it cannot be had.
    """
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    wanted = {"revision": revision, "allow_patterns": FILES}
    try:
        folder = Path(snapshot_download(source, local_files_only=True, **wanted))
        return folder if _is_whole(folder) else _downloaded(source, wanted)
    except LocalEntryNotFoundError:
        return _downloaded(source, wanted)
    except ValueError as error:
        raise WeightsError(f"{source} is neither a folder nor a name of the hub ({reason(error)})") from error


def _is_whole(folder: Path) -> bool:
    """Return whether a cached folder has all its weights: an interrupted download leaves some."""
    index = folder / f"{WEIGHTS}.index.json"
    shards = set(json.loads(index.read_text())["weight_map"].values()) if index.is_file() else {WEIGHTS}
    return all((folder / name).is_file() for name in shards)


def _downloaded(source: str, wanted: dict) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(source, **wanted))
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{source} is not in the hub's cache and cannot be downloaded ({reason(error)}); download it where there "
            "is a network, or name a folder that holds it"
        ) from error


def whole_config(folder: Path) -> Any:
    """Return a model's configuration. WeightsError when there is none."""
    try:
        return import_transformers().AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{folder} holds no model that transformers knows ({reason(error)})") from error


def hub_config(folder: Path) -> Any:
    """Return a model's configuration, of its vision part where it has several. WeightsError when there is none."""
    config = whole_config(folder)
    return getattr(config, "vision_config", config)


def image_settings(folder: Path) -> Mapping[str, Any]:
    """Return what a folder says of how its model's images are made. WeightsError where it says nothing."""
    file = next((folder / name for name in (PREPROCESSOR, PROCESSOR) if (folder / name).is_file()), None)
    try:
        given = json.loads(file.read_text()) if file else {}
        given = given.get("image_processor", given)
        return {"image_mean": given["image_mean"], "image_std": given["image_std"], **given}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise WeightsError(f"{folder / PREPROCESSOR} does not say how images are scaled") from error


def settings_digest(folder: Path, images: Mapping[str, Any] | None = None) -> str:
    """Return a sha256 of what a model computes by beside its weights: its configuration, and the mean and standard
    deviation of colours in its `image_settings`. WeightsError where a configuration is missing or broken."""
    try:
        content = json.loads((folder / CONFIG).read_text())
        network = {name: value for name, value in content.items() if name not in SAVED_BY}
    except (OSError, ValueError, AttributeError) as error:
        raise WeightsError(f"{folder / CONFIG} is no configuration of a model ({reason(error)})") from error
    colours = [images["image_mean"], images["image_std"]] if images else []
    return hashlib.sha256(json.dumps([network, colours], sort_keys=True).encode()).hexdigest()


def checked_digest(folder: Path, sha256: str | None) -> str:
    """Return the sha256 of a model's weights. WeightsError when they are missing or not those of a pin, `sha256`."""
    file, shards = folder / WEIGHTS, sorted(folder.glob(SHARDS))
    if shards and not file.is_file():
        return _checked_shards(shards, sha256)
    how = "weights in one safetensors file are needed; the hub's file changed, or the download broke"
    if sha256:
        checked_file(file, sha256, how)
        return sha256
    if not file.is_file():
        raise WeightsError(f"weights file {file} does not exist; {how}")
    return sha256_of(file)


def _checked_shards(files: list[Path], sha256: str | None) -> str:
    """Return the sha256 of several files, that of the lines which sha256sum prints of them."""
    found = hashlib.sha256("".join(f"{sha256_of(file)}  {file.name}\n" for file in files).encode()).hexdigest()
    if sha256 and found != sha256:
        raise WeightsError(f"weights {files[0].parent / SHARDS} have sha256 {found}, expected {sha256}")
    return found


def gpu_or_cpu() -> torch.device:
    """Return where hub models compute: on the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def load_network(folder: Path, kind: str) -> Any:
    """Return a network of transformers' class `kind`, frozen. WeightsError where a weight would be a random one."""
    try:
        network, found = getattr(import_transformers(), kind).from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{folder} holds no {kind} ({reason(error)})") from error
    if found["missing_keys"]:
        raise WeightsError(f"{folder} lacks weights of a {kind}: {', '.join(sorted(found['missing_keys'])[:3])}")
    return network.eval().requires_grad_(False)
