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

// Vectors that go through a chunk together: their sums over channels are added before they are
// folded, and their chains of dependent operations overlap.
constexpr int kGroup = 2;

struct BackwardTask {
    const Scan* scan;
    const ScanGrads* grads;
};

template <int W>
RS4D_INLINE std::int64_t groups_of(const Scan& scan) {
    return (scan.channels + kGroup * W - 1) / (kGroup * W);
}

// Scratch memory of one worker, for a block of `groups` groups. G below is kGroup * W channels.
template <int W>
struct BackwardScratch {
    static constexpr std::int64_t G = kGroup * W;
    static constexpr std::int64_t kTile = kChunk * G;

    float *A, *A_grad, *carry, *D_grad, *bias_grad;   // (groups, states, G), ..., (groups, G), ...
    float *dt, *u, *du, *dy, *y, *du_grad, *dt_grad;  // (kChunk, G)
    float *state, *scale, *excess;                    // (kChunk + 1, G), (kChunk, G), ...
    float *B_grad, *C_grad;                           // (states, kChunk, 4)

    static RS4D_INLINE std::int64_t size(const Scan& scan, std::int64_t groups) {
        return groups * (3 * scan.states + 2) * G + 9 * kTile + kTile + G +
               2 * scan.states * kChunk * 4;
    }

    RS4D_INLINE BackwardScratch(const Scan& scan, std::int64_t groups, float* memory) {
        float* next = memory;
        auto take = [&next](std::int64_t count) __attribute__((always_inline)) {
            float* taken = next;
            next += count;
            return taken;
        };
        A = take(groups * scan.states * G);
        A_grad = take(groups * scan.states * G);
        carry = take(groups * scan.states * G);
        D_grad = take(groups * G);
        bias_grad = take(groups * G);
        dt = take(kTile);
        u = take(kTile);
        du = take(kTile);
        dy = take(kTile);
        y = take(kTile);
        du_grad = take(kTile);
        dt_grad = take(kTile);
        state = take(kTile + G);
        scale = take(kTile);
        excess = take(kTile);
        B_grad = take(scan.states * kChunk * 4);
        C_grad = take(scan.states * kChunk * 4);
    }
};

// Where a tile lies: a chunk of one direction of one batch element, and its first channel.
struct TilePlace {
    std::int64_t index, batch, first_step, steps, channel;
};

// dt, u and du of a tile, dy (behind scale and gate) and y's skip part.
template <int W>
RS4D_INLINE void load_tile(const BackwardTask& task, const TilePlace& place,
                           const BackwardScratch<W>& tile) {
    const Scan& scan = *task.scan;
    const Direction& direction = scan.direction[place.index];
    const float factor = static_cast<float>(scan.scale);
    for (int g = 0; g < kGroup; ++g) {
        const std::int64_t channel = place.channel + g * W, lanes = scan.channels - channel;
        const Vec<W> bias = load_channels<W>(scan.delta_bias, channel, lanes);
        const Vec<W> skip = load_channels<W>(scan.D, channel, lanes);
        for (std::int64_t i = 0; i < place.steps; ++i) {
            const std::int64_t step = place.first_step + i, at = i * tile.G + g * W;
            const auto rows = [&](const Rows& array) __attribute__((always_inline)) {
                return load_lanes<W>(row_at(scan, array, direction, place.batch, step) + channel,
                                     lanes);
            };
            const Vec<W> u = rows(direction.u);
            const Vec<W> delta = delta_of<W>(scan, rows(direction.delta), bias);
            store<W>(tile.dt + at, delta);
            store<W>(tile.du + at, delta * u);
            Vec<W> dy = rows(task.grads->y) * factor;
            if (scan.z.data != nullptr) {
                const Vec<W> z = rows(scan.z);
                dy *= z * sigmoid<W>(z);
            }
            store<W>(tile.u + at, u);
            store<W>(tile.dy + at, dy);
            store<W>(tile.y + at, scan.D == nullptr ? Vec<W>{} : skip * u);
            store<W>(tile.du_grad + at, Vec<W>{});
            store<W>(tile.dt_grad + at, Vec<W>{});
        }
    }
}

// One state index of a tile, there and back. C h is added to y where WITH_Y.
template <int W, bool WITH_Y>
RS4D_INLINE void sweep(const BackwardScratch<W>& tile, std::int64_t steps, const float* start,
                       const float* B, std::ptrdiff_t B_step, const float* C, std::ptrdiff_t C_step,
                       const float* A, float* A_grad, float* carry, float* B_grad, float* C_grad,
                       bool first) {
    constexpr std::int64_t G = BackwardScratch<W>::G;
    Vec<W> a[kGroup], h[kGroup];
    for (int g = 0; g < kGroup; ++g) {
        a[g] = load<W>(A + g * W);
        h[g] = load<W>(start + g * W);
        store<W>(tile.state + g * W, h[g]);
    }
    for (std::int64_t i = 0; i < steps; ++i) {
        for (int g = 0; g < kGroup; ++g) {
            const std::int64_t at = i * G + g * W;
            Vec<W> scale, excess;
            exp2_parts<W>(load<W>(tile.dt + at) * a[g], scale, excess);
            const Vec<W> kept = h[g] * scale;
            h[g] = kept * excess + (kept + load<W>(tile.du + at) * B[i * B_step]);
            store<W>(tile.scale + at, scale);
            store<W>(tile.excess + at, excess);
            store<W>(tile.state + at + G, h[g]);
            if (WITH_Y) {
                store<W>(tile.y + at, load<W>(tile.y + at) + h[g] * C[i * C_step]);
            }
        }
    }

    Vec<W> future[kGroup], a_grad[kGroup];
    for (int g = 0; g < kGroup; ++g) {
        future[g] = load<W>(carry + g * W);
        a_grad[g] = load<W>(A_grad + g * W);
    }
    for (std::int64_t i = steps - 1; i >= 0; --i) {
        Vec<W> b_sum{}, c_sum{};
        const float b = B[i * B_step], c = C[i * C_step];
        for (int g = 0; g < kGroup; ++g) {
            const std::int64_t at = i * G + g * W;
            const Vec<W> dy = load<W>(tile.dy + at);
            const Vec<W> grad = dy * c + future[g];
            c_sum += dy * h[g];
            b_sum += grad * load<W>(tile.du + at);
            store<W>(tile.du_grad + at, load<W>(tile.du_grad + at) + grad * b);
            const Vec<W> kept = grad * load<W>(tile.scale + at);
            future[g] = kept * load<W>(tile.excess + at) + kept;
            h[g] = load<W>(tile.state + at);
            const Vec<W> exponent_grad = future[g] * h[g];
            store<W>(tile.dt_grad + at, load<W>(tile.dt_grad + at) + exponent_grad * a[g]);
            a_grad[g] += exponent_grad * load<W>(tile.dt + at);
        }
        const Vec<4> b_part = fold(b_sum), c_part = fold(c_sum);
        store<4>(B_grad + i * 4, first ? b_part : load<4>(B_grad + i * 4) + b_part);
        store<4>(C_grad + i * 4, first ? c_part : load<4>(C_grad + i * 4) + c_part);
    }
    for (int g = 0; g < kGroup; ++g) {
        store<W>(carry + g * W, future[g]);
        store<W>(A_grad + g * W, a_grad[g]);
    }
}

// Gradients of u, delta and z of a tile, and its part of those of D and the bias.
template <int W>
RS4D_INLINE void store_tile(const BackwardTask& task, const TilePlace& place,
                            const BackwardScratch<W>& tile, float* D_grad, float* bias_grad) {
    const Scan& scan = *task.scan;
    const ScanGrads& grads = *task.grads;
    const Direction& direction = scan.direction[place.index];
    const DirectionGrads& out = grads.direction[place.index];
    const float factor = static_cast<float>(scan.scale);
    for (int g = 0; g < kGroup; ++g) {
        const std::int64_t channel = place.channel + g * W, lanes = scan.channels - channel;
        if (lanes <= 0) continue;
        const Vec<W> skip = load_channels<W>(scan.D, channel, lanes);
        Vec<W> skip_grad = load<W>(D_grad + g * W), bias_sum = load<W>(bias_grad + g * W);
        for (std::int64_t i = 0; i < place.steps; ++i) {
            const std::int64_t step = place.first_step + i, at = i * tile.G + g * W;
            const Vec<W> u = load<W>(tile.u + at), dt = load<W>(tile.dt + at);
            const Vec<W> dy = load<W>(tile.dy + at), du_grad = load<W>(tile.du_grad + at);
            const auto row = [&](const Rows& array) __attribute__((always_inline)) {
                return row_at(scan, array, direction, place.batch, step) + channel;
            };
            Vec<W> u_grad = dt * du_grad;
            if (scan.D != nullptr) u_grad += skip * dy;
            Vec<W> dt_grad = load<W>(tile.dt_grad + at) * kLn2 + u * du_grad;
            // The softplus' derivative, from its value.
            if (scan.softplus) dt_grad *= one_minus_exp_neg<W>(dt);
            skip_grad += dy * u;
            bias_sum += dt_grad;
            store_lanes<W>(row(out.u), u_grad, lanes);
            store_lanes<W>(row(out.delta), dt_grad, lanes);
            if (scan.z.data != nullptr) {
                const Vec<W> z = load_lanes<W>(row(scan.z), lanes);
                const Vec<W> gate = sigmoid<W>(z);
                const Vec<W> given = load_lanes<W>(row(grads.y), lanes) * factor;
                Vec<W> z_grad =
                    given * load<W>(tile.y + at) * (gate + z * gate * (1.0f - gate));
                float* z_row = row(grads.z);
                if (place.index > 0) z_grad += load_lanes<W>(z_row, lanes);
                store_lanes<W>(z_row, z_grad, lanes);
            }
        }
        store<W>(D_grad + g * W, skip_grad);
        store<W>(bias_grad + g * W, bias_sum);
    }
}

// The block's part of the gradients of B or C in one chunk: (states, kChunk, 4) to rows.
RS4D_INLINE void store_sums(const Scan& scan, const Direction& direction, std::int64_t first_step,
                            std::int64_t steps, const float* sums, float* rows) {
    for (std::int64_t i = 0; i < steps; ++i) {
        const std::int64_t step = first_step + i;
        float* row = rows + (direction.reverse ? scan.length - 1 - step : step) * scan.states;
        for (std::int64_t n = 0; n < scan.states; ++n) {
            const float* part = sums + (n * kChunk + i) * 4;
            row[n] = (part[0] + part[1]) + (part[2] + part[3]);
        }
    }
}

template <int W>
RS4D_INLINE void backward_direction(const BackwardTask& task, std::int64_t index,
                                    std::int64_t batch, std::int64_t block, std::int64_t first,
                                    std::int64_t last, const BackwardScratch<W>& scratch) {
    constexpr std::int64_t G = BackwardScratch<W>::G;
    const Scan& scan = *task.scan;
    const Direction& direction = scan.direction[index];
    const DirectionGrads& out = task.grads->direction[index];
    const std::int64_t states = scan.states, chunks = chunks_of(scan);
    const std::ptrdiff_t B_step = step_stride(direction.B, direction);
    const std::ptrdiff_t C_step = step_stride(direction.C, direction);
    std::fill(scratch.carry, scratch.carry + (last - first) * states * G, 0.0f);
    for (std::int64_t chunk = chunks - 1; chunk >= 0; --chunk) {
        TilePlace place{index, batch, chunk * kChunk, 0, 0};
        place.steps = std::min(kChunk, scan.length - place.first_step);
        const float* B = row_at(scan, direction.B, direction, batch, place.first_step);
        const float* C = row_at(scan, direction.C, direction, batch, place.first_step);
        for (std::int64_t group = 0; group < last - first; ++group) {
            place.channel = (first + group) * G;
            load_tile<W>(task, place, scratch);
            const std::int64_t padded = padded_channels(scan);
            const float* start =
                direction.boundaries + (batch * chunks + chunk) * states * padded + place.channel;
            for (std::int64_t n = 0; n < states; ++n) {
                const std::int64_t at = (group * states + n) * G, sums = n * kChunk * 4;
                const auto run = [&](auto with_y) __attribute__((always_inline)) {
                    sweep<W, decltype(with_y)::value>(
                        scratch, place.steps, start + n * padded, B + n, B_step, C + n,
                        C_step, scratch.A + at, scratch.A_grad + at, scratch.carry + at,
                        scratch.B_grad + sums, scratch.C_grad + sums, group == 0);
                };
                if (scan.z.data != nullptr) {
                    run(std::true_type{});
                } else {
                    run(std::false_type{});
                }
            }
            store_tile<W>(task, place, scratch, scratch.D_grad + group * G,
                          scratch.bias_grad + group * G);
        }
        const std::int64_t part = (block * scan.batch + batch) * scan.length * states;
        store_sums(scan, direction, place.first_step, place.steps, scratch.B_grad, out.B + part);
        store_sums(scan, direction, place.first_step, place.steps, scratch.C_grad, out.C + part);
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
    // A_grad, carry, D_grad and bias_grad are adjacent.
    std::fill(scratch.A_grad, scratch.dt, 0.0f);
    for (std::int64_t index = 0; index < scan.directions; ++index) {
        backward_direction<W>(task, index, batch, block, first, last, scratch);
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
