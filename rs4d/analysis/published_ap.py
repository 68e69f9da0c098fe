"""Published AP, the figures that results are held against."""

from collections.abc import Mapping

# Box and mask AP in per cent on WHU's test split and on the val splits of NWPU and SSDD, as the paper
# of RS4D (Yang et al., IEEE TGRS 2026) tabulates them. README.md shows the same table.
PUBLISHED_AP: Mapping[str, Mapping[str, tuple[float, float]]] = {
    'Mask R-CNN R50': {'WHU': (66.4, 65.6), 'NWPU': (62.3, 59.7), 'SSDD': (67.7, 64.3)},
    'Mask2Former': {'WHU': (69.3, 69.2), 'NWPU': (57.4, 58.8), 'SSDD': (62.7, 64.4)},
    'SAM-seg (Mask R-CNN)': {'WHU': (70.3, 70.1), 'NWPU': (68.8, 65.2), 'SSDD': (68.7, 66.1)},
    'SAM-seg (Mask2Former)': {'WHU': (70.7, 71.1), 'NWPU': (63.1, 64.3), 'SSDD': (63.0, 66.5)},
    'RSPrompter-anchor': {'WHU': (71.9, 70.4), 'NWPU': (70.3, 66.1), 'SSDD': (70.4, 66.8)},
    'RSPrompter-query': {'WHU': (72.5, 72.5), 'NWPU': (68.4, 67.5), 'SSDD': (66.0, 67.3)},
}
NONE = '\N{EN DASH}'


def published_cell(method: str, data: str) -> str:
    """Write a published AP as tables show it.

    Args:
        method: The method's name.
        data: The data set's name.

    Returns:
        ``box / mask`` in per cent, or a dash where nothing is published.
    """
    found = PUBLISHED_AP.get(method, {}).get(data)
    return NONE if found is None else f'{found[0]:.1f} / {found[1]:.1f}'
