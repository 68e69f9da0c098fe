// Backward pass of the selective scan for one block of channels.
//
// With dy the gradient of y and g_t that of h_t,
//
//   g_t  = C_t dy_t + a_{t+1} g_{t+1},  a_t = exp(delta_t A)
//   dC_t = sum over channels of h_t dy_t,   dB_t = sum over channels of g_t delta_t u_t
//   d(delta_t u_t) = sum over states of g_t B_t
//   d(delta_t A)   = g_t h_{t-1} a_t
//
// Chunks are visited from the last one back. Each is run forwards again from the states before it,
// one state index at a time, and then backwards; nothing of it outlives the visit.
#pragma once

#include <type_traits>

#include "scan_forward.h"

namespace rs4d {

// Vectors and states that go through a chunk together: what they share is read once, their sums over
// channels are taken together, and their chains of dependent operations overlap.
constexpr int kGroup = 2;
constexpr int kPair = 2;

struct BackwardTask {
    const Scan* scan;
    const ScanGrads* grads;
};

template <int W>
RS4D_INLINE std::int64_t groups_of(const Scan& scan) {
    return (scan.channels + kGroup * W - 1) / (kGroup * W);
}

RS4D_INLINE std::int64_t pairs_of(const Scan& scan) { return (scan.states + kPair - 1) / kPair; }

// What a tile holds of each step, in vectors that lie next to each other: arrays of their own, a power
// of two apart, would compete for the same lines of the cache.
enum Part { kDt, kU, kDy, kY, kUGrad, kDtGrad, kGateGrad, kParts };
// What a pair of states leaves on its way forwards, for the way back; the decay is
// scale * (1 + excess).
enum Trace { kBefore, kScale, kExcess, kTraces };

// Scratch memory of one worker, for a block of `groups` groups. G below is kGroup * W channels.
template <int W>
struct BackwardScratch {
    static constexpr std::int64_t G = kGroup * W;
    static constexpr std::int64_t kStep = kParts * G;
    static constexpr std::int64_t kTraceStep = kTraces * kPair * G;

    float *A, *A_grad, *carry, *D_grad, *bias_grad;  // (groups, states, G), ..., (groups, G), ...
    float* tile;                                     // (kChunk, kParts, G)
    float* trace;                                    // (kChunk, kTraces, kPair, G)
    float *B, *C;                                    // (kChunk, states)
    float* sums;                                     // (pairs of states, kChunk, W)

    static RS4D_INLINE std::int64_t size(const Scan& scan, std::int64_t groups) {
        return groups * (3 * scan.states + 2) * G + kChunk * (kStep + kTraceStep) +
               2 * kChunk * scan.states + pairs_of(scan) * kChunk * W;
    }

    RS4D_INLINE BackwardScratch(const Scan& scan, std::int64_t groups, float* memory) {
        float* next = memory;
        auto take = [&next](std::int64_t count) __attribute__((always_inline)) {
            float* taken = next;
            next += count;
            return taken;
        };
        tile = take(kChunk * kStep);
        trace = take(kChunk * kTraceStep);
        sums = take(pairs_of(scan) * kChunk * W);
        A = take(groups * scan.states * G);
        A_grad = take(groups * scan.states * G);
        carry = take(groups * scan.states * G);
        D_grad = take(groups * G);
        bias_grad = take(groups * G);
        B = take(kChunk * scan.states);
        C = take(kChunk * scan.states);
    }
};

// Part of a tile's W channels from `channel` of scratch.tile on.
template <int W>
RS4D_INLINE Floats part_of_tile(const BackwardScratch<W>& scratch, int g, Part part) {
    return Floats{scratch.tile + part * scratch.G + g * W, scratch.kStep};
}

// Reads a tile; dy is behind scale and gate, y the skip's part. Returns the largest |dt|, or NaN if
// there is one.
template <int W>
RS4D_INLINE float load_tile(const BackwardTask& task, const TilePlace& group,
                            const BackwardScratch<W>& scratch) {
    const Scan& scan = *task.scan;
    const Direction& direction = scan.direction[group.index];
    const float factor = static_cast<float>(scan.scale);
    const bool gated = scan.z.data != nullptr, skips = scan.D != nullptr;
    typename Simd<W>::I largest{};
    for (int g = 0; g < kGroup; ++g) {
        TilePlace place = group;
        place.channel += g * W;
        const std::int64_t lanes = scan.channels - place.channel;
        const Vec<W> bias = load_channels<W>(scan.delta_bias, place.channel, lanes);
        const Vec<W> skip = load_channels<W>(scan.D, place.channel, lanes);
        const Rows* arrays[] = {&direction.u, &direction.delta, &task.grads->y, &scan.z};
        const Part parts[] = {kU, kDt, kDy, kGateGrad};
        Floats given[4];
        for (int k = 0; k < 4; ++k) {
            given[k] = read_floats<W>(scan, *arrays[k], place, part_of_tile(scratch, g, parts[k]));
        }
        float* tile = scratch.tile + g * W;
        for (std::int64_t i = 0; i < place.steps; ++i, tile += scratch.kStep) {
            const auto put = [&](Part part, Vec<W> value) __attribute__((always_inline)) {
                store<W>(tile + part * scratch.G, value);
            };
            const Vec<W> u = load_lanes<W>(given[0].at(i), lanes);
            const Vec<W> delta = delta_of<W>(scan, load_lanes<W>(given[1].at(i), lanes), bias);
            widen<W>(largest, delta);
            Vec<W> dy = load_lanes<W>(given[2].at(i), lanes) * factor;
            if (gated) {
                const Vec<W> z = load_lanes<W>(given[3].at(i), lanes);
                const Vec<W> gate = sigmoid<W>(z);
                put(kGateGrad, dy * (gate + z * gate * (1.0f - gate)));
                dy *= z * gate;
            }
            put(kDt, delta);
            put(kU, u);
            put(kDy, dy);
            put(kY, skips ? skip * u : Vec<W>{});
            put(kUGrad, Vec<W>{});
            put(kDtGrad, Vec<W>{});
        }
    }
    return largest_lane<W>(largest);
}

// Some adjacent states of a tile, there and back: `S` of them, kPair but for an odd last one. B and C
// are (steps, states), A and its like (S, G). C h is added to y where WITH_Y; CLAMP as in exp2_parts.
template <int W, int S, bool WITH_Y, bool CLAMP>
RS4D_INLINE void sweep(const BackwardScratch<W>& scratch, std::int64_t states, std::int64_t steps,
                       const float* start, std::int64_t start_stride, const float* B,
                       const float* C, const float* A, float* A_grad, float* carry, float* sums,
                       Ahead ahead) {
    constexpr std::int64_t G = BackwardScratch<W>::G;
    Vec<W> a[S][kGroup], h[S][kGroup];
    for (int j = 0; j < S; ++j) {
        for (int g = 0; g < kGroup; ++g) {
            a[j][g] = load<W>(A + j * G + g * W);
            h[j][g] = load<W>(start + j * start_stride + g * W);
        }
    }
    for (std::int64_t i = 0; i < steps; ++i) {
        float* tile = scratch.tile + i * scratch.kStep;
        float* trace = scratch.trace + i * scratch.kTraceStep;
        if (ahead.data != nullptr) {
            for (std::int64_t line = 0; line < G * 4; line += 64) {
                __builtin_prefetch(ahead.data + i * ahead.step + line, 0, 2);  // second-level cache
            }
        }
        for (int g = 0; g < kGroup; ++g) {
            const Vec<W> dt = load<W>(tile + kDt * G + g * W);
            const Vec<W> du = dt * load<W>(tile + kU * G + g * W);
            Vec<W> y = WITH_Y ? load<W>(tile + kY * G + g * W) : Vec<W>{};
            for (int j = 0; j < S; ++j) {
                float* left = trace + j * G + g * W;
                Vec<W> scale, excess;
                exp2_parts<W, CLAMP>(dt * a[j][g], scale, excess);
                store<W>(left + kBefore * kPair * G, h[j][g]);
                store<W>(left + kScale * kPair * G, scale);
                store<W>(left + kExcess * kPair * G, excess);
                const Vec<W> kept = h[j][g] * scale;
                h[j][g] = kept * excess + (kept + du * B[i * states + j]);
                if (WITH_Y) y += h[j][g] * C[i * states + j];
            }
            if (WITH_Y) store<W>(tile + kY * G + g * W, y);
        }
    }

    Vec<W> future[S][kGroup], a_grad[S][kGroup];
    for (int j = 0; j < S; ++j) {
        for (int g = 0; g < kGroup; ++g) {
            future[j][g] = load<W>(carry + j * G + g * W);
            a_grad[j][g] = load<W>(A_grad + j * G + g * W);
        }
    }
    for (std::int64_t i = steps - 1; i >= 0; --i) {
        float* tile = scratch.tile + i * scratch.kStep;
        const float* trace = scratch.trace + i * scratch.kTraceStep;
        Vec<W> b_sum[kPair] = {}, c_sum[kPair] = {}, b[S], c[S];
        for (int j = 0; j < S; ++j) {
            b[j] = splat<W>(B[i * states + j]);
            c[j] = splat<W>(C[i * states + j]);
        }
        for (int g = 0; g < kGroup; ++g) {
            const Vec<W> dt = load<W>(tile + kDt * G + g * W);
            const Vec<W> du = dt * load<W>(tile + kU * G + g * W);
            const Vec<W> dy = load<W>(tile + kDy * G + g * W);
            Vec<W> du_grad = load<W>(tile + kUGrad * G + g * W);
            Vec<W> dt_grad = load<W>(tile + kDtGrad * G + g * W);
            for (int j = 0; j < S; ++j) {
                const float* left = trace + j * G + g * W;
                const Vec<W> grad = dy * c[j] + future[j][g];
                c_sum[j] += dy * h[j][g];
                b_sum[j] += grad * du;
                du_grad += grad * b[j];
                const Vec<W> kept = grad * load<W>(left + kScale * kPair * G);
                future[j][g] = kept * load<W>(left + kExcess * kPair * G) + kept;
                h[j][g] = load<W>(left + kBefore * kPair * G);
                const Vec<W> exponent_grad = future[j][g] * h[j][g];
                dt_grad += exponent_grad * a[j][g];
                a_grad[j][g] += exponent_grad * dt;
            }
            store<W>(tile + kUGrad * G + g * W, du_grad);
            store<W>(tile + kDtGrad * G + g * W, dt_grad);
        }
        const Vec<W> parts = quarter_sums(b_sum[0], b_sum[1], c_sum[0], c_sum[1]);
        store<W>(sums + i * W, load<W>(sums + i * W) + parts);
    }
    for (int j = 0; j < S; ++j) {
        for (int g = 0; g < kGroup; ++g) {
            store<W>(carry + j * G + g * W, future[j][g]);
            store<W>(A_grad + j * G + g * W, a_grad[j][g]);
        }
    }
}

// Gradients of u, delta and z of a tile, and its part of those of D and the bias.
template <int W>
RS4D_INLINE void store_tile(const BackwardTask& task, const TilePlace& group,
                            const BackwardScratch<W>& scratch, float* D_grad, float* bias_grad) {
    const Scan& scan = *task.scan;
    const DirectionGrads& out = task.grads->direction[group.index];
    const bool gated = scan.z.data != nullptr, skips = scan.D != nullptr;
    const bool softplus = scan.softplus != 0, adds = group.index > 0;
    const bool leaves = group.index + 1 < scan.directions;
    for (int g = 0; g < kGroup; ++g) {
        TilePlace place = group;
        place.channel += g * W;
        const std::int64_t lanes = scan.channels - place.channel;
        if (lanes <= 0) continue;
        const std::int64_t out_lanes = scan.type == kFloat32 ? lanes : W;
        const Vec<W> skip = load_channels<W>(scan.D, place.channel, lanes);
        Vec<W> skip_grad = load<W>(D_grad + g * W), bias_sum = load<W>(bias_grad + g * W);
        const Rows* arrays[] = {&out.u, &out.delta, &task.grads->z};
        const Part parts[] = {kUGrad, kDtGrad, kGateGrad};
        Floats to[3];
        for (int k = 0; k < 3; ++k) {
            to[k] = floats_or(scan, *arrays[k], place, scan.type,
                              part_of_tile(scratch, g, parts[k]));
        }
        const Floats partial = floats_or(scan, scan.partial, place, kFloat32, Floats{});
        const float* tile = scratch.tile + g * W;
        for (std::int64_t i = 0; i < place.steps; ++i, tile += scratch.kStep) {
            const auto get = [&](Part part) __attribute__((always_inline)) {
                return load<W>(tile + part * scratch.G);
            };
            const Vec<W> u = get(kU), dt = get(kDt), dy = get(kDy), du_grad = get(kUGrad);
            Vec<W> u_grad = dt * du_grad;
            if (skips) u_grad += skip * dy;
            Vec<W> dt_grad = get(kDtGrad) * kLn2 + u * du_grad;
            // The softplus' derivative, from its value.
            if (softplus) dt_grad *= one_minus_exp_neg<W>(dt);
            skip_grad += dy * u;
            bias_sum += dt_grad;
            store_lanes<W>(to[0].at(i), u_grad, out_lanes);
            store_lanes<W>(to[1].at(i), dt_grad, out_lanes);
            if (gated) {
                Vec<W> z_grad = get(kGateGrad) * get(kY);
                if (adds) z_grad += load_lanes<W>(partial.at(i), lanes);
                if (leaves) {
                    store_lanes<W>(partial.at(i), z_grad, lanes);
                } else {
                    store_lanes<W>(to[2].at(i), z_grad, out_lanes);
                }
            }
        }
        for (int k = 0; k < (leaves ? 2 : 3); ++k) write_floats<W>(scan, *arrays[k], place, to[k]);
        store<W>(D_grad + g * W, skip_grad);
        store<W>(bias_grad + g * W, bias_sum);
    }
}

// The block's part of the gradients of B and C in one chunk: what `sweep` added up, to rows.
template <int W>
RS4D_INLINE void store_sums(const Scan& scan, const Direction& direction, std::int64_t first_step,
                            std::int64_t steps, const float* sums, float* B, float* C) {
    for (std::int64_t i = 0; i < steps; ++i) {
        const std::int64_t step = first_step + i;
        const std::int64_t row = (direction.reverse ? scan.length - 1 - step : step) * scan.states;
        for (std::int64_t n = 0; n < scan.states; n += kPair) {
            const Vec<4> sum = fold(load<W>(sums + (n / kPair * kChunk + i) * W));
            for (std::int64_t j = 0; j < kPair && n + j < scan.states; ++j) {
                B[row + n + j] = sum[j];
                C[row + n + j] = sum[kPair + j];
            }
        }
    }
}

// What a tile reads and writes in memory, to be asked for while the tile before it is computed.
constexpr int kBackwardAheads = 7;

RS4D_INLINE void look_ahead(const BackwardTask& task, const TilePlace& place,
                            Ahead (&ahead)[kBackwardAheads]) {
    const Scan& scan = *task.scan;
    const Direction& direction = scan.direction[place.index];
    const DirectionGrads& out = task.grads->direction[place.index];
    const Rows* arrays[kBackwardAheads] = {&direction.u, &direction.delta, &task.grads->y, &out.u,
                                           &out.delta,   &scan.z,          &task.grads->z};
    for (int k = 0; k < kBackwardAheads; ++k) {
        if (place.first_step < 0) continue;
        ahead[k] = ahead_of(scan, *arrays[k], scan.type, direction, place.batch, place.first_step,
                            place.channel);
    }
}

template <int W>
RS4D_INLINE void backward_direction(const BackwardTask& task, std::int64_t index,
                                    std::int64_t batch, std::int64_t block, std::int64_t first,
                                    std::int64_t last, const BackwardScratch<W>& scratch,
                                    float A_largest) {
    constexpr std::int64_t G = BackwardScratch<W>::G;
    const Scan& scan = *task.scan;
    const Direction& direction = scan.direction[index];
    const DirectionGrads& out = task.grads->direction[index];
    const std::int64_t states = scan.states, chunks = chunks_of(scan);
    const std::int64_t padded = padded_channels(scan);
    std::fill(scratch.carry, scratch.carry + (last - first) * states * G, 0.0f);
    for (std::int64_t chunk = chunks - 1; chunk >= 0; --chunk) {
        TilePlace place{index, batch, chunk * kChunk, 0, 0};
        place.steps = std::min(kChunk, scan.length - place.first_step);
        const auto rows = [&](const Rows& array, float* out) __attribute__((always_inline)) {
            with_type(scan.type, [&](auto number) __attribute__((always_inline)) {
                load_rows<decltype(number)>(scan, array, direction, batch, place.first_step,
                                            place.steps, states, out);
            });
        };
        rows(direction.B, scratch.B);
        rows(direction.C, scratch.C);
        std::fill(scratch.sums, scratch.sums + pairs_of(scan) * kChunk * W, 0.0f);
        for (std::int64_t group = 0; group < last - first; ++group) {
            place.channel = (first + group) * G;
            Ahead ahead[kBackwardAheads];
            TilePlace next = place;
            next.channel += G;
            if (group + 1 == last - first) {
                next.channel = first * G;
                next.first_step -= kChunk;
            }
            look_ahead(task, next, ahead);
            const float dt_largest = load_tile<W>(task, place, scratch);
            const float* start =
                direction.boundaries + (batch * chunks + chunk) * states * padded + place.channel;
            const auto run = [&](std::int64_t n, auto count, auto with_y,
                                 auto clamp) __attribute__((always_inline)) {
                const std::int64_t at = (group * states + n) * G;
                sweep<W, decltype(count)::value, decltype(with_y)::value, decltype(clamp)::value>(
                    scratch, states, place.steps, start + n * padded, padded, scratch.B + n,
                    scratch.C + n, scratch.A + at, scratch.A_grad + at, scratch.carry + at,
                    scratch.sums + n / kPair * kChunk * W,
                    n / kPair < kBackwardAheads ? ahead[n / kPair] : Ahead{});
            };
            const std::true_type yes{};
            const std::false_type no{};
            const auto run_all = [&](auto with_y, auto clamp) __attribute__((always_inline)) {
                std::int64_t n = 0;
                for (; n + kPair <= states; n += kPair) {
                    run(n, std::integral_constant<int, kPair>{}, with_y, clamp);
                }
                // Rare: what may be needless saves copies of the code.
                if (n < states) run(n, std::integral_constant<int, 1>{}, yes, yes);
            };
            // As in the forward pass.
            const bool safe = dt_largest * A_largest <= kExp2Safe;
            if (scan.z.data != nullptr) {
                safe ? run_all(yes, no) : run_all(yes, yes);
            } else {
                safe ? run_all(no, no) : run_all(no, yes);
            }
            store_tile<W>(task, place, scratch, scratch.D_grad + group * G,
                          scratch.bias_grad + group * G);
        }
        const std::int64_t part = (block * scan.batch + batch) * scan.length * states;
        store_sums<W>(scan, direction, place.first_step, place.steps, scratch.sums, out.B + part,
                      out.C + part);
    }
}

template <int W>
RS4D_INLINE void backward_task(const BackwardTask& task, std::int64_t number, float* memory) {
    constexpr std::int64_t G = BackwardScratch<W>::G;
    const Scan& scan = *task.scan;
    const ScanGrads& grads = *task.grads;
    const std::int64_t batch = number / grads.blocks, block = number % grads.blocks;
    std::int64_t first, last;
    part_of(groups_of<W>(scan), grads.blocks, block, first, last);
    const BackwardScratch<W> scratch(scan, last - first, memory);
    const std::int64_t size = scan.states * G;
    for (std::int64_t group = first; group < last; ++group) {
        for (int g = 0; g < kGroup; ++g) {
            load_A<W>(scan, group * G + g * W, scratch.A + (group - first) * size + g * W, G);
        }
    }
    typename Simd<W>::I largest{};
    for (std::int64_t i = 0; i < (last - first) * size; i += W) {
        widen<W>(largest, load<W>(scratch.A + i));
    }
    // A_grad, carry, D_grad and bias_grad are adjacent.
    std::fill(scratch.A_grad, scratch.B, 0.0f);
    for (std::int64_t index = 0; index < scan.directions; ++index) {
        backward_direction<W>(task, index, batch, block, first, last, scratch,
                              largest_lane<W>(largest));
    }
    for (std::int64_t group = first; group < last; ++group) {
        for (std::int64_t i = 0; i < G && group * G + i < scan.channels; ++i) {
            const std::int64_t channel = batch * scan.channels + group * G + i;
            const std::int64_t local = (group - first) * G + i;
            if (grads.D != nullptr) grads.D[channel] = scratch.D_grad[local];
            if (grads.delta_bias != nullptr) grads.delta_bias[channel] = scratch.bias_grad[local];
            for (std::int64_t n = 0; n < scan.states; ++n) {
                grads.A[channel * scan.states + n] =
                    scratch.A_grad[(group - first) * size + n * G + i];
            }
        }
    }
}

}  // namespace rs4d
