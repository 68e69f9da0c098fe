// The C ABI: each entry picks the widest kernel that the machine can run.
#include <atomic>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "conv_silu.h"
#include "parallel.h"
#include "scan_backward.h"
#include "scan_forward.h"

#define RS4D_API extern "C" __attribute__((visibility("default")))

namespace rs4d {
namespace {

// Instruction sets: 0 baseline (SSE2, NEON), 1 AVX2 with FMA and F16C, 2 AVX-512.
int machine_level() {
#if defined(__x86_64__)
    __builtin_cpu_init();
    // Not every compiler's __builtin_cpu_supports knows F16C.
    unsigned eax, ebx, ecx, edx;
    const bool f16c = __get_cpuid(1, &eax, &ebx, &ecx, &edx) && (ecx & bit_F16C) != 0;
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && f16c;
    const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
    return avx2 ? (avx512 ? 2 : 1) : 0;
#else
    return 0;
#endif
}

std::atomic<int> level{machine_level()};

}  // namespace

// Defines name_for(level): kernel<width> for each instruction set.
#if defined(__x86_64__)
#define RS4D_TARGET_1 __attribute__((target("avx2,fma,f16c")))
#define RS4D_TARGET_2 __attribute__((target("avx2,fma,f16c,avx512f,avx512dq,avx512bw,avx512vl")))
#define RS4D_KERNEL(name, kernel, Context)                                          \
    static void name##_0(const void* c, std::int64_t i, float* s) {                 \
        kernel<4>(*static_cast<const Context*>(c), i, s);                           \
    }                                                                               \
    RS4D_TARGET_1 static void name##_1(const void* c, std::int64_t i, float* s) {   \
        kernel<8>(*static_cast<const Context*>(c), i, s);                           \
    }                                                                               \
    RS4D_TARGET_2 static void name##_2(const void* c, std::int64_t i, float* s) {   \
        kernel<16>(*static_cast<const Context*>(c), i, s);                          \
    }                                                                               \
    static Task name##_for(int level) {                                             \
        return level == 2 ? name##_2 : level == 1 ? name##_1 : name##_0;            \
    }
#else
#define RS4D_KERNEL(name, kernel, Context)                                          \
    static void name##_0(const void* c, std::int64_t i, float* s) {                 \
        kernel<4>(*static_cast<const Context*>(c), i, s);                           \
    }                                                                               \
    static Task name##_for(int) { return name##_0; }
#endif

RS4D_KERNEL(scan_forward, forward_task, ForwardTask)
RS4D_KERNEL(scan_backward, backward_task, BackwardTask)
RS4D_KERNEL(conv_forward, conv_forward, ConvForwardTask)
RS4D_KERNEL(conv_backward, conv_backward, ConvBackwardTask)
RS4D_KERNEL(exp_loop, exp_loop, ExpTask)

}  // namespace rs4d

using rs4d::BackwardTask;
using rs4d::ForwardTask;
using rs4d::Rows;
using rs4d::Scan;
using rs4d::ScanGrads;

// To be raised with every change of a structure or of what a function takes; library.py has the same.
RS4D_API int rs4d_abi_version() { return 4; }

RS4D_API int rs4d_simd_level() { return rs4d::level; }

RS4D_API int rs4d_set_simd_level(int level) {
    rs4d::level = std::max(0, std::min(level, rs4d::machine_level()));
    return rs4d::level;
}

RS4D_API std::int64_t rs4d_chunk_steps() { return rs4d::kChunk; }

RS4D_API int rs4d_scan_forward(const Scan* scan, const Rows* y) {
    // Several blocks a thread, so that an uneven end costs little; a channel's result does not
    // depend on its block.
    const std::int64_t vectors = (scan->channels + 15) / 16;
    const std::int64_t wanted = (4 * scan->threads + scan->batch - 1) / scan->batch;
    const ForwardTask task{scan, *y, std::max<std::int64_t>(1, std::min(vectors, wanted))};
    return rs4d::run_tasks(rs4d::scan_forward_for(rs4d::level), &task, scan->batch * task.blocks,
                           scan->threads, rs4d::forward_scratch<16>(*scan, task.blocks));
}

// Blocks for ScanGrads, at most one for 32 channels: the widest kernel's group.
RS4D_API std::int64_t rs4d_scan_blocks(const Scan* scan) {
    const std::int64_t groups = (scan->channels + 31) / 32;
    const std::int64_t wanted = (2 * scan->threads + scan->batch - 1) / scan->batch;
    return std::max<std::int64_t>(1, std::min(groups, wanted));
}

RS4D_API int rs4d_scan_backward(const Scan* scan, const ScanGrads* grads) {
    const BackwardTask task{scan, grads};
    // The widest kernel needs the most.
    const std::int64_t groups = rs4d::groups_of<16>(*scan);
    const std::int64_t scratch = rs4d::BackwardScratch<16>::size(
        *scan, (groups + grads->blocks - 1) / grads->blocks);
    return rs4d::run_tasks(rs4d::scan_backward_for(rs4d::level), &task,
                           scan->batch * grads->blocks, scan->threads, scratch);
}

RS4D_API std::int64_t rs4d_conv_blocks(const rs4d::Conv* conv) { return rs4d::conv_blocks(*conv); }

RS4D_API int rs4d_conv_forward(const rs4d::Conv* conv) {
    const rs4d::ConvForwardTask task{conv};
    return rs4d::run_tasks(rs4d::conv_forward_for(rs4d::level), &task,
                           conv->batch * rs4d::conv_blocks(*conv), conv->threads,
                           rs4d::conv_forward_scratch(*conv));
}

RS4D_API int rs4d_conv_backward(const rs4d::Conv* conv, const rs4d::ConvGrads* grads) {
    const rs4d::ConvBackwardTask task{conv, grads};
    return rs4d::run_tasks(rs4d::conv_backward_for(rs4d::level), &task,
                           conv->batch * rs4d::conv_blocks(*conv), conv->threads,
                           rs4d::conv_backward_scratch(*conv));
}

// Takes tasks * repeats * rs4d_exp_buffer() exponentials.
RS4D_API int rs4d_exp_loop(std::int64_t threads, std::int64_t tasks, std::int64_t repeats) {
    const rs4d::ExpTask task{repeats};
    return rs4d::run_tasks(rs4d::exp_loop_for(rs4d::level), &task, tasks, threads,
                           rs4d::kExpBuffer);
}

RS4D_API std::int64_t rs4d_exp_buffer() { return rs4d::kExpBuffer; }
