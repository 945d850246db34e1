"""Server-side rendering of React components, as a template backend of Django.

ReactTemplates   the backend, for settings.TEMPLATES
RenderError      a component that could not be rendered

backend    finds components, and puts what they render into a page
renderer   the long-lived Node or Bun process that renders
worker.mjs what that process runs
"""

from mizan.ssr.backend import ReactTemplates
from mizan.ssr.renderer import RenderError

__all__ = ["ReactTemplates", "RenderError"]
