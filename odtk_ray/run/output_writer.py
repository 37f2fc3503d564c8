"""What every output format needs: the facts about a run, and the interface of a writer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from odtk_ray.shards.merge import MergedRows


@dataclass(frozen=True)
class OutputContext:
    """The facts that the formats need besides the rows.

    Attributes:
        category_ids: for each class index the JSON text of its category id.
        category_names: for each class index its name; empty where there is none.
        categories: the `categories` list for the output; None leaves it out.
        integer_ids: whether every image id is an integer of 64 bits.
        rotated: whether the boxes are rotated.
    """

    category_ids: Sequence[str]
    category_names: Sequence[str]
    categories: list[dict[str, object]] | None
    integer_ids: bool
    rotated: bool = False


class Writer(ABC):
    """Writes merged rows, in record order, to a file."""

    @abstractmethod
    def write(self, rows: MergedRows) -> None:
        """Add rows."""

    @abstractmethod
    def close(self, records: Iterator[str]) -> None:
        """End the file; `records` gives the JSON text of every `images` entry once more."""

    def give_up(self) -> None:  # noqa: B027 - most hold nothing
        """Release the stream of a file that will not be finished."""
