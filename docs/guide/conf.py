"""The guide as a book: Markdown through MyST, dressed by furo. Nothing in the pages is fetched from elsewhere."""

import scratchlm

project = "scratchLM"
author = "the scratchLM authors"
project_copyright = "2026, the scratchLM authors"
version = release = scratchlm.__version__

extensions = ["myst_parser"]
myst_heading_anchors = 3
smartquotes = False  # or --data would become a dash

html_theme = "furo"
html_title = "scratchLM"
html_static_path = ["_static"]
html_css_files = ["book.css"]
html_copy_source = False
html_show_sourcelink = False
pygments_style = "friendly"
pygments_dark_style = "github-dark"
