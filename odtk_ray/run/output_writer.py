"""What every output format needs: the facts about a run, and the interface of a writer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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
    """Writes merged rows, in record order, to a file.

    Rows are formatted by several threads at once, and then added one after the other.
    """

    @abstractmethod
    def prepare(self, rows: MergedRows, before: int) -> Callable[[], object]:
        """Format rows; return what adds them to the file.

        Args:
            rows: the next ones.
            before: detections in the rows before them.
        """

    @abstractmethod
    def close(self) -> None:
        """End the file."""

    def give_up(self) -> None:  # noqa: B027 - most hold nothing
        """Release the stream of a file that will not be finished."""
