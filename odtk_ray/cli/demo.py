"""`odtk-ray demo`: a model and photographs to try the program with."""

from typing import Annotated

from odtk_ray.cli.colours import echo
from odtk_ray.cli.command import Debug, command
from odtk_ray.cli.guarded import guarded
from odtk_ray.cli.printable import shell_line
from odtk_ray.errors import EXIT_OK
from odtk_ray.options import Option
from odtk_ray.plural import counted


@command("odtk-ray demo trees", "odtk-ray demo /shared/trees")
def demo(
    folder: Annotated[str, Option("Arguments", "Folder to write into; made if need be.", "DIR")],
    *,
    debug: Debug = False,
) -> None:
    """Write a small model and two photographs into DIR, and say how to find the trees in them.

    Nothing is fetched, and no file that is there is overwritten.
    """

    def write() -> int:
        from odtk_ray.assets.demo_files import write_demo

        made = write_demo(folder)
        for file in made.files:
            state = "wrote" if file.written else "kept"
            echo(f"{state} {file.path} ({counted(file.size, 'byte')})")
        for line in (
            "",
            "To find the trees and compare them with boxes drawn by hand, run:",
            "",
            f"  {shell_line(['odtk-ray', *made.arguments])}",
            "",
            f"Then look at the pictures in {made.drawn} and the detections in {made.detections}.",
            f"{made.sources} says where the files come from, and under which licences.",
        ):
            echo(line)
        return EXIT_OK

    guarded(write, debug, resumable=False)
