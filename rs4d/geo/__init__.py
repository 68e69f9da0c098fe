"""Rasters, layers of polygons and the maps between them; needs the extra ``geo``.

Nothing here knows models or data sets. Modules take rasterio, shapely and pyogrio through
`rs4d.geo.extra`, so that importing ``rs4d.geo`` costs nothing and works without them.
"""
