"""Checks the site that `make docs` built: every link leads somewhere, and nothing is fetched.

MkDocs checks the links of Markdown; this also sees what its theme, plugins and HTML in pages make.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Its links are absolute, for servers that show it wherever a page is missing.
NOT_FOUND = "404.html"


class Page(HTMLParser):
    """A page: the anchors that it has, and where it leads to.

    Attributes:
        anchors: names that a link may have behind `#`.
        links: addresses that a reader may go to.
        loads: addresses that a browser fetches by itself.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of an element."""
        values = dict(attrs)
        self.anchors |= {values[name] or "" for name in ("id", "name") if name in values}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"] or "")
        self.loads += [values[name] or "" for name in ("src", "srcset") if values.get(name)]
        if tag == "link" and values.get("href"):
            self.loads.append(values["href"] or "")


def problems(site: Path) -> Iterator[str]:
    """Yield what is wrong with the pages of a site."""
    pages = {path: Page(path) for path in sorted(site.rglob("*.html")) if path.name != NOT_FOUND}
    if not pages:
        yield f"{site} has no pages"
    for path, page in pages.items():
        name = path.relative_to(site)
        for address in page.loads:
            if urlsplit(address).netloc:
                yield f"{name} loads {address}"
        for address in page.links + page.loads:
            parts = urlsplit(address)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            anchor = unquote(parts.fragment)
            if not target.is_file():
                yield f"{name} leads to {address}, which is not there"
            elif anchor and target in pages and anchor not in pages[target].anchors:
                yield f"{name} leads to {address}, and there is no such place"


if __name__ == "__main__":
    found = list(problems(Path(sys.argv[1]).resolve()))
    print("\n".join(found) or "site: all links lead somewhere, nothing is fetched")
    sys.exit(bool(found))
