"""MMDetection's registries under the scope ``rs4d``.

MMEngine marks the parts of a config that was inherited as ``rs4d::PATH`` with this scope, and looks
for a module of this name. All parts of rs4d are in MMDetection's registries, so each of these finds
what its parent has.
"""

from mmdet import registry as mmdet_registries
from mmengine.registry import Registry

REGISTRIES = {
    name: Registry(parent.name, parent=parent, scope='rs4d', locations=['rs4d'])
    for name, parent in vars(mmdet_registries).items()
    if isinstance(parent, Registry) and parent.scope == 'mmdet'
}
