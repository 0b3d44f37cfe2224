"""Eaves trains image models in the cloud and serves predictions at the edge.

This package holds everything that more than one top-level package needs: errors, configuration, events, images,
recipes, artifacts, the spool, delivery and platforms. It never imports a package of a higher layer (see
ARCHITECTURE.md).
"""

__version__ = "0.1.0"
