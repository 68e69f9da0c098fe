// Forward pass of the selective scan for one block of channels.
#pragma once

#include <type_traits>

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

// Scratch of one worker: A with its bounds, h and the weights of delta of a block, a tile of dt, du and
// y, and a chunk's rows of B, C and delta's bottleneck.
template <int W>
RS4D_INLINE std::int64_t forward_scratch(const Scan& scan, std::int64_t blocks) {
    const std::int64_t vectors = (vectors_of<W>(scan) + blocks - 1) / blocks + 1;
    return vectors * (2 * scan.states + 1 + scan.delta_rank) * W +
           kLongChunk * (3 * W + 2 * scan.states + scan.delta_rank);
}

// A tile's delta before bias and softplus, where it comes from a bottleneck: two steps at a time share
// the weights, and two sums each keep the multiply-adds from waiting for one another.
template <int W>
RS4D_INLINE void project(const Scan& scan, std::int64_t steps, const float* bottleneck,
                         const float* weight, float* out) {
    for (std::int64_t i = 0; i < steps; i += 2) {
        const std::int64_t next = std::min(i + 1, steps - 1);
        const float* rows[2] = {bottleneck + i * scan.delta_rank,
                                bottleneck + next * scan.delta_rank};
        Vec<W> sums[2][2] = {};
        std::int64_t r = 0;
        for (; r + 2 <= scan.delta_rank; r += 2) {
            for (int k = 0; k < 2; ++k) {
                const Vec<W> w = load<W>(weight + (r + k) * W);
                sums[0][k] += rows[0][r + k] * w;
                sums[1][k] += rows[1][r + k] * w;
            }
        }
        if (r < scan.delta_rank) {
            for (int row = 0; row < 2; ++row) sums[row][0] += rows[row][r] * load<W>(weight + r * W);
        }
        store<W>(out + i * W, sums[0][0] + sums[0][1]);
        store<W>(out + next * W, sums[1][0] + sums[1][1]);
    }
}

// Reads u and delta of W channels in the order of the scan and makes dt, du and the skip's y of them.
// Returns the largest |dt|, or NaN if there is one.
template <int W, typename T>
RS4D_INLINE float read_tile(const Scan& scan, const Direction& direction, std::int64_t batch,
                            std::int64_t first_step, std::int64_t steps, std::int64_t channel,
                            const float* bottleneck, const float* delta_weight, float* dt,
                            float* du, float* y) {
    const std::int64_t lanes = scan.channels - channel;
    const Vec<W> bias = load_channels<W>(scan.delta_bias, channel, lanes);
    const Vec<W> skip = load_channels<W>(scan.D, channel, lanes);
    const T* u = row_at<T>(scan, direction.u, direction, batch, first_step) + channel;
    const bool projects = scan.delta_rank > 0;
    const T* delta = row_at<T>(scan, direction.delta, direction, batch, first_step);
    const std::ptrdiff_t u_step = step_stride(direction.u, direction);
    const std::ptrdiff_t delta_step = step_stride(direction.delta, direction);
    // Without a skip, an infinite u must not turn 0 * u into NaN.
    const bool skips = scan.D != nullptr;
    if (projects) project<W>(scan, steps, bottleneck, delta_weight, dt);
    typename Simd<W>::I largest{};
    for (std::int64_t i = 0; i < steps; ++i) {
        const Vec<W> u_i = load_lanes<W>(u + i * u_step, lanes);
        const Vec<W> given = projects ? load<W>(dt + i * W)
                                      : load_lanes<W>(delta + i * delta_step + channel, lanes);
        const Vec<W> delta_i = delta_of<W>(scan, given, bias);
        store<W>(dt + i * W, delta_i);
        store<W>(du + i * W, delta_i * u_i);
        store<W>(y + i * W, skips ? skip * u_i : Vec<W>{});
        widen<W>(largest, delta_i);
    }
    return largest_lane<W>(largest);
}

// What becomes of the tile's y: the first of two directions leaves it to the second, the last one
// scales and gates.
template <int W, typename T>
RS4D_INLINE void finish_tile(const ForwardTask& task, std::int64_t index, std::int64_t batch,
                             std::int64_t first_step, std::int64_t steps, std::int64_t channel,
                             const float* y) {
    const Scan& scan = *task.scan;
    const Direction& direction = scan.direction[index];
    const std::int64_t lanes = scan.channels - channel;
    const float factor = static_cast<float>(scan.scale);
    const bool gated = scan.z.data != nullptr, adds = index > 0, leaves = index + 1 < scan.directions;
    float* partial = adds || leaves
                         ? row_at<float>(scan, scan.partial, direction, batch, first_step) + channel
                         : nullptr;
    const std::ptrdiff_t partial_step = step_stride(scan.partial, direction);
    if (leaves) {
        for (std::int64_t i = 0; i < steps; ++i) {
            store_lanes<W>(partial + i * partial_step, load<W>(y + i * W), lanes);
        }
        return;
    }
    T* out = row_at<T>(scan, task.y, direction, batch, first_step) + channel;
    const std::ptrdiff_t out_step = step_stride(task.y, direction);
    const T* gate = gated ? row_at<T>(scan, scan.z, direction, batch, first_step) + channel : nullptr;
    const std::ptrdiff_t gate_step = step_stride(scan.z, direction);
    for (std::int64_t i = 0; i < steps; ++i) {
        Vec<W> value = load<W>(y + i * W);
        if (adds) value += load_lanes<W>(partial + i * partial_step, lanes);
        value *= factor;
        if (gated) {
            const Vec<W> z = load_lanes<W>(gate + i * gate_step, lanes);
            value *= z * sigmoid<W>(z);
        }
        store_lanes<W>(out + i * out_step, value, lanes);
    }
}

// What a tile reads and writes in memory, to be asked for while the tile before it is computed.
template <typename T>
RS4D_INLINE void look_ahead(const ForwardTask& task, std::int64_t index, std::int64_t batch,
                            std::int64_t first_step, std::int64_t steps, std::int64_t channel,
                            Ahead (&ahead)[kAheads]) {
    const Scan& scan = *task.scan;
    const Direction& direction = scan.direction[index];
    const bool leaves = index + 1 < scan.directions;
    std::fill(ahead, ahead + kAheads, Ahead{});
    // A chunk cut short has fewer rows than the loop that asks for them has steps.
    if (first_step + steps > scan.length) return;
    const auto ask = [&](const Rows& rows, auto number) __attribute__((always_inline)) {
        return ahead_of<decltype(number)>(scan, rows, direction, batch, first_step, channel);
    };
    ahead[0] = ask(direction.u, T{});
    if (scan.delta_rank == 0) ahead[1] = ask(direction.delta, T{});
    ahead[2] = leaves ? ask(scan.partial, float{}) : ask(task.y, T{});
    if (!leaves) ahead[3] = ask(scan.z, T{});
}

// The states of W channels to memory (states, padded_channels); the last channels' also fill the padding,
// which the backward pass reads in whole groups.
template <int W>
RS4D_INLINE void keep_states(const Scan& scan, const float* state, std::int64_t channel, float* kept) {
    const std::int64_t padded = padded_channels(scan);
    const std::int64_t end = channel + W < scan.channels ? channel + W : padded;
    for (std::int64_t n = 0; n < scan.states; ++n) {
        store<W>(kept + n * padded + channel, load<W>(state + n * W));
        std::fill(kept + n * padded + channel + W, kept + n * padded + end, 0.0f);
    }
}

template <int W, typename>
RS4D_INLINE void forward_task(const ForwardTask& task, std::int64_t number, float* scratch) {
    const Scan& scan = *task.scan;
    const std::int64_t batch = number / task.blocks, states = scan.states;
    std::int64_t first, last;
    part_of(vectors_of<W>(scan), task.blocks, number % task.blocks, first, last);
    const std::int64_t per_vector = states * W, kept_size = states * padded_channels(scan);
    float* A = scratch;
    float* h = A + (last - first) * per_vector;
    float* dt = h + (last - first) * per_vector;
    float* du = dt + kLongChunk * W;
    float* y = du + kLongChunk * W;
    float* delta_weight = y + kLongChunk * W;
    float* A_largest = delta_weight + (last - first) * scan.delta_rank * W;  // one for each vector
    float* B = A_largest + (last - first) * W;
    float* C = B + kLongChunk * states;
    float* bottleneck = C + kLongChunk * states;
    Ahead ahead[kAheads];

    for (std::int64_t v = first; v < last; ++v) {
        float* tile = A + (v - first) * per_vector;
        load_A<W>(scan, v * W, tile, W);
        typename Simd<W>::I largest{};
        for (std::int64_t n = 0; n < states; ++n) widen<W>(largest, load<W>(tile + n * W));
        A_largest[v - first] = largest_lane<W>(largest);
        for (std::int64_t r = 0; r < scan.delta_rank; ++r) {
            store<W>(delta_weight + ((v - first) * scan.delta_rank + r) * W,
                     load_lanes<W>(scan.delta_weight + r * scan.channels + v * W,
                                   scan.channels - v * W));
        }
    }
    for (std::int64_t index = scan.first; index < scan.last; ++index) {
        const Direction& direction = scan.direction[index];
        float* kept = direction.state == nullptr ? nullptr : direction.state + batch * kept_size;
        std::fill(h, h + (last - first) * per_vector, 0.0f);
        for (std::int64_t v = first; kept != nullptr && v < last; ++v) {
            for (std::int64_t n = 0; n < states; ++n) {
                store<W>(h + (v - first) * per_vector + n * W,
                         load<W>(kept + n * padded_channels(scan) + v * W));
            }
        }
        const std::int64_t chunk = direction.boundaries != nullptr ? kChunk : kLongChunk;
        for (std::int64_t first_step = 0; first_step < scan.length; first_step += chunk) {
            const std::int64_t steps = std::min(chunk, scan.length - first_step);
            const auto rows = [&](const Rows& array, std::int64_t count, float* out)
                                  __attribute__((always_inline)) {
                with_type(scan, [&](auto number) __attribute__((always_inline)) {
                    load_rows<decltype(number)>(scan, array, direction, batch, first_step, steps,
                                                count, out);
                });
            };
            rows(direction.B, states, B);
            rows(direction.C, states, C);
            if (scan.delta_rank > 0) rows(direction.delta, scan.delta_rank, bottleneck);
            for (std::int64_t v = first; v < last; ++v) {
                const std::int64_t channel = v * W;
                float* state = h + (v - first) * per_vector;
                if (direction.boundaries != nullptr) {
                    keep_states<W>(scan, state, channel,
                                   direction.boundaries +
                                       (batch * chunks_of(scan) + first_step / kChunk) * kept_size);
                }
                const bool at_end = v + 1 == last;
                const auto read = [&](auto number) __attribute__((always_inline)) {
                    using T = decltype(number);
                    look_ahead<T>(task, index, batch, first_step + at_end * chunk, chunk,
                                  at_end ? first * W : channel + W, ahead);
                    return read_tile<W, T>(scan, direction, batch, first_step, steps, channel,
                                           bottleneck,
                                           delta_weight + (v - first) * scan.delta_rank * W, dt, du,
                                           y);
                };
                const float dt_largest = with_type(scan, read);
                const auto advance_tile = [&](auto clamp) __attribute__((always_inline)) {
                    advance_all<W, decltype(clamp)::value>(
                        states, steps, W, dt, du, y, B, C, A + (v - first) * per_vector, state, W,
                        ahead);
                };
                // No clamp where no exponent of the tile can be out of range; false for NaN.
                if (dt_largest * A_largest[v - first] <= kExp2Safe) {
                    advance_tile(std::false_type{});
                } else {
                    advance_tile(std::true_type{});
                }
                with_type(scan, [&](auto number) __attribute__((always_inline)) {
                    finish_tile<W, decltype(number)>(task, index, batch, first_step, steps, channel,
                                                     y);
                });
            }
        }
        for (std::int64_t v = first; kept != nullptr && v < last; ++v) {
            keep_states<W>(scan, h + (v - first) * per_vector, v * W, kept);
        }
    }
}

}  // namespace rs4d
