// The selective scan's problem as it crosses the C ABI, and what forward and backward share.
//
//   h_t = exp(delta_t A) h_{t-1} + delta_t B_t u_t,   y_t = C_t h_t + D u_t
//
// Time runs in chunks of kChunk steps. Of a chunk, a tile of some channels is copied into scratch
// memory in the order of the scan, steps by channels, so that the loops over states see neither
// direction nor strides and stay in the first-level cache.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "simd.h"

namespace rs4d {

constexpr std::int64_t kChunk = 32;
// Steps of a tile in a forward pass that keeps no states, which its smaller tiles leave room for.
constexpr std::int64_t kLongChunk = 64;

// A (batch, length, channels) array with adjacent channels of any type for sequences.
struct Rows {
    void* data;
    std::int64_t batch_stride;
    std::int64_t row_stride;
};

struct Direction {
    Rows u, delta;  // (batch, length, channels); delta (batch, length, delta_rank) where there is one
    Rows B, C;      // (batch, length, states)
    // States before each chunk, (batch, chunks, states, padded_channels). Written by the forward pass
    // unless null, read by the backward pass.
    float* boundaries;
    // (batch, states, padded_channels), of the forward pass: the states before the first step, replaced
    // by those behind the last one; null for zeros before and nothing kept.
    float* state;
    std::int64_t reverse;  // 1: the scan starts at the last row
};

struct Scan {
    std::int64_t batch, length, channels, states;
    std::int64_t threads;
    std::int64_t directions;  // 1 or 2, which are added up
    std::int64_t first, last; // of the forward pass: directions [first, last) of them are run
    std::int64_t softplus;    // 1: delta = softplus(given + bias)
    double scale;             // of the directions' sum
    const float* A;           // (channels, states)
    const float* D;           // (channels) or null
    const float* delta_bias;  // (channels) or null
    // The forward pass may compute delta from a bottleneck: delta_rank 0, or its width and the
    // weights (delta_rank, channels).
    std::int64_t delta_rank;
    const float* delta_weight;
    std::int64_t type;      // that of u, delta, B, C, z, y and the gradients of u, delta, y and z
    Rows z;                 // gate before its SiLU, or null data
    // Floats, where the first of two directions leaves what the second one adds y (or z's gradient)
    // to; it may be the result itself.
    Rows partial;
    Direction direction[2];
};

struct DirectionGrads {
    Rows u, delta;
    // Sums over the channels of one block, (blocks, batch, length, states).
    float* B;
    float* C;
};

struct ScanGrads {
    std::int64_t blocks;  // of channels; a task is one of them in one batch element
    Rows y;               // given
    Rows z;               // null data where there is no gate
    float* A;             // (batch, channels, states)
    float* D;             // (batch, channels) or null
    float* delta_bias;    // (batch, channels) or null
    DirectionGrads direction[2];
};

RS4D_INLINE std::int64_t chunks_of(const Scan& scan) {
    return (scan.length + kChunk - 1) / kChunk;
}

// Channels in `boundaries`: whole vectors of any width fit.
RS4D_INLINE std::int64_t padded_channels(const Scan& scan) { return (scan.channels + 31) / 32 * 32; }

// A row of the scan: data of step `step`, counted in the order of the scan.
template <typename T>
RS4D_INLINE T* row_at(const Scan& scan, const Rows& rows, const Direction& direction,
                      std::int64_t batch, std::int64_t step, std::ptrdiff_t size = 1) {
    const std::int64_t row = direction.reverse ? scan.length - 1 - step : step;
    return static_cast<T*>(rows.data) + (batch * rows.batch_stride + row * rows.row_stride) * size;
}

RS4D_INLINE std::ptrdiff_t step_stride(const Rows& rows, const Direction& direction) {
    return direction.reverse ? -rows.row_stride : rows.row_stride;
}

// A part [first, last) of `count` things in `parts` even parts.
RS4D_INLINE void part_of(std::int64_t count, std::int64_t parts, std::int64_t part,
                         std::int64_t& first, std::int64_t& last) {
    first = count * part / parts;
    last = count * (part + 1) / parts;
}

// A of channels [channel, channel + W) as (states, stride) in scratch, times log2(e): the exponent
// of 2 instead of e. Zeros behind the last channel.
template <int W>
RS4D_INLINE void load_A(const Scan& scan, std::int64_t channel, float* tile,
                        std::int64_t tile_stride) {
    for (std::int64_t n = 0; n < scan.states; ++n) {
        for (std::int64_t i = 0; i < W; ++i) {
            const bool inside = channel + i < scan.channels;
            tile[n * tile_stride + i] =
                inside ? scan.A[(channel + i) * scan.states + n] * kLog2E : 0.0f;
        }
    }
}

template <int W>
RS4D_INLINE Vec<W> load_channels(const float* p, std::int64_t channel, std::int64_t lanes) {
    return p == nullptr ? Vec<W>{} : load_lanes<W>(p + channel, lanes);
}

template <int W>
RS4D_INLINE Vec<W> delta_of(const Scan& scan, Vec<W> given, Vec<W> bias) {
    return scan.softplus ? softplus<W>(given + bias) : given + bias;
}

// Where a tile lies: steps of one direction of one batch element, and its first channel.
struct TilePlace {
    std::int64_t index, batch, first_step, steps, channel;
};

// W channels of a tile as floats, in the order of the scan.
struct Floats {
    float* first;
    std::ptrdiff_t step;

    RS4D_INLINE float* at(std::int64_t i) const { return first + i * step; }
};

// Those of an array where it has floats, else `memory` in their place.
RS4D_INLINE Floats floats_or(const Scan& scan, const Rows& rows, const TilePlace& place,
                             std::int64_t type, Floats memory) {
    if (rows.data == nullptr || type != kFloat32) return memory;
    const Direction& direction = scan.direction[place.index];
    return Floats{
        row_at<float>(scan, rows, direction, place.batch, place.first_step) + place.channel,
        step_stride(rows, direction)};
}

// The same, filled from the array: what computes is compiled for floats alone.
template <int W>
RS4D_INLINE Floats read_floats(const Scan& scan, const Rows& rows, const TilePlace& place,
                               Floats memory) {
    if (rows.data != nullptr && scan.type != kFloat32) {
        const Direction& direction = scan.direction[place.index];
        with_low_type(scan.type, [&](auto number) __attribute__((always_inline)) {
            const auto* from =
                row_at<decltype(number)>(scan, rows, direction, place.batch, place.first_step) +
                place.channel;
            for (std::int64_t i = 0; i < place.steps; ++i, from += step_stride(rows, direction)) {
                store<W>(memory.at(i), load_lanes<W>(from, scan.channels - place.channel));
            }
        });
    }
    return floats_or(scan, rows, place, scan.type, memory);
}

// Writes to the array what was put in `floats_or`'s memory.
template <int W>
RS4D_INLINE void write_floats(const Scan& scan, const Rows& rows, const TilePlace& place,
                              Floats memory) {
    if (rows.data == nullptr || scan.type == kFloat32) return;
    const Direction& direction = scan.direction[place.index];
    with_low_type(scan.type, [&](auto number) __attribute__((always_inline)) {
        auto* to = row_at<decltype(number)>(scan, rows, direction, place.batch, place.first_step) +
                   place.channel;
        for (std::int64_t i = 0; i < place.steps; ++i, to += step_stride(rows, direction)) {
            store_lanes<W>(to, load<W>(memory.at(i)), scan.channels - place.channel);
        }
    });
}

// Rows that are asked for while others are computed: they lie so far apart that the hardware does
// not see them coming.
struct Ahead {
    const char* data = nullptr;
    std::ptrdiff_t step = 0;
};

RS4D_INLINE Ahead ahead_of(const Scan& scan, const Rows& rows, std::int64_t type,
                           const Direction& direction, std::int64_t batch, std::int64_t step,
                           std::int64_t channel) {
    if (rows.data == nullptr) return Ahead{};
    const std::ptrdiff_t size = type == kFloat32 ? 4 : 2;
    const char* first = row_at<char>(scan, rows, direction, batch, step, size) + channel * size;
    return Ahead{first, step_stride(rows, direction) * size};
}

// `steps` rows of `count` numbers as floats in the order of the scan, one behind the other.
template <typename T>
RS4D_INLINE void load_rows(const Scan& scan, const Rows& rows, const Direction& direction,
                           std::int64_t batch, std::int64_t first_step, std::int64_t steps,
                           std::int64_t count, float* out) {
    for (std::int64_t i = 0; i < steps; ++i) {
        const T* row = row_at<T>(scan, rows, direction, batch, first_step + i);
        for (std::int64_t n = 0; n < count; n += 4) {
            store_lanes<4>(out + i * count + n, load_lanes<4>(row + n, count - n), count - n);
        }
    }
}

// States that advance together, as many as AVX2's registers hold.
constexpr std::int64_t kStates = 4;

// Moves NB adjacent states of W channels through `steps` steps, adding C h to y.
// dt, du (= dt u) and y are (steps, tile_stride), B and C (steps, row_stride); A and h are
// (NB, state_stride). CLAMP as in
// exp2_parts.
template <int W, int NB, bool CLAMP>
RS4D_INLINE void advance(std::int64_t steps, std::int64_t tile_stride, const float* dt,
                         const float* du, float* y, const float* B, const float* C,
                         std::int64_t row_stride, const float* A, float* h,
                         std::int64_t state_stride, Ahead ahead) {
    Vec<W> a[NB], state[NB];
    for (int j = 0; j < NB; ++j) {
        a[j] = load<W>(A + j * state_stride);
        state[j] = load<W>(h + j * state_stride);
    }
    for (std::int64_t i = 0; i < steps; ++i) {
        const Vec<W> dt_i = load<W>(dt + i * tile_stride);
        const Vec<W> du_i = load<W>(du + i * tile_stride);
        Vec<W> sum = load<W>(y + i * tile_stride);
        if (ahead.data != nullptr) __builtin_prefetch(ahead.data + i * ahead.step);
        for (int j = 0; j < NB; ++j) {
            const Exponent<W> exponent = exponent_of<W, CLAMP>(dt_i * a[j]);
            // Scaled by a power of two that may be 0 or infinite, or by one in range.
            const Vec<W> kept =
                CLAMP ? state[j] * exponent.scale() : scaled<W>(state[j], exponent);
            state[j] = kept * exponent.excess() + (kept + du_i * B[i * row_stride + j]);
            sum += state[j] * C[i * row_stride + j];
        }
        store<W>(y + i * tile_stride, sum);
    }
    for (int j = 0; j < NB; ++j) store<W>(h + j * state_stride, state[j]);
}

// The same for all states. The k-th group of states asks for ahead[k] (of kAheads) on its way.
constexpr std::int64_t kAheads = 4;

template <int W, bool CLAMP>
RS4D_INLINE void advance_all(std::int64_t states, std::int64_t steps, std::int64_t tile_stride,
                             const float* dt, const float* du, float* y, const float* B,
                             const float* C, const float* A, float* h, std::int64_t state_stride,
                             const Ahead* ahead) {
    std::int64_t n = 0;
    for (; n + kStates <= states; n += kStates) {
        const std::int64_t group = n / kStates;
        const Ahead next = group < kAheads ? ahead[group] : Ahead{};
        advance<W, kStates, CLAMP>(steps, tile_stride, dt, du, y, B + n, C + n, states,
                                   A + n * state_stride, h + n * state_stride, state_stride, next);
    }
    for (; n < states; ++n) {  // rare: the clamp that may be needless saves a copy of the code
        advance<W, 1, true>(steps, tile_stride, dt, du, y, B + n, C + n, states, A + n * state_stride,
                             h + n * state_stride, state_stride, Ahead{});
    }
}

}  // namespace rs4d
