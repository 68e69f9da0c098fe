// Depthwise causal convolution and SiLU in both directions of a sequence, forward and backward.
//
//   f_t = silu(bias + sum_k w_k x_{t-K+1+k}),   b_t = silu(bias + sum_k w_k x_{t+K-1-k})
//
// with x zero outside of the sequence. A task is a block of rows of one batch element.
#pragma once

#include "scan.h"

namespace rs4d {

constexpr std::int64_t kConvRows = 64;

struct Conv {
    std::int64_t batch, length, channels, taps;
    std::int64_t threads;
    Rows x;
    const float* weight;  // (taps, channels)
    const float* bias;    // (channels) or null
    // Outputs, or their gradients. The forward pass makes rows [first, last) of the sequence, of which
    // the first one is the outputs' first, and leaves out a direction without data.
    Rows forward, backward;
    std::int64_t first, last;
    std::int64_t bfloat16;   // 1: x, outputs and their gradients are Bf16, T below
};

struct ConvGrads {
    Rows x;
    float* weight;  // (batch, row blocks, taps, channels)
    float* bias;    // (batch, row blocks, channels)
};

struct ConvForwardTask {
    const Conv* conv;
};

struct ConvBackwardTask {
    const Conv* conv;
    const ConvGrads* grads;
};

RS4D_INLINE std::int64_t conv_blocks(const Conv& conv) {
    return (conv.last - conv.first + kConvRows - 1) / kConvRows;
}

template <typename T>
RS4D_INLINE T* conv_row(const Rows& rows, std::int64_t batch, std::int64_t row) {
    return static_cast<T*>(rows.data) + batch * rows.batch_stride + row * rows.row_stride;
}

// The convolution at one row and W channels before SiLU; `step` is -1 for the forward direction,
// whose taps lie in the past, and 1 for the backward one. INSIDE: no tap leaves the sequence.
template <int W, typename T, bool INSIDE = false>
RS4D_INLINE Vec<W> conv_at(const Conv& conv, std::int64_t taps, std::int64_t batch,
                           std::int64_t row, std::int64_t step, std::int64_t channel,
                           std::int64_t lanes) {
    Vec<W> sum = load_channels<W>(conv.bias, channel, lanes);
    for (std::int64_t k = 0; k < taps; ++k) {
        const std::int64_t source = row + step * (taps - 1 - k);
        if (!INSIDE && (source < 0 || source >= conv.length)) continue;
        sum += load_lanes<W>(conv.weight + k * conv.channels + channel, lanes) *
               load_lanes<W>(conv_row<T>(conv.x, batch, source) + channel, lanes);
    }
    return sum;
}

// One row of one direction. Inlined with constant `taps` the loops over them unroll.
template <int W, typename T, bool INSIDE>
RS4D_INLINE void conv_to(const Rows& out, std::int64_t step, const Conv& conv, std::int64_t taps,
                         std::int64_t batch, std::int64_t row) {
    if (out.data == nullptr) return;
    T* to = conv_row<T>(out, batch, row - conv.first);
    const auto silu_at = [&](std::int64_t channel,
                             std::int64_t lanes) __attribute__((always_inline)) {
        const Vec<W> z = conv_at<W, T, INSIDE>(conv, taps, batch, row, step, channel, lanes);
        store_lanes<W>(to + channel, z * sigmoid<W>(z), lanes);
    };
    std::int64_t channel = 0;
    for (; channel + W <= conv.channels; channel += W) silu_at(channel, W);
    if (channel < conv.channels) silu_at(channel, conv.channels - channel);
}

template <int W, typename T, bool INSIDE>
RS4D_INLINE void conv_both(const Conv& conv, std::int64_t taps, std::int64_t batch,
                           std::int64_t row) {
    conv_to<W, T, INSIDE>(conv.forward, -1, conv, taps, batch, row);
    conv_to<W, T, INSIDE>(conv.backward, 1, conv, taps, batch, row);
}

template <int W, typename T>
RS4D_INLINE void conv_forward(const ConvForwardTask& task, std::int64_t number, float*) {
    const Conv& conv = *task.conv;
    const std::int64_t batch = number / conv_blocks(conv), halo = conv.taps - 1;
    const std::int64_t first = conv.first + number % conv_blocks(conv) * kConvRows;
    const std::int64_t last = std::min(first + kConvRows, conv.last);
    for (std::int64_t row = first; row < last; ++row) {
        if (row < halo || row + halo >= conv.length) {
            conv_both<W, T, false>(conv, conv.taps, batch, row);
        } else if (conv.taps == 4) {  // Mamba's
            conv_both<W, T, true>(conv, 4, batch, row);
        } else {
            conv_both<W, T, true>(conv, conv.taps, batch, row);
        }
    }
}

// Gradients before SiLU of a block's rows and of taps - 1 more on either side, for both directions.
RS4D_INLINE std::int64_t conv_scratch(const Conv& conv) {
    return 2 * (kConvRows + 2 * (conv.taps - 1)) * 16;
}

template <int W, typename T>
RS4D_INLINE void conv_backward(const ConvBackwardTask& task, std::int64_t number, float* scratch) {
    const Conv& conv = *task.conv;
    const ConvGrads& grads = *task.grads;
    const std::int64_t batch = number / conv_blocks(conv), halo = conv.taps - 1;
    const std::int64_t first = number % conv_blocks(conv) * kConvRows;
    const std::int64_t last = std::min(first + kConvRows, conv.length);
    const std::int64_t start = std::max<std::int64_t>(0, first - halo);
    const std::int64_t end = std::min(last + halo, conv.length);
    float* inner[2] = {scratch, scratch + (kConvRows + 2 * halo) * W};
    const Rows* given[2] = {&conv.forward, &conv.backward};
    const std::int64_t steps[2] = {-1, 1};

    for (std::int64_t channel = 0; channel < conv.channels; channel += W) {
        const std::int64_t lanes = conv.channels - channel;
        for (int side = 0; side < 2; ++side) {
            for (std::int64_t row = start; row < end; ++row) {
                const Vec<W> z = conv_at<W, T>(conv, conv.taps, batch, row, steps[side], channel,
                                            lanes);
                const Vec<W> s = sigmoid<W>(z);
                const Vec<W> g = load_lanes<W>(conv_row<T>(*given[side], batch, row) + channel, lanes);
                store<W>(inner[side] + (row - start) * W, g * s * (1.0f + z * (1.0f - s)));
            }
        }
        for (std::int64_t row = first; row < last; ++row) {
            Vec<W> sum{};
            for (std::int64_t k = 0; k < conv.taps; ++k) {
                const Vec<W> w = load_lanes<W>(conv.weight + k * conv.channels + channel, lanes);
                for (int side = 0; side < 2; ++side) {
                    // The row that this one was a tap of.
                    const std::int64_t reached = row - steps[side] * (halo - k);
                    if (reached < 0 || reached >= conv.length) continue;
                    sum += w * load<W>(inner[side] + (reached - start) * W);
                }
            }
            store_lanes<W>(conv_row<T>(grads.x, batch, row) + channel, sum, lanes);
        }
        float* weight = grads.weight + number * conv.taps * conv.channels + channel;
        for (std::int64_t k = 0; k < conv.taps; ++k) {
            Vec<W> sum{};
            for (int side = 0; side < 2; ++side) {
                for (std::int64_t row = first; row < last; ++row) {
                    const std::int64_t source = row + steps[side] * (halo - k);
                    if (source < 0 || source >= conv.length) continue;
                    sum += load<W>(inner[side] + (row - start) * W) *
                           load_lanes<W>(conv_row<T>(conv.x, batch, source) + channel, lanes);
                }
            }
            store_lanes<W>(weight + k * conv.channels, sum, lanes);
        }
        Vec<W> sum{};
        for (int side = 0; side < 2; ++side) {
            for (std::int64_t row = first; row < last; ++row) {
                sum += load<W>(inner[side] + (row - start) * W);
            }
        }
        store_lanes<W>(grads.bias + number * conv.channels + channel, sum, lanes);
    }
}

// The bound that the scan is measured against: exponentials of a buffer in the first-level cache.
constexpr std::int64_t kExpBuffer = 2048;

struct ExpTask {
    std::int64_t repeats;
};

template <int W, typename>
RS4D_INLINE void exp_loop(const ExpTask& task, std::int64_t, float* scratch) {
    std::fill(scratch, scratch + kExpBuffer, 0.5f);
    for (std::int64_t r = 0; r < task.repeats; ++r) {
        for (std::int64_t i = 0; i < kExpBuffer; i += W) {
            store<W>(scratch + i, exp_of<W, false>(-load<W>(scratch + i)));
        }
    }
}

}  // namespace rs4d
