"""The convolution and the scan of a mixer as ONNX functions of standard operators.

The exporter writes what is in `ConvSilu` and `BidirectionalScan` in the place of each call, since some
runtimes read no functions.

The scan cuts time into chunks that advance together. The first loop runs all chunks from zero, a short
one hands the states on from chunk to chunk, and the third runs the chunks again from the states that
they begin with. The states are (chunks, states, channels): channels lie together, as vector units like
it, and what belongs to a chunk or to a state is spread over them. Loops are ``Loop``, not ``Scan``,
which OpenVINO 2026.4 reads and cannot run.
"""

from onnxscript import BOOL, FLOAT, INT64, graph, script
from onnxscript import opset18 as op
from onnxscript.values import Opset

OPSET = 18
DOMAIN = 'rs4d'
_domain = Opset(DOMAIN, 1)


@script(_domain, default_opset=op)
def ConvSilu(tokens: FLOAT, taps: FLOAT, bias: FLOAT, channels: int) -> FLOAT:
    """Convolve both directions: tokens (B, L, at least D) and taps (K, D) to (2, B, L, D)."""
    zero = op.Constant(value_ints=[0])
    one = op.Constant(value_ints=[1])
    two = op.Constant(value_ints=[2])
    last = op.Constant(value_ints=[-1])
    count = op.Shape(taps, start=0, end=1)
    sequence = op.Transpose(
        op.Slice(tokens, zero, op.Shape(taps, start=1, end=2), two), perm=[0, 2, 1]
    )
    weight = op.Unsqueeze(op.Transpose(taps, perm=[1, 0]), one)
    mirrored = op.Slice(weight, last, op.Constant(value_ints=[-10000]), two, last)
    before = op.Concat(zero, zero, count - one, zero, zero, zero, axis=0)
    behind = op.Concat(zero, zero, zero, zero, zero, count - one, axis=0)
    forward = op.Conv(op.Pad(sequence, before), weight, bias, group=channels)
    backward = op.Conv(op.Pad(sequence, behind), mirrored, bias, group=channels)
    both = op.Concat(op.Unsqueeze(forward, zero), op.Unsqueeze(backward, zero), axis=0)
    both = op.Transpose(both, perm=[0, 1, 3, 2])
    return both * op.Sigmoid(both)


@script(_domain, default_opset=op)
def BidirectionalScan(
    u: FLOAT,
    projected: FLOAT,
    delta_weight: FLOAT,
    A: FLOAT,
    D: FLOAT,
    bias: FLOAT,
    tokens: FLOAT,
) -> FLOAT:
    """Scan both directions, average and gate them.

    ``u`` is (2, B, L, D), ``projected`` (2, B, L, R + 2 N) with delta's bottleneck, B and C side by
    side, ``delta_weight`` (R, D), ``A`` (D, N), ``tokens`` (B, L, 2 D) with the gate in its second half;
    the result is (B, L, D).
    """
    zero = op.Constant(value_ints=[0])
    one = op.Constant(value_ints=[1])
    two = op.Constant(value_ints=[2])
    three = op.Constant(value_ints=[3])
    minus = op.Constant(value_ints=[-1])
    start = op.Constant(value_ints=[-9223372036854775807])
    chunks = op.Constant(value_ints=[16])
    go = op.Cast(op.Constant(value_int=1), to=9)

    batch = op.Shape(u, start=1, end=2)
    length = op.Shape(u, start=2, end=3)
    channels = op.Shape(u, start=3, end=4)
    rank = op.Shape(delta_weight, start=0, end=1)
    states = op.Shape(A, start=1, end=2)
    width = rank + states
    dt = op.Slice(projected, zero, rank, three)
    b = op.Slice(projected, rank, width, three)
    c = op.Slice(projected, width, width + states, three)
    delta = op.Softplus(op.MatMul(dt, delta_weight) + bias)

    # The second direction runs from the last step to the first.
    delta = op.Concat(
        op.Slice(delta, zero, one, zero),
        op.Slice(op.Slice(delta, one, two, zero), minus, start, two, minus),
        axis=0,
    )
    ordered_u = op.Concat(
        op.Slice(u, zero, one, zero),
        op.Slice(op.Slice(u, one, two, zero), minus, start, two, minus),
        axis=0,
    )
    b = op.Concat(
        op.Slice(b, zero, one, zero),
        op.Slice(op.Slice(b, one, two, zero), minus, start, two, minus),
        axis=0,
    )
    c = op.Concat(
        op.Slice(c, zero, one, zero),
        op.Slice(op.Slice(c, one, two, zero), minus, start, two, minus),
        axis=0,
    )

    # (2, B, L, .) to (steps, 2 B chunks, ., .); steps of no length leave the states as they are.
    steps = (length + chunks - one) / chunks
    padding = op.Concat(zero, zero, zero, zero, zero, zero, steps * chunks - length, zero, axis=0)
    cut = op.Concat(two * batch * chunks, steps, minus, axis=0)
    together = two * batch * chunks
    rows = op.Concat(steps, together, one, channels, axis=0)
    delta = op.Pad(delta, padding)
    drive = delta * op.Pad(ordered_u, padding)
    delta = op.Reshape(op.Transpose(op.Reshape(delta, cut), perm=[1, 0, 2]), rows)
    drive = op.Reshape(op.Transpose(op.Reshape(drive, cut), perm=[1, 0, 2]), rows)
    b = op.Transpose(op.Reshape(op.Pad(b, padding), cut), perm=[1, 0, 2])
    b = op.Unsqueeze(b, minus)
    c = op.Transpose(op.Reshape(op.Pad(c, padding), cut), perm=[1, 0, 2])
    c = op.Unsqueeze(c, two)
    by_state = op.Transpose(A, perm=[1, 0])

    decay = op.Exp(op.ReduceSum(delta, zero, keepdims=0) * by_state)
    nothing = op.Expand(op.Constant(value_float=0.0), op.Shape(decay))

    @graph()
    def local_step(i: INT64, goes: BOOL, h):
        dt_i = op.Gather(delta, i, axis=0)
        h_next = op.Exp(dt_i * by_state) * h + op.Gather(drive, i, axis=0) * op.Gather(b, i, axis=0)
        goes_on = op.Identity(goes)
        return goes_on, h_next

    local = op.Loop(op.Squeeze(steps), go, nothing, body=local_step)

    # (2 B, chunks, N, D) to the states before each chunk.
    by_chunk = op.Concat(two * batch, chunks, states, channels, axis=0)
    decays = op.Transpose(op.Reshape(decay, by_chunk), perm=[1, 0, 2, 3])
    locals_ = op.Transpose(op.Reshape(local, by_chunk), perm=[1, 0, 2, 3])
    none = op.Expand(op.Constant(value_float=0.0), op.Shape(decays, start=1))

    @graph()
    def chunk_step(i: INT64, goes: BOOL, state):
        next_state = op.Gather(decays, i, axis=0) * state + op.Gather(locals_, i, axis=0)
        before = op.Identity(state)
        goes_on = op.Identity(goes)
        return goes_on, next_state, before

    _last, first = op.Loop(op.Squeeze(chunks), go, none, body=chunk_step)
    first = op.Reshape(op.Transpose(first, perm=[1, 0, 2, 3]), op.Shape(decay))

    @graph()
    def step(i: INT64, goes: BOOL, h):
        dt_i = op.Gather(delta, i, axis=0)
        h_next = op.Exp(dt_i * by_state) * h + op.Gather(drive, i, axis=0) * op.Gather(b, i, axis=0)
        y_i = op.MatMul(op.Gather(c, i, axis=0), h_next)
        goes_on = op.Identity(goes)
        return goes_on, h_next, y_i

    _end, y = op.Loop(op.Squeeze(steps), go, first, body=step)

    whole = op.Concat(two, batch, steps * chunks, channels, axis=0)
    y = op.Transpose(op.Squeeze(y, two), perm=[1, 0, 2])
    y = op.Slice(op.Reshape(y, whole), zero, length, two)
    forward = op.Squeeze(op.Slice(y, zero, one, zero), zero)
    backward = op.Squeeze(op.Slice(op.Slice(y, one, two, zero), minus, start, two, minus), zero)
    skip = op.ReduceSum(u, zero, keepdims=0) * D
    z = op.Slice(tokens, channels, channels + channels, two)
    half = op.Constant(value_float=0.5)
    return (forward + backward + skip) * half * (z * op.Sigmoid(z))
