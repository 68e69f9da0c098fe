// Depthwise causal convolution and SiLU in both directions of a sequence, forward and backward.
//
//   f_t = silu(bias + sum_k w_k x_{t-K+1+k}),   b_t = silu(bias + sum_k w_k x_{t+K-1-k})
//
// with x zero outside of the sequence. A task is a block of rows of one batch element.
#pragma once

#include "scan.h"

namespace rs4d {

constexpr std::int64_t kConvRows = 64;
// Channels of which the forward pass has floats made before it reads them, where they are none.
constexpr std::int64_t kConvStrip = 64;

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
    std::int64_t type;  // that of x, outputs and their gradients
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

// Rows of the sequence as floats, from `channel` on.
struct FloatRows {
    const float* data;
    std::int64_t stride, first, channel;  // data begins with row `first`

    RS4D_INLINE const float* at(std::int64_t row) const { return data + (row - first) * stride; }
};

// `count` channels of rows [first, last), copied into scratch memory.
template <int W>
RS4D_INLINE FloatRows copied_rows(const Conv& conv, std::int64_t batch, std::int64_t first,
                                  std::int64_t last, std::int64_t channel, std::int64_t count,
                                  std::int64_t stride, float* scratch) {
    with_type(conv.type, [&](auto number) __attribute__((always_inline)) {
        for (std::int64_t row = first; row < last; ++row) {
            const auto* from = conv_row<decltype(number)>(conv.x, batch, row) + channel;
            float* to = scratch + (row - first) * stride;
            for (std::int64_t i = 0; i < count; i += W) {
                store<W>(to + i, load_lanes<W>(from + i, count - i));
            }
        }
    });
    return FloatRows{scratch, stride, first, channel};
}

// The convolution at one row and W channels, the first of which is `offset` behind those of x, before
// SiLU; `step` is -1 for the forward direction, whose taps lie in the past, and 1 for the backward one.
// INSIDE: no tap leaves the sequence.
template <int W, bool INSIDE = false>
RS4D_INLINE Vec<W> conv_at(const Conv& conv, const FloatRows& x, std::int64_t taps, std::int64_t row,
                           std::int64_t step, std::int64_t offset, std::int64_t lanes) {
    const std::int64_t channel = x.channel + offset;
    Vec<W> sum = load_channels<W>(conv.bias, channel, lanes);
    for (std::int64_t k = 0; k < taps; ++k) {
        const std::int64_t source = row + step * (taps - 1 - k);
        if (!INSIDE && (source < 0 || source >= conv.length)) continue;
        sum += load_lanes<W>(conv.weight + k * conv.channels + channel, lanes) *
               load_lanes<W>(x.at(source) + offset, lanes);
    }
    return sum;
}

// `count` channels of one row of one direction. Inlined with constant `taps` the loops over them unroll.
template <int W, bool INSIDE>
RS4D_INLINE void conv_to(const Rows& out, std::int64_t step, const Conv& conv, const FloatRows& x,
                         std::int64_t taps, std::int64_t batch, std::int64_t row, std::int64_t count) {
    if (out.data == nullptr) return;
    const std::int64_t to =
        batch * out.batch_stride + (row - conv.first) * out.row_stride + x.channel;
    const auto silu_at = [&](std::int64_t offset,
                             std::int64_t lanes) __attribute__((always_inline)) {
        const Vec<W> z = conv_at<W, INSIDE>(conv, x, taps, row, step, offset, lanes);
        store_as<W>(conv.type, out.data, to + offset, z * sigmoid<W>(z), lanes);
    };
    std::int64_t offset = 0;
    for (; offset + W <= count; offset += W) silu_at(offset, W);
    if (offset < count) silu_at(offset, count - offset);
}

template <int W, bool INSIDE>
RS4D_INLINE void conv_both(const Conv& conv, const FloatRows& x, std::int64_t taps,
                           std::int64_t batch, std::int64_t row, std::int64_t count) {
    conv_to<W, INSIDE>(conv.forward, -1, conv, x, taps, batch, row, count);
    conv_to<W, INSIDE>(conv.backward, 1, conv, x, taps, batch, row, count);
}

// Rows of a strip, with those that the taps reach.
RS4D_INLINE std::int64_t conv_forward_scratch(const Conv& conv) {
    return conv.type == kFloat32 ? 1 : (kConvRows + 2 * (conv.taps - 1)) * kConvStrip;
}

template <int W>
RS4D_INLINE void conv_forward(const ConvForwardTask& task, std::int64_t number, float* scratch) {
    const Conv& conv = *task.conv;
    const std::int64_t batch = number / conv_blocks(conv), halo = conv.taps - 1;
    const std::int64_t first = conv.first + number % conv_blocks(conv) * kConvRows;
    const std::int64_t last = std::min(first + kConvRows, conv.last);
    const std::int64_t from = std::max<std::int64_t>(0, first - halo);
    const std::int64_t to = std::min(last + halo, conv.length);
    const std::int64_t strip = conv.type == kFloat32 ? conv.channels : kConvStrip;
    for (std::int64_t channel = 0; channel < conv.channels; channel += strip) {
        const std::int64_t count = std::min(strip, conv.channels - channel);
        const FloatRows x =
            conv.type == kFloat32
                ? FloatRows{conv_row<float>(conv.x, batch, 0), conv.x.row_stride, 0, 0}
                : copied_rows<W>(conv, batch, from, to, channel, count, kConvStrip, scratch);
        for (std::int64_t row = first; row < last; ++row) {
            if (row < halo || row + halo >= conv.length) {
                conv_both<W, false>(conv, x, conv.taps, batch, row, count);
            } else if (conv.taps == 4) {  // Mamba's
                conv_both<W, true>(conv, x, 4, batch, row, count);
            } else {
                conv_both<W, true>(conv, x, conv.taps, batch, row, count);
            }
        }
    }
}

// Gradients before SiLU of a block's rows and of taps - 1 more on either side, for both directions, and x
// there and taps - 1 further.
RS4D_INLINE std::int64_t conv_backward_scratch(const Conv& conv) {
    return (3 * kConvRows + 8 * (conv.taps - 1)) * 16;
}

template <int W>
RS4D_INLINE void conv_backward(const ConvBackwardTask& task, std::int64_t number, float* scratch) {
    const Conv& conv = *task.conv;
    const ConvGrads& grads = *task.grads;
    const std::int64_t batch = number / conv_blocks(conv), halo = conv.taps - 1;
    const std::int64_t first = number % conv_blocks(conv) * kConvRows;
    const std::int64_t last = std::min(first + kConvRows, conv.length);
    const std::int64_t start = std::max<std::int64_t>(0, first - halo);
    const std::int64_t end = std::min(last + halo, conv.length);
    const std::int64_t x_start = std::max<std::int64_t>(0, start - halo);
    const std::int64_t x_end = std::min(end + halo, conv.length);
    float* inner[2] = {scratch, scratch + (kConvRows + 2 * halo) * W};
    float* x_copy = inner[1] + (kConvRows + 2 * halo) * W;
    const Rows* given[2] = {&conv.forward, &conv.backward};
    const std::int64_t steps[2] = {-1, 1};

    for (std::int64_t channel = 0; channel < conv.channels; channel += W) {
        const std::int64_t lanes = std::min<std::int64_t>(W, conv.channels - channel);
        const FloatRows x =
            copied_rows<W>(conv, batch, x_start, x_end, channel, lanes, W, x_copy);
        for (int side = 0; side < 2; ++side) {
            const Rows& g_rows = *given[side];
            for (std::int64_t row = start; row < end; ++row) {
                const Vec<W> z = conv_at<W>(conv, x, conv.taps, row, steps[side], 0, lanes);
                const Vec<W> s = sigmoid<W>(z);
                const std::int64_t at = batch * g_rows.batch_stride + row * g_rows.row_stride;
                const Vec<W> g = load_as<W>(conv.type, g_rows.data, at + channel, lanes);
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
            const std::int64_t at = batch * grads.x.batch_stride + row * grads.x.row_stride;
            store_as<W>(conv.type, grads.x.data, at + channel, sum, lanes);
        }
        float* weight = grads.weight + number * conv.taps * conv.channels + channel;
        for (std::int64_t k = 0; k < conv.taps; ++k) {
            Vec<W> sum{};
            for (int side = 0; side < 2; ++side) {
                for (std::int64_t row = first; row < last; ++row) {
                    const std::int64_t source = row + steps[side] * (halo - k);
                    if (source < 0 || source >= conv.length) continue;
                    sum += load<W>(inner[side] + (row - start) * W) * load<W>(x.at(source));
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

template <int W>
RS4D_INLINE void exp_loop(const ExpTask& task, std::int64_t, float* scratch) {
    std::fill(scratch, scratch + kExpBuffer, 0.5f);
    for (std::int64_t r = 0; r < task.repeats; ++r) {
        for (std::int64_t i = 0; i < kExpBuffer; i += W) {
            store<W>(scratch + i, exp_of<W, false>(-load<W>(scratch + i)));
        }
    }
}

}  // namespace rs4d
