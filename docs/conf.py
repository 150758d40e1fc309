"""How Sphinx builds the site: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs import generate
from plncli.version import __version__

project = "plncli"
author = "the authors of plncli"
copyright = "the authors of plncli"
release = version = __version__

extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "reference/generated"]

html_theme = "furo"
html_title = f"plncli {__version__}"
html_static_path = ["_static"]
html_css_files = ["plncli.css"]
html_js_files = [("copy.js", {"defer": "defer"})]
html_show_sourcelink = False
html_copy_source = False
pygments_style = "friendly"

generate.write(Path(__file__).parent / "reference" / "generated")
