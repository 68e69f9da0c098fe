// Forward pass of the selective scan for one block of channels.
#pragma once

#include "scan.h"

namespace rs4d {

struct ForwardTask {
    const Scan* scan;
    Rows y;
    std::int64_t blocks;  // of channels in a batch element
};

template <int W>
RS4D_INLINE std::int64_t vectors_of(const Scan& scan) {
    return (scan.channels + W - 1) / W;
}

// Scratch of one worker: A and h of a block, and a tile of dt, du and y.
template <int W>
RS4D_INLINE std::int64_t forward_scratch(const Scan& scan, std::int64_t blocks) {
    const std::int64_t vectors = (vectors_of<W>(scan) + blocks - 1) / blocks + 1;
    return vectors * 2 * scan.states * W + 3 * kChunk * W;
}

// What becomes of the tile's y: the first direction leaves its own in the output, the last one adds
// to it, scales and gates.
template <int W>
RS4D_INLINE void finish_tile(const ForwardTask& task, std::int64_t index, std::int64_t batch,
                             std::int64_t first_step, std::int64_t steps, std::int64_t channel,
                             const float* y) {
    const Scan& scan = *task.scan;
    const Direction& direction = scan.direction[index];
    const bool last = index + 1 == scan.directions;
    const std::int64_t lanes = scan.channels - channel;
    const float factor = static_cast<float>(scan.scale);
    for (std::int64_t i = 0; i < steps; ++i) {
        float* out = row_at(scan, task.y, direction, batch, first_step + i) + channel;
        Vec<W> value = load<W>(y + i * W);
        if (index > 0) value += load_lanes<W>(out, lanes);
        if (last) value *= factor;
        if (last && scan.z.data != nullptr) {
            const float* gate = row_at(scan, scan.z, direction, batch, first_step + i) + channel;
            const Vec<W> z = load_lanes<W>(gate, lanes);
            value *= z * sigmoid<W>(z);
        }
        store_lanes<W>(out, value, lanes);
    }
}

template <int W>
RS4D_INLINE void forward_task(const ForwardTask& task, std::int64_t number, float* scratch) {
    const Scan& scan = *task.scan;
    const std::int64_t batch = number / task.blocks, states = scan.states;
    std::int64_t first, last;
    part_of(vectors_of<W>(scan), task.blocks, number % task.blocks, first, last);
    const std::int64_t per_vector = states * W;
    float* A = scratch;
    float* h = A + (last - first) * per_vector;
    float* dt = h + (last - first) * per_vector;
    float* du = dt + kChunk * W;
    float* y = du + kChunk * W;

    for (std::int64_t v = first; v < last; ++v) {
        load_A<W>(scan, v * W, A + (v - first) * per_vector, W);
    }
    for (std::int64_t index = 0; index < scan.directions; ++index) {
        const Direction& direction = scan.direction[index];
        std::fill(h, h + (last - first) * per_vector, 0.0f);
        for (std::int64_t chunk = 0; chunk < chunks_of(scan); ++chunk) {
            const std::int64_t first_step = chunk * kChunk;
            const std::int64_t steps = std::min(kChunk, scan.length - first_step);
            const float* B = row_at(scan, direction.B, direction, batch, first_step);
            const float* C = row_at(scan, direction.C, direction, batch, first_step);
            for (std::int64_t v = first; v < last; ++v) {
                const std::int64_t channel = v * W, lanes = scan.channels - channel;
                float* state = h + (v - first) * per_vector;
                if (direction.boundaries != nullptr) {
                    float* kept = direction.boundaries +
                                  (batch * chunks_of(scan) + chunk) * states * padded_channels(scan);
                    for (std::int64_t n = 0; n < states; ++n) {
                        store<W>(kept + n * padded_channels(scan) + channel,
                                 load<W>(state + n * W));
                    }
                }
                const Vec<W> bias = load_channels<W>(scan.delta_bias, channel, lanes);
                const Vec<W> skip = load_channels<W>(scan.D, channel, lanes);
                for (std::int64_t i = 0; i < steps; ++i) {
                    const std::int64_t step = first_step + i;
                    const Vec<W> u = load_lanes<W>(
                        row_at(scan, direction.u, direction, batch, step) + channel, lanes);
                    const Vec<W> given = load_lanes<W>(
                        row_at(scan, direction.delta, direction, batch, step) + channel, lanes);
                    const Vec<W> delta = delta_of<W>(scan, given, bias);
                    store<W>(dt + i * W, delta);
                    store<W>(du + i * W, delta * u);
                    // Without a skip, an infinite u must not turn 0 * u into NaN.
                    store<W>(y + i * W, scan.D == nullptr ? Vec<W>{} : skip * u);
                }
                advance_all<W, true>(states, steps, W, dt, du, y, B,
                                     step_stride(direction.B, direction), C,
                                     step_stride(direction.C, direction),
                                     A + (v - first) * per_vector, state, W);
                finish_tile<W>(task, index, batch, first_step, steps, channel, y);
            }
        }
    }
}

}  // namespace rs4d
