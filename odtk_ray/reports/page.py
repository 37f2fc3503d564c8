"""Puts a page together: template, style sheet and script become one file that loads nothing."""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from odtk_ray import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

_FOLDER = "page"


def render(template: str, **values: Any) -> bytes:
    """Render a template of `page/`, with the style sheet and the script of all reports.

    The policy in the page's head lets a browser run this script alone, apply this style sheet
    alone, show pictures that are in the file, and load nothing.

    Args:
        template: its name.
        values: what it shows; all text is escaped.
    """
    style, script = _asset("report.css"), _asset("report.js")
    policy = (
        f"default-src 'none'; img-src data:; style-src {_source(style)}; "
        f"script-src {_source(script)}; base-uri 'none'; form-action 'none'"
    )
    page = _environment().get_template(template)
    text = page.render(style=style, script=script, policy=policy, version=__version__, **values)
    # Names of files need not be text; what UTF-8 cannot hold becomes a question mark.
    return text.encode("utf-8", "replace")


@functools.cache
def _environment() -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    names = [f.name for f in (files(__package__) / _FOLDER).iterdir() if f.name.endswith(".html")]
    loader = DictLoader({name: _asset(name) for name in names})
    return Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def _asset(name: str) -> str:
    return (files(__package__) / _FOLDER / name).read_text(encoding="utf-8")


def _source(text: str) -> str:
    """Return how a policy names an inline style sheet or script: by its hash."""
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
