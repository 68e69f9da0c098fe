"""Scenes and a layer of polygons into tiles with COCO annotations, and annotations back to a layer."""
