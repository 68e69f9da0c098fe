// Vectors of W floats and the few functions the kernels need, in the compilers' portable vector
// extension (GCC, Clang). A vector wider than the machine's is split by the compiler.
#pragma once

#include <cstdint>
#include <cstring>

// Kernels are templates that have to be inlined into a function with the right target attribute;
// a call left standing would be compiled for the baseline machine.
#define RS4D_INLINE inline __attribute__((always_inline))

namespace rs4d {

template <int W>
struct Simd {
    typedef float F __attribute__((vector_size(W * sizeof(float))));
    typedef std::int32_t I __attribute__((vector_size(W * sizeof(float))));
    typedef std::uint32_t U __attribute__((vector_size(W * sizeof(float))));
    typedef std::uint16_t H __attribute__((vector_size(W * sizeof(float) / 2)));
};

template <int W>
using Vec = typename Simd<W>::F;

template <int W>
RS4D_INLINE Vec<W> splat(float x) {
    return Vec<W>{} + x;
}

template <int W>
RS4D_INLINE Vec<W> load(const float* p) {
    Vec<W> v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

template <int W>
RS4D_INLINE void store(float* p, Vec<W> v) {
    std::memcpy(p, &v, sizeof v);
}

// A bfloat16: the upper half of a float.
struct Bf16 {
    std::uint16_t bits;
};

template <int W>
RS4D_INLINE Vec<W> load(const Bf16* p) {
    typename Simd<W>::H half;
    std::memcpy(&half, p, sizeof half);
    const auto bits = __builtin_convertvector(half, typename Simd<W>::U) << 16;
    Vec<W> v;
    std::memcpy(&v, &bits, sizeof v);
    return v;
}

// To the nearest, of two equally near ones to the even one; NaN stays.
template <int W>
RS4D_INLINE void store(Bf16* p, Vec<W> v) {
    typename Simd<W>::U bits;
    std::memcpy(&bits, &v, sizeof bits);
    const typename Simd<W>::U rounded = bits + 0x7fff + ((bits >> 16) & 1);
    bits = (bits & 0x7fffffff) > 0x7f800000 ? bits | 0x400000 : rounded;
    const auto half = __builtin_convertvector(bits >> 16, typename Simd<W>::H);
    std::memcpy(p, &half, sizeof half);
}

// A float16 of IEEE 754: 5 bits of exponent, 10 of mantissa.
struct Fp16 {
    std::uint16_t bits;
};

// F16C's instructions are in all targets but the baseline. As assembly, since an intrinsic would have to
// stand in a function of that target; Clang wants that for the assembly's registers, too.
#if defined(__x86_64__) && !defined(__clang__)
constexpr int kNarrowestF16C = 8;
#else
constexpr int kNarrowestF16C = 1 << 30;
#endif

template <int W>
RS4D_INLINE Vec<W> load(const Fp16* p) {
    typename Simd<W>::H half;
    std::memcpy(&half, p, sizeof half);
    Vec<W> v;
    if constexpr (W >= kNarrowestF16C) {
        asm("vcvtph2ps %1, %0" : "=v"(v) : "v"(half));
        return v;
    }
    using U = typename Simd<W>::U;
    const U bits = __builtin_convertvector(half, U), magnitude = bits & 0x7fff;
    // A float's exponents count from 112 more; those of infinity and NaN are the largest in both.
    U wide = (magnitude << 13) + (magnitude < 0x7c00 ? U{} + (112u << 23) : U{} + (224u << 23));
    // Subnormal numbers are multiples of 2^-24, as are the lowest bits from 0.5 on.
    const U above_half = magnitude + 0x3f000000;
    std::memcpy(&v, &above_half, sizeof v);
    v -= 0.5f;
    U small;
    std::memcpy(&small, &v, sizeof small);
    wide = (magnitude < 0x400 ? small : wide) | (bits & 0x8000) << 16;
    std::memcpy(&v, &wide, sizeof v);
    return v;
}

// As for Bf16; what is too large becomes infinite.
template <int W>
RS4D_INLINE void store(Fp16* p, Vec<W> v) {
    typename Simd<W>::H half;
    if constexpr (W >= kNarrowestF16C) {
        asm("vcvtps2ph $0, %1, %0" : "=v"(half) : "v"(v));
    } else {
        using U = typename Simd<W>::U;
        U bits;
        std::memcpy(&bits, &v, sizeof bits);
        const U magnitude = bits & 0x7fffffff;
        U rounded = (magnitude + 0xfff + ((magnitude >> 13) & 1) - (112u << 23)) >> 13;
        rounded = magnitude >= 0x47800000 ? U{} + 0x7c00 : rounded;  // from 2^16 on
        rounded = magnitude > 0x7f800000 ? U{} + 0x7e00 : rounded;   // NaN
        // Below 2^-14 an addition rounds to multiples of 2^-24.
        Vec<W> above_half;
        std::memcpy(&above_half, &magnitude, sizeof above_half);
        above_half += 0.5f;
        U small;
        std::memcpy(&small, &above_half, sizeof small);
        rounded = magnitude < 0x38800000 ? small - 0x3f000000 : rounded;
        half = __builtin_convertvector(rounded | (bits >> 16 & 0x8000), typename Simd<W>::H);
    }
    std::memcpy(p, &half, sizeof half);
}

// The types of numbers that sequences have, in library.py's order.
enum Type : std::int64_t { kFloat32, kBfloat16, kFloat16 };

// Calls a function with a number of a type. It reads or writes; what computes is compiled for floats alone.
template <typename F>
RS4D_INLINE auto with_low_type(std::int64_t type, F function) {
    return type == kBfloat16 ? function(Bf16{}) : function(Fp16{});
}

template <typename F>
RS4D_INLINE auto with_type(std::int64_t type, F function) {
    return type == kFloat32 ? function(float{}) : with_low_type(type, function);
}

// The first `lanes` numbers (any number, also below 0), zeros behind them.
template <int W, typename T>
RS4D_INLINE Vec<W> load_lanes(const T* p, std::int64_t lanes) {
    if (lanes >= W) return load<W>(p);
    T part[W] = {};
    for (std::int64_t i = 0; i < lanes; ++i) part[i] = p[i];
    return load<W>(part);
}

template <int W, typename T>
RS4D_INLINE void store_lanes(T* p, Vec<W> v, std::int64_t lanes) {
    if (lanes >= W) return store<W>(p, v);
    T part[W];
    store<W>(part, v);
    for (std::int64_t i = 0; i < lanes; ++i) p[i] = part[i];
}

// The same with the type of the numbers, and the place of the first one, known only at run time.
template <int W>
RS4D_INLINE Vec<W> load_as(std::int64_t type, const void* data, std::int64_t at, std::int64_t lanes) {
    return with_type(type, [&](auto number) __attribute__((always_inline)) {
        return load_lanes<W>(static_cast<const decltype(number)*>(data) + at, lanes);
    });
}

template <int W>
RS4D_INLINE void store_as(std::int64_t type, void* data, std::int64_t at, Vec<W> v,
                          std::int64_t lanes) {
    with_type(type, [&](auto number) __attribute__((always_inline)) {
        store_lanes<W>(static_cast<decltype(number)*>(data) + at, v, lanes);
    });
}

// Sums of W/4 lanes each: what is left to add is as narrow as the narrowest machine.
RS4D_INLINE Vec<4> fold(Vec<4> v) { return v; }
RS4D_INLINE Vec<4> fold(Vec<8> v) {
    Vec<4> low, high;
    std::memcpy(&low, &v, sizeof low);
    std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
    return low + high;
}
RS4D_INLINE Vec<4> fold(Vec<16> v) {
    Vec<8> low, high;
    std::memcpy(&low, &v, sizeof low);
    std::memcpy(&high, reinterpret_cast<const char*>(&v) + sizeof low, sizeof high);
    return fold(low + high);
}

#if defined(__clang__) || __GNUC__ >= 12
#define RS4D_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define RS4D_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, typename Simd<W>::I{__VA_ARGS__})
#endif

// Lanes of both vectors, alternating: the lower (HIGH: upper) half of each four.
template <bool HIGH, typename V>
RS4D_INLINE V alternate(V a, V b) {
    constexpr int W = sizeof(V) / sizeof(float), H = HIGH ? 2 : 0;
    if constexpr (W == 16) {
        return RS4D_SHUFFLE(a, b, H, H + 16, H + 1, H + 17, H + 4, H + 20, H + 5, H + 21,
                            H + 8, H + 24, H + 9, H + 25, H + 12, H + 28, H + 13, H + 29);
    } else if constexpr (W == 8) {
        return RS4D_SHUFFLE(a, b, H, H + 8, H + 1, H + 9, H + 4, H + 12, H + 5, H + 13);
    } else {
        return RS4D_SHUFFLE(a, b, H, H + 4, H + 1, H + 5);
    }
}

// Of each four lanes, the sums of a's, b's, c's and d's.
template <typename V>
RS4D_INLINE V quarter_sums(V a, V b, V c, V d) {
    const V ac = alternate<false>(a, c) + alternate<true>(a, c);
    const V bd = alternate<false>(b, d) + alternate<true>(b, d);
    return alternate<false>(ac, bd) + alternate<true>(ac, bd);
}

// x = k + f with a whole k and |f| <= 1/2. `shifted` is k + kMagic: adding 1.5 * 2^23 leaves the rounded
// x in the low bits of the mantissa; + 127 is the bias of the exponent, to which a shift moves them.
constexpr float kMagic = 12582912.0f + 127.0f;

template <int W>
struct Exponent {
    Vec<W> shifted, f;

    RS4D_INLINE explicit Exponent(Vec<W> x)
        : shifted(x + splat<W>(kMagic)), f(x - (shifted - splat<W>(kMagic))) {}

    // 2^k, for k from -126 to 127; 0 for -127 and infinity for 128.
    RS4D_INLINE Vec<W> scale() const {
        typename Simd<W>::I bits;
        std::memcpy(&bits, &shifted, sizeof bits);
        bits = bits << 23;
        Vec<W> result;
        std::memcpy(&result, &bits, sizeof result);
        return result;
    }

    // 2^f - 1, minimax on [-0.5, 0.5] in the relative error.
    RS4D_INLINE Vec<W> excess() const {
        Vec<W> p = splat<W>(1.326472614891827e-3f);
        p = p * f + 9.671512991189957e-3f;
        p = p * f + 5.550733581185341e-2f;
        p = p * f + 2.402224242687225e-1f;
        p = p * f + 6.931470036506653e-1f;
        return p * f;
    }
};

// value * 2^k. AVX-512 has an instruction for it, which leaves the multipliers to others.
template <int W>
RS4D_INLINE Vec<W> scaled(Vec<W> value, const Exponent<W>& exponent) {
#if defined(__x86_64__) && !defined(__clang__)
    if constexpr (W == 16) {
        // As assembly, since an intrinsic would have to stand in a function of that target; Clang
        // wants that for the assembly's registers, too.
        const Vec<W> k = exponent.shifted - splat<W>(kMagic);
        Vec<W> result;
        asm("vscalefps %2, %1, %0" : "=v"(result) : "v"(value), "v"(k));
        return result;
    }
#endif
    return value * exponent.scale();
}

// 2^x = scale * (1 + excess), both parts within 1e-7 relative. Keeping the excess apart from the 1
// matters where x is tiny: a decay of 1 - 1e-6 rounded to float would be wrong by 6e-8 at every one
// of 16384 steps. Below -127 the scale is 0, above 128 it is infinite, NaN comes back as excess.
// Without CLAMP the caller knows that |x| <= kExp2Safe, and the result is the same.
constexpr float kExp2Safe = 126.0f;

template <int W, bool CLAMP>
RS4D_INLINE Exponent<W> exponent_of(Vec<W> x) {
    if (CLAMP) {
        const Vec<W> lowest = splat<W>(-127.0f), highest = splat<W>(128.0f);
        x = lowest > x ? lowest : x;  // in this order NaN passes
        x = highest < x ? highest : x;
    }
    return Exponent<W>(x);
}

template <int W, bool CLAMP = true>
RS4D_INLINE void exp2_parts(Vec<W> x, Vec<W>& scale, Vec<W>& excess) {
    const Exponent<W> exponent = exponent_of<W, CLAMP>(x);
    scale = exponent.scale();
    excess = exponent.excess();
}

constexpr float kLog2E = 1.4426950408889634f;
constexpr float kLn2 = 0.6931471805599453f;

template <int W, bool CLAMP = true>
RS4D_INLINE Vec<W> exp_of(Vec<W> x) {
    Vec<W> scale, excess;
    exp2_parts<W, CLAMP>(x * kLog2E, scale, excess);
    return scale * (1.0f + excess);
}

// 1 - exp(-x) without cancellation at small x.
template <int W>
RS4D_INLINE Vec<W> one_minus_exp_neg(Vec<W> x) {
    Vec<W> scale, excess;
    exp2_parts<W>(x * -kLog2E, scale, excess);
    return (1.0f - scale) - scale * excess;
}

template <int W>
RS4D_INLINE Vec<W> sigmoid(Vec<W> x) {
    return 1.0f / (1.0f + exp_of<W>(-x));
}

// log(1 + exp(x)) = max(x, 0) + log1p(v), v = exp(-|x|) in [0, 1]; log1p(v) is v times a polynomial
// (minimax in the relative error, 3e-8), which is faster than one behind a division.
template <int W>
RS4D_INLINE Vec<W> softplus(Vec<W> x) {
    const Vec<W> zero = Vec<W>{};
    const Vec<W> positive = zero > x ? zero : x;
    const Vec<W> v = exp_of<W>(zero > x ? x : -x);
    Vec<W> p = splat<W>(5.2326880395412445e-3f);
    p = p * v - 2.9505213722586632e-2f;
    p = p * v + 7.822591066360474e-2f;
    p = p * v - 1.3663242757320404e-1f;
    p = p * v + 1.9106005132198334e-1f;
    p = p * v - 2.484298199415207e-1f;
    p = p * v + 3.331909775733948e-1f;
    p = p * v - 4.999949336051941e-1f;
    p = p * v + 9.999999403953552e-1f;
    return positive + p * v;
}

// The largest magnitude so far; NaN and infinity stay, as their bits are the largest.
template <int W>
RS4D_INLINE void widen(typename Simd<W>::I& largest, Vec<W> x) {
    typename Simd<W>::I bits;
    std::memcpy(&bits, &x, sizeof bits);
    bits = bits & 0x7fffffff;
    largest = largest > bits ? largest : bits;
}

template <int W>
RS4D_INLINE float largest_lane(typename Simd<W>::I largest) {
    std::int32_t most = 0;
    for (int i = 0; i < W; ++i) most = largest[i] > most ? largest[i] : most;
    float value;
    std::memcpy(&value, &most, sizeof value);
    return value;
}

}  // namespace rs4d
