"""The type of an option that takes a value, or a word instead: `--batch 8`, `--batch auto`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem


class ValueOrWord(click.ParamType):  # type: ignore[type-arg]  # click 8.1 takes none
    """A value, or a word that may stand instead of one.

    Attributes:
        kind: the type of the value.
        words: the words.
    """

    name = "value"

    def __init__(self, kind: Any, words: Sequence[str]) -> None:
        self.kind, self.words = click.types.convert_type(kind), words

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Convert what is not one of the words."""
        return value if value in self.words else self.kind.convert(value, param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Complete the words."""
        return [CompletionItem(word) for word in self.words if word.startswith(incomplete)]
