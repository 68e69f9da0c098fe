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

// Reads u and delta of W channels and makes dt, du and the skip's y of them. Returns the largest |dt|, or
// NaN if there is one.
template <int W>
RS4D_INLINE float read_tile(const Scan& scan, const TilePlace& place, const float* bottleneck,
                            const float* delta_weight, float* dt, float* du, float* y) {
    const Direction& direction = scan.direction[place.index];
    const std::int64_t lanes = scan.channels - place.channel;
    const Vec<W> bias = load_channels<W>(scan.delta_bias, place.channel, lanes);
    const Vec<W> skip = load_channels<W>(scan.D, place.channel, lanes);
    // Without a skip, an infinite u must not turn 0 * u into NaN.
    const bool skips = scan.D != nullptr;
    const Floats u = read_floats<W>(scan, direction.u, place, Floats{du, W});
    Floats delta{dt, W};
    if (scan.delta_rank > 0) {
        project<W>(scan, place.steps, bottleneck, delta_weight, dt);
    } else {
        delta = read_floats<W>(scan, direction.delta, place, delta);
    }
    typename Simd<W>::I largest{};
    for (std::int64_t i = 0; i < place.steps; ++i) {
        const Vec<W> u_i = load_lanes<W>(u.at(i), lanes);
        const Vec<W> delta_i = delta_of<W>(scan, load_lanes<W>(delta.at(i), lanes), bias);
        store<W>(dt + i * W, delta_i);
        store<W>(du + i * W, delta_i * u_i);
        store<W>(y + i * W, skips ? skip * u_i : Vec<W>{});
        widen<W>(largest, delta_i);
    }
    return largest_lane<W>(largest);
}

// What becomes of the tile's y: the first of two directions leaves it to the second, the last one
// scales and gates. `memory` is overwritten.
template <int W>
RS4D_INLINE void finish_tile(const ForwardTask& task, const TilePlace& place, float* y,
                             float* memory) {
    const Scan& scan = *task.scan;
    const std::int64_t lanes = scan.channels - place.channel;
    const float factor = static_cast<float>(scan.scale);
    const bool gated = scan.z.data != nullptr, adds = place.index > 0;
    const Floats partial = floats_or(scan, scan.partial, place, kFloat32, Floats{});
    if (place.index + 1 < scan.directions) {
        for (std::int64_t i = 0; i < place.steps; ++i) {
            store_lanes<W>(partial.at(i), load<W>(y + i * W), lanes);
        }
        return;
    }
    const Floats gate = read_floats<W>(scan, scan.z, place, Floats{memory, W});
    const Floats out = floats_or(scan, task.y, place, scan.type, Floats{y, W});
    // In the tile, all lanes are there.
    const std::int64_t out_lanes = scan.type == kFloat32 ? lanes : W;
    for (std::int64_t i = 0; i < place.steps; ++i) {
        Vec<W> value = load<W>(y + i * W);
        if (adds) value += load_lanes<W>(partial.at(i), lanes);
        value *= factor;
        if (gated) {
            const Vec<W> z = load_lanes<W>(gate.at(i), lanes);
            value *= z * sigmoid<W>(z);
        }
        store_lanes<W>(out.at(i), value, out_lanes);
    }
    write_floats<W>(scan, task.y, place, out);
}

// What a tile reads and writes in memory, to be asked for while the tile before it is computed.
RS4D_INLINE void look_ahead(const ForwardTask& task, const TilePlace& place,
                            Ahead (&ahead)[kAheads]) {
    const Scan& scan = *task.scan;
    const Direction& direction = scan.direction[place.index];
    const bool leaves = place.index + 1 < scan.directions;
    std::fill(ahead, ahead + kAheads, Ahead{});
    // A chunk cut short has fewer rows than the loop that asks for them has steps.
    if (place.first_step + place.steps > scan.length) return;
    const auto ask = [&](const Rows& rows, std::int64_t type) __attribute__((always_inline)) {
        return ahead_of(scan, rows, type, direction, place.batch, place.first_step, place.channel);
    };
    ahead[0] = ask(direction.u, scan.type);
    if (scan.delta_rank == 0) {
        ahead[1] = ask(direction.delta, scan.type);
    } else if (place.index > 0) {
        ahead[1] = ask(scan.partial, kFloat32);
    }
    ahead[2] = leaves ? ask(scan.partial, kFloat32) : ask(task.y, scan.type);
    if (!leaves) ahead[3] = ask(scan.z, scan.type);
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

template <int W>
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
                with_type(scan.type, [&](auto number) __attribute__((always_inline)) {
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
                TilePlace place{index, batch, first_step + at_end * chunk, chunk,
                                at_end ? first * W : channel + W};
                look_ahead(task, place, ahead);
                place = TilePlace{index, batch, first_step, steps, channel};
                const float dt_largest =
                    read_tile<W>(scan, place, bottleneck,
                                 delta_weight + (v - first) * scan.delta_rank * W, dt, du, y);
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
                finish_tile<W>(task, place, y, du);
            }
        }
        for (std::int64_t v = first; kept != nullptr && v < last; ++v) {
            keep_states<W>(scan, h + (v - first) * per_vector, v * W, kept);
        }
    }
}

}  // namespace rs4d
