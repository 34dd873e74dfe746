"""Settings of sphinx: ``sphinx-build -b html docs docs/_build``."""

import skdefer

project = "skdefer"
author = "The skdefer developers"
copyright = author
release = version = skdefer.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
]
templates_path = ["_templates"]
# The decisions in design/ are Markdown, to be read in the repository.
exclude_patterns = ["_build", "_templates", "design"]

autosummary_generate = True
autodoc_typehints = "none"  # the docstrings say more
numpydoc_show_class_members = False  # the template lists them
numpydoc_xref_param_type = False

html_theme = "alabaster"
html_theme_options = {
    "description": "Learning to defer as an ordinary scikit-learn step",
    "fixed_sidebar": True,
    "page_width": "1080px",
}
html_show_copyright = False
