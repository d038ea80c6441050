"""The documentation site: Sphinx, MyST and furo. Nothing is fetched, neither to build it nor to read it."""

import re
import sys
from pathlib import Path
from typing import Any

from tokenbench import __version__

sys.path.insert(0, str(Path(__file__).with_name("_ext")))

from versions import versions  # in _ext

project = "TokenBench"
author = "the TokenBench authors"
copyright = author
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "strategy_pages",
]
exclude_patterns = ["_build"]
default_role = "code"
highlight_language = "text"
myst_enable_extensions = ["deflist", "substitution"]
myst_substitutions = versions()
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
# Own names must resolve; those of other libraries would need their inventories from the network.
nitpick_ignore_regex = [("py:.*", r"(?!tokenbench\.).*|tokenbench\.tables\.Record")]  # a type variable

html_theme = "furo"
html_title = f"TokenBench {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_search_summary = False  # a page opened from a file may not read others
html_show_sphinx = False


def setup(app: Any) -> None:
    """Two corrections of what the extensions read into a text."""
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # before napoleon
    app.connect("sphinx-click-process-options", quote_addresses)


def keep_colons(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Begin the text of an attribute with a comment: napoleon would take what stands before a colon for its type."""
    if what in ("attribute", "property"):
        lines[:0] = ["..", ""]


def quote_addresses(app: Any, context: Any, lines: list[str]) -> None:
    """Show `ID@REVISION` as code: it is no mail address."""
    lines[:] = [re.sub(r"[\w<=/]+@[\w/]+", r"``\g<0>``", line) for line in lines]
