"""What the configuration cannot say: alternative texts of the lessons' figures, no script from elsewhere."""

import json
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

LOG = logging.getLogger(__name__)


def describe(app, doctree):
    """Give each figure the text that was written for it, found by the picture's SHA-256."""
    texts = json.loads((Path(app.srcdir) / "_alts.json").read_text(encoding="utf-8"))
    for image in doctree.findall(nodes.image):
        found = texts.get(Path(image["uri"]).stem)
        if found:
            image["alt"] = found
        if not image.get("alt"):
            LOG.warning("%s: the picture %s has no alternative text", app.env.docname, image["uri"])


def configure(app, config):
    """One search box instead of two, and the reader's own choice of light or dark.

    These are set here, in place: ``html_theme_options`` in the configuration would take the launch buttons away.
    """
    config.html_theme_options["navbar_persistent"] = []
    config.html_context["default_mode"] = "auto"


def trim(app, pagename, templatename, context, doctree):
    """Leave out the scripts that start a kernel elsewhere, and every script that is there twice."""
    kept, seen = [], set()
    for script in context.get("script_files", []):
        key = (str(getattr(script, "filename", script)), str(getattr(script, "attributes", {}).get("body", "")))
        if "thebe" in "".join(key).lower() or key in seen:
            continue
        seen.add(key)
        kept.append(script)
    context["script_files"] = kept


def name_toggles(app, exception):
    """Give the sidebar's arrows, which unfold a chapter's pages, a name for those who hear the page."""
    if exception is not None:
        return
    for path in Path(app.outdir).rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        named = text.replace("<summary><span", '<summary aria-label="Show or hide the pages below"><span')
        if named != text:
            path.write_text(named, encoding="utf-8")


def setup(app):
    app.connect("config-inited", configure, priority=900)
    app.connect("doctree-read", describe)
    app.connect("html-page-context", trim, priority=990)
    app.connect("build-finished", name_toggles)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
