"""Eaves: image models trained in the cloud, predicting at the edge.

This package holds everything that more than one room needs: errors, configuration, events, images, the recipe, the
artifact, the spool, delivery and the platforms. It never imports a room above it (see ARCHITECTURE.md).
"""

__version__ = "0.1.0"
