"""The Triton kernels of the selective scan; imported only where Triton is.

Time is cut into chunks that run at once, in three steps. `chunk_states` runs each chunk from a state
of zero and leaves its last state where the next chunk will look for it; `carry_states` adds up what
the chunks before have left, so that each chunk finds its first state; `chunk_outputs` runs each
chunk from there. The adjoint goes through the first two steps in the opposite order, and
`chunk_gradients` has then all it needs to treat the chunks at once.

A program is one warp with a channel on each lane and the states (or the steps of a chunk) in
registers, so that no sum over states and no scan over time leaves a lane. Sums over channels, which
the gradients of B and C need, are written for each block of channels and added up outside, in an
order that does not change from run to run.

Shapes: ``u``, ``delta`` (batch, length, channels) and ``B``, ``C`` (batch, length, states) with
adjacent elements in the last dimension, stacked by direction; a second direction is always the
reverse one. S = directions * batch. ``states`` (S, chunks, states, channels), ``sums``
(S, chunks, channels). Everything is float32.
"""

# Triton's annotations say what is a constant of the compiled kernel, and nothing else.
# mypy: disable-error-code="no-untyped-def"

import triton
import triton.language as tl

# Sizes and strides are never specialised on: a new image size compiles nothing, and loads stay one
# channel wide, which keeps a channel on each lane.
_SIZES = ['batch', 'length', 'chunks', 'channels', 'num_states', 'reverse']
_STRIDES = ('direction', 'batch', 'row')


def _plain(*tensors: str) -> list[str]:
    return _SIZES + [f'{tensor}_{stride}' for tensor in tensors for stride in _STRIDES]


@triton.jit
def _advance(state, exponent, drive):
    """Return ``exp(exponent) * state + drive`` for an exponent of at most zero.

    Near one, the decay's rounding errors would add up over a long sequence of equal steps, and the
    GPU's exponential has but 22 bits. There it is one plus a series that carries its own digits.
    """
    series = 1.0 + exponent * (1 / 6)
    series = 1.0 + exponent * 0.2 * series
    series = 1.0 + exponent * 0.25 * series
    series = 1.0 + exponent * (1 / 3) * series
    series = 1.0 + exponent * 0.5 * series
    near_one = exponent > -0.25
    factor = tl.where(near_one, exponent * series, tl.exp(exponent))
    return factor * state + drive + tl.where(near_one, state, 0.0)


@triton.jit
def _then(exponent_before, state_before, exponent, state):
    """Join two stretches of a scan, each the sum of its exponents and its last state."""
    return exponent_before + exponent, _advance(state_before, exponent, state)


@triton.jit(do_not_specialize=_plain('values', 'delta', 'matrix'))
def chunk_states(
    values,
    delta,
    A,
    matrix,
    states,
    sums,
    batch,
    length,
    chunks,
    channels,
    num_states,
    values_direction,
    values_batch,
    values_row,
    delta_direction,
    delta_batch,
    delta_row,
    matrix_direction,
    matrix_batch,
    matrix_row,
    reverse,
    CHUNK: tl.constexpr,
    STATES: tl.constexpr,
    CHANNELS: tl.constexpr,
    ADJOINT: tl.constexpr,
):
    """Run every chunk from a state of zero; leave its last state with the chunk that comes next.

    Forwards, ``values`` is u and ``matrix`` is B, and the sums of delta are stored. With ADJOINT = 1
    they are grad_y and C, and the chunks run against the scan. Grid: chunks, blocks of channels, S.
    """
    chunk = tl.program_id(0).to(tl.int64)
    sequence = tl.program_id(2).to(tl.int64)
    direction = sequence // batch
    item = sequence % batch
    backwards = (direction + reverse) ^ ADJOINT
    step = 1 - 2 * backwards

    n = tl.arange(0, STATES)
    d = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_state = n < num_states
    is_channel = d < channels
    both = is_state[:, None] & is_channel[None, :]
    values += direction * values_direction + item * values_batch + d
    delta += direction * delta_direction + item * delta_batch + d
    matrix += direction * matrix_direction + item * matrix_batch + n
    a = tl.load(A + d[None, :] * num_states + n[:, None], mask=both, other=0.0)

    state = tl.zeros([STATES, CHANNELS], tl.float32)
    total = tl.zeros([CHANNELS], tl.float32)
    first = chunk * CHUNK + backwards * (CHUNK - 1)
    for i in range(CHUNK):
        t = first + i * step
        # Outside of the sequence delta is 0, which leaves the state as it is.
        has_d = d < tl.where(t < length, channels, 0)
        has_n = n < tl.where(t < length, num_states, 0)
        dt = tl.load(delta + t * delta_row, mask=has_d, other=0.0)
        value = tl.load(values + t * values_row, mask=has_d, other=0.0)
        row = tl.load(matrix + t * matrix_row, mask=has_n, other=0.0)
        if ADJOINT:
            state = _advance(state + value[None, :] * row[:, None], dt[None, :] * a, 0.0)
        else:
            state = _advance(state, dt[None, :] * a, (dt * value)[None, :] * row[:, None])
            total += dt

    if not ADJOINT:
        tl.store(sums + (sequence * chunks + chunk) * channels + d, total, mask=is_channel)
    offsets = n[:, None] * channels + d[None, :]
    size = num_states * channels
    following = chunk + step
    if (following >= 0) & (following < chunks):
        tl.store(states + (sequence * chunks + following) * size + offsets, state, mask=both)
    if chunk == backwards * (chunks - 1):  # nothing comes before
        nothing = tl.zeros([STATES, CHANNELS], tl.float32)
        tl.store(states + (sequence * chunks + chunk) * size + offsets, nothing, mask=both)


@triton.jit(do_not_specialize=['batch', 'chunks', 'channels', 'num_states', 'reverse'])
def carry_states(
    A,
    sums,
    states,
    batch,
    chunks,
    channels,
    num_states,
    reverse,
    GROUP: tl.constexpr,
    ELEMENTS: tl.constexpr,
    ADJOINT: tl.constexpr,
):
    """Turn what each chunk has left into the state before every chunk, in place.

    Grid: blocks of states * channels, S. A group of chunks is loaded at once, so that the memory's
    latency is paid once for each group.
    """
    sequence = tl.program_id(1).to(tl.int64)
    backwards = (sequence // batch + reverse) ^ ADJOINT
    step = 1 - 2 * backwards
    element = tl.program_id(0) * ELEMENTS + tl.arange(0, ELEMENTS)
    size = num_states * channels
    is_element = element < size
    d = element % channels
    a = tl.load(A + d * num_states + element // channels, mask=is_element, other=0.0)
    sums += sequence * chunks * channels
    states += sequence * chunks * size

    place = tl.arange(0, GROUP)[:, None]
    carried = tl.zeros([ELEMENTS], tl.float32)
    for start in range(0, chunks, GROUP):
        order = start + place
        chunk = backwards * (chunks - 1) + order * step
        inside = (order < chunks) & is_element[None, :]
        total = tl.load(
            sums + (chunk - step) * channels + d[None, :], mask=inside & (order > 0), other=0.0
        )
        here = states + chunk * size + element[None, :]
        left = tl.load(here, mask=inside, other=0.0)
        exponent = total * a[None, :]
        left = tl.where(place == 0, _advance(carried[None, :], exponent, left), left)
        _, state = tl.associative_scan((exponent, left), 0, _then)
        tl.store(here, state, mask=inside)
        carried = tl.sum(tl.where(place == GROUP - 1, state, 0.0), axis=0)


@triton.jit(do_not_specialize=_plain('u', 'delta', 'B', 'C'))
def chunk_outputs(
    u,
    delta,
    A,
    B,
    C,
    D,
    states,
    y,
    batch,
    length,
    chunks,
    channels,
    num_states,
    u_direction,
    u_batch,
    u_row,
    delta_direction,
    delta_batch,
    delta_row,
    B_direction,
    B_batch,
    B_row,
    C_direction,
    C_batch,
    C_row,
    reverse,
    CHUNK: tl.constexpr,
    STATES: tl.constexpr,
    CHANNELS: tl.constexpr,
    HAS_D: tl.constexpr,
):
    """Run every chunk from its first state and write y (S, length, channels).

    Grid: chunks, blocks of channels, S.
    """
    chunk = tl.program_id(0).to(tl.int64)
    sequence = tl.program_id(2).to(tl.int64)
    direction = sequence // batch
    item = sequence % batch
    backwards = direction + reverse
    step = 1 - 2 * backwards

    n = tl.arange(0, STATES)
    d = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_state = n < num_states
    is_channel = d < channels
    both = is_state[:, None] & is_channel[None, :]
    u += direction * u_direction + item * u_batch + d
    delta += direction * delta_direction + item * delta_batch + d
    B += direction * B_direction + item * B_batch + n
    C += direction * C_direction + item * C_batch + n
    y += sequence * length * channels + d
    a = tl.load(A + d[None, :] * num_states + n[:, None], mask=both, other=0.0)
    states += (sequence * chunks + chunk) * num_states * channels
    state = tl.load(states + n[:, None] * channels + d[None, :], mask=both, other=0.0)
    if HAS_D:
        skip = tl.load(D + d, mask=is_channel, other=0.0)

    first = chunk * CHUNK + backwards * (CHUNK - 1)
    for i in range(CHUNK):
        t = first + i * step
        has_d = d < tl.where(t < length, channels, 0)
        has_n = n < tl.where(t < length, num_states, 0)
        dt = tl.load(delta + t * delta_row, mask=has_d, other=0.0)
        value = tl.load(u + t * u_row, mask=has_d, other=0.0)
        B_t = tl.load(B + t * B_row, mask=has_n, other=0.0)
        C_t = tl.load(C + t * C_row, mask=has_n, other=0.0)
        state = _advance(state, dt[None, :] * a, (dt * value)[None, :] * B_t[:, None])
        out = tl.sum(state * C_t[:, None], axis=0)
        if HAS_D:
            out += skip * value
        tl.store(y + t * channels, out, mask=has_d)


@triton.jit(do_not_specialize=_plain('u', 'delta', 'B', 'C', 'grad_y'))
def chunk_gradients(
    u,
    delta,
    A,
    B,
    C,
    D,
    grad_y,
    states,
    adjoints,
    grad_u,
    grad_delta,
    grad_B,
    grad_C,
    batch,
    length,
    chunks,
    channels,
    num_states,
    u_direction,
    u_batch,
    u_row,
    delta_direction,
    delta_batch,
    delta_row,
    B_direction,
    B_batch,
    B_row,
    C_direction,
    C_batch,
    C_row,
    grad_y_direction,
    grad_y_batch,
    grad_y_row,
    reverse,
    CHUNK: tl.constexpr,
    CHANNELS: tl.constexpr,
    HAS_D: tl.constexpr,
):
    """Differentiate every chunk, given the state before it and the adjoint behind it.

    Writes ``grad_u`` and ``grad_delta`` (S, length, channels), and for each block of channels
    ``grad_B`` and ``grad_C`` (blocks, S, length, states). What the chunk adds to the gradient of A
    takes the place of its ``states``. ``grad_y`` is the same for both directions. Grid: chunks,
    blocks of channels, S.
    """
    chunk = tl.program_id(0).to(tl.int64)
    block = tl.program_id(1).to(tl.int64)
    sequence = tl.program_id(2).to(tl.int64)
    direction = sequence // batch
    item = sequence % batch
    backwards = direction + reverse
    step = 1 - 2 * backwards

    # Rows are in the order of the scan.
    place = tl.arange(0, CHUNK)
    t = chunk * CHUNK + backwards * (CHUNK - 1) + place * step
    t_before, t_after = t - step, t + step
    inside = t < length
    has_before = (place > 0) & (t_before < length)
    has_after = (place < CHUNK - 1) & (t_after < length)
    d = tl.program_id(1) * CHANNELS + tl.arange(0, CHANNELS)
    is_channel = d < channels
    tile = inside[:, None] & is_channel[None, :]
    tile_before = has_before[:, None] & is_channel[None, :]
    tile_after = has_after[:, None] & is_channel[None, :]
    u += direction * u_direction + item * u_batch
    delta += direction * delta_direction + item * delta_batch
    B += direction * B_direction + item * B_batch
    C += direction * C_direction + item * C_batch
    grad_y += direction * grad_y_direction + item * grad_y_batch
    size = num_states * channels
    states += (sequence * chunks + chunk) * size
    adjoints += (sequence * chunks + chunk) * size
    partial = (block * tl.num_programs(2) + sequence) * length * num_states
    grad_B += partial
    grad_C += partial

    column = d[None, :]
    value = tl.load(u + t[:, None] * u_row + column, mask=tile, other=0.0)
    dt = tl.load(delta + t[:, None] * delta_row + column, mask=tile, other=0.0)
    dy = tl.load(grad_y + t[:, None] * grad_y_row + column, mask=tile, other=0.0)
    u_before = tl.load(u + t_before[:, None] * u_row + column, mask=tile_before, other=0.0)
    dt_before = tl.load(delta + t_before[:, None] * delta_row + column, mask=tile_before, other=0.0)
    dt_after = tl.load(delta + t_after[:, None] * delta_row + column, mask=tile_after, other=0.0)
    drive_before = dt_before * u_before
    drive = dt * value
    through_B = tl.zeros([CHUNK, CHANNELS], tl.float32)
    through_decay = tl.zeros([CHUNK, CHANNELS], tl.float32)
    for n in range(num_states):
        a = tl.load(A + d * num_states + n, mask=is_channel, other=0.0)[None, :]
        B_t = tl.load(B + t * B_row + n, mask=inside, other=0.0)[:, None]
        C_t = tl.load(C + t * C_row + n, mask=inside, other=0.0)[:, None]
        B_before = tl.load(B + t_before * B_row + n, mask=has_before, other=0.0)[:, None]
        # Scans over the inputs of one step before give each step the state that it starts from,
        # with nothing to subtract or to divide by.
        start = tl.load(states + n * channels + d, mask=is_channel, other=0.0)[None, :]
        left = tl.where(place[:, None] == 0, start, drive_before * B_before)
        _, before = tl.associative_scan((dt_before * a, left), 0, _then)
        behind = tl.load(adjoints + n * channels + d, mask=is_channel, other=0.0)[None, :]
        received = dy * C_t + tl.where(place[:, None] == CHUNK - 1, behind, 0.0)
        _, adjoint = tl.associative_scan((dt_after * a, received), 0, _then, reverse=True)

        kept = tl.exp(dt * a) * before
        through_B += adjoint * B_t
        through_decay += adjoint * kept * a
        grad_A = tl.sum(adjoint * kept * dt, axis=0)
        tl.store(states + n * channels + d, grad_A, mask=is_channel)
        rows = t * num_states + n
        tl.store(grad_B + rows, tl.sum(adjoint * drive, axis=1), mask=inside)
        tl.store(grad_C + rows, tl.sum((kept + drive * B_t) * dy, axis=1), mask=inside)

    gradient = through_B * dt
    if HAS_D:
        gradient += dy * tl.load(D + d, mask=is_channel, other=0.0)[None, :]
    out = (sequence * length + t)[:, None] * channels + column
    tl.store(grad_u + out, gradient, mask=tile)
    tl.store(grad_delta + out, through_B * value + through_decay, mask=tile)
