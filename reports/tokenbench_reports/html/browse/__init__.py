"""All questions of a run, as the page's script browses them: an index, the answers, and scenes with pictures.

The data come in pieces of bounded size, which stand in the page or, where they are too much for one file, beside it.
"""

from tokenbench_reports.html.browse.browser import Browser, make_browser
from tokenbench_reports.html.browse.index import Index, make_index
from tokenbench_reports.html.browse.pieces import FOLDER, Pieces

__all__ = ["FOLDER", "Browser", "Index", "Pieces", "make_browser", "make_index"]
