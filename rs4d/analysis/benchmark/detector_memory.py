"""Peak memory of a detector's predictions and training steps, measured in a process of its own."""

from typing import NamedTuple

from mmengine.registry import DefaultScope

from rs4d.models.heads import SAMMaskDecoder

from .detectors import DetectorSteps, Workload, read_detector
from .memory import in_fresh_process, status_mib


class DetectorMemory(NamedTuple):
    """Resident memory of a process, in MiB.

    Attributes:
        libraries: Before the model was built.
        peak: The most, libraries included.
        masks: Masks that a prompt or query head decoded in its last step; 0 under another head.
    """

    libraries: float
    peak: float
    masks: int


def detector_memory(
    config: str, work: Workload, precision: str = 'float32', steps: int = 2
) -> DetectorMemory | None:
    """Run a config's detector with random weights, on the CPU.

    By the second training step the config's optimizer has its moments.

    Args:
        config: The config of a detector.
        work: What a step works on.
        precision: A key of ``PRECISIONS``.
        steps: Steps.

    Returns:
        What was measured, or None if the process was ended for want of memory.
    """
    return in_fresh_process(_measure, config, work, precision, steps)


def _measure(config: str, work: Workload, precision: str, steps: int) -> DetectorMemory:
    cfg = read_detector(config, work)
    libraries = status_mib('VmRSS')
    detector = DetectorSteps(cfg, work)
    decoded = [0]
    for module in detector.model.modules():
        if isinstance(module, SAMMaskDecoder):
            module.register_forward_pre_hook(lambda _, args: decoded.append(len(args[0])))
    with DefaultScope.overwrite_default_scope('mmdet'):
        for _ in range(steps):
            detector.step(precision)
    return DetectorMemory(libraries, status_mib('VmHWM'), decoded[-1])
