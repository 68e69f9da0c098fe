"""A style in a GeoPackage, so that QGIS opens a layer coloured by class."""

import colorsys
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from xml.sax.saxutils import quoteattr

from rs4d.files import FileWriteError

_TABLE = """CREATE TABLE IF NOT EXISTS layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
    f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))"""
_CONTENT = """INSERT OR IGNORE INTO gpkg_contents (table_name, data_type, identifier)
    VALUES ('layer_styles', 'attributes', 'layer_styles')"""


def add_style(
    path: str | os.PathLike[str], layer: str, classes: Sequence[str], field: str = 'class'
) -> None:
    """Store a style for a layer in the table ``layer_styles``, which QGIS reads; replaces an earlier.

    Args:
        path: A GeoPackage that has the layer.
        layer: The layer's name.
        classes: Values of ``field``, each with a colour of its own.
        field: The attribute that says the colour.

    Raises:
        FileWriteError: The GeoPackage cannot be written to.
    """
    try:
        _store(Path(path), layer, classes, field)
    except sqlite3.OperationalError as error:
        raise FileWriteError(f"'{path}' did not take a style: {error}.") from error


def _store(path: Path, layer: str, classes: Sequence[str], field: str) -> None:
    with closing(sqlite3.connect(path)) as database, database:
        geometry = database.execute(
            'SELECT column_name FROM gpkg_geometry_columns WHERE table_name = ?', (layer,)
        ).fetchone()
        if geometry is None:
            raise ValueError(f"'{path}' has no layer '{layer}'.")
        database.execute(_TABLE)
        database.execute(_CONTENT)
        database.execute('DELETE FROM layer_styles WHERE f_table_name = ?', (layer,))
        database.execute(
            'INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, '
            'f_geometry_column, styleName, styleQML, styleSLD, useAsDefault, description, owner, '
            "ui) VALUES ('', '', ?, ?, ?, ?, '', 1, ?, '', '')",
            (layer, geometry[0], field, qml(classes, field), f'Colours by {field}'),
        )


def qml(classes: Sequence[str], field: str = 'class') -> str:
    """QGIS's XML of a categorised renderer: filled half through, outlined in full colour."""
    categories = ''.join(
        f'<category render="true" value={quoteattr(name)} label={quoteattr(name)} symbol="{index}"/>'
        for index, name in enumerate(classes)
    )
    symbols = ''.join(
        f'<symbol type="fill" name="{index}" alpha="1" clip_to_extent="1" force_rhr="0">'
        '<layer class="SimpleFill" enabled="1" locked="0" pass="0"><Option type="Map">'
        f'<Option name="color" type="QString" value="{_colour(index)},90"/>'
        f'<Option name="outline_color" type="QString" value="{_colour(index)},255"/>'
        '<Option name="outline_width" type="QString" value="0.4"/>'
        '<Option name="outline_style" type="QString" value="solid"/>'
        '<Option name="style" type="QString" value="solid"/>'
        '</Option></layer></symbol>'
        for index in range(len(classes))
    )
    return (
        "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>"
        '<qgis version="3.28.0" styleCategories="Symbology">'
        f'<renderer-v2 type="categorizedSymbol" attr={quoteattr(field)} enableorderby="0" '
        f'forceraster="0"><categories>{categories}</categories><symbols>{symbols}</symbols>'
        '</renderer-v2></qgis>'
    )


def _colour(index: int) -> str:
    """A colour that is far from those of the neighbouring indices: steps of the golden angle."""
    red, green, blue = colorsys.hsv_to_rgb(index * 0.381966 % 1, 0.85, 0.95)
    return f'{red * 255:.0f},{green * 255:.0f},{blue * 255:.0f}'
