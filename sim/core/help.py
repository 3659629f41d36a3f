"""The page that `--help` prints: every option with its default and its comment, every group with its choices."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import yaml
from omegaconf import DictConfig, ListConfig, OmegaConf

from sim.core.command_line import Words
from sim.core.config import composed, group_choices
from sim.core.options import CHECKS, COMMENT, Registered
from sim.core.registry import Choice
from sim.core.structured import expanded, is_schema

COLUMN = 34  # where comments begin
FLAGS = "flags, hydra's own: --multirun, --cfg job, --config-dir DIR, --info, --hydra-help"


def help_page(program: str, schema: type, doc: str, words: Words) -> str:
    """Return the page; its second half is YAML that a user's own preset may begin from."""
    groups = [
        _commented(f"  {group}={chosen}", ", ".join(names))
        for group, (chosen, names) in group_choices(program, schema, words).items()
        if names
    ]
    head = [doc.strip(), "", FLAGS, *(["", "groups, a file of conf/ each:", *groups] if groups else [])]
    return "\n".join([*head, "", "options and defaults:", *option_lines(composed(program, schema, words)), ""])


def option_lines(config: DictConfig, indent: str = "") -> Iterator[str]:
    """Yield a line for each option, those of a block below it, blocks last."""
    schema = OmegaConf.get_type(config)
    assert is_schema(schema)
    fields = {field.name: field for field in dataclasses.fields(schema)}
    values = expanded(config)
    for name in sorted(fields, key=lambda name: _is_block(values[name])):
        if _is_block(values[name]):
            yield _commented(f"{indent}{name}:", _comment(schema, fields[name]))
            yield from option_lines(values[name], indent + "  ")
        else:
            yield _commented(f"{indent}{name}: {_shown(values[name])}", _comment(schema, fields[name]))


def _is_block(value: Any) -> bool:
    return isinstance(value, DictConfig) and is_schema(OmegaConf.get_type(value))


def _comment(schema: type, field: dataclasses.Field) -> str:
    if issubclass(schema, Choice) and field.name == "name":
        return Registered(schema.registry).expected
    parts = [field.metadata.get(COMMENT, ""), *(check.expected for check in field.metadata.get(CHECKS, ()))]
    return "; ".join(part for part in parts if part)


def _commented(text: str, comment: str) -> str:
    return f"{text:{COLUMN}s}  # {comment}" if comment else text


def _shown(value: Any) -> str:
    """Return a value in one line of YAML."""
    plain = OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=10_000).removesuffix("...\n").strip()
