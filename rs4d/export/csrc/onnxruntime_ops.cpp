// Custom operators of ONNX Runtime over the kernels of rs4d/ops/cpu/csrc: ConvSilu and BidirectionalScan
// of the domain "rs4d", which compute what the ONNX functions of these names in onnx_functions.py do.
//
// Only ONNX Runtime's C API is used, so that a library built with one version's headers also runs in later
// ones. Work runs on the session's own threads.
#include <onnxruntime_c_api.h>

#include <algorithm>
#include <array>
#include <thread>
#include <vector>

#include "parallel.h"
#include "scan.h"

#include "conv_silu.h"

// Entries of kernels.cpp and parallel.cpp.
extern "C" int rs4d_scan_forward(const rs4d::Scan* scan, const rs4d::Rows* y);
extern "C" int rs4d_conv_forward(const rs4d::Conv* conv);
extern "C" void rs4d_set_parallel_entry(void* entry);

namespace {

using Shape = std::vector<std::int64_t>;

// KernelContext_ParallelFor came with version 17.
constexpr std::uint32_t kApiVersion = 17;

const OrtApi* api = nullptr;

// The kernels' threads are those of the session that called last on this thread.
thread_local const OrtKernelContext* current = nullptr;

struct Share {
    void (*work)(void*);
    void* job;
};

void run_share(void* share, std::size_t) {
    static_cast<Share*>(share)->work(static_cast<Share*>(share)->job);
}

void run_in_session(void (*work)(void*), void* job, unsigned threads, unsigned) {
    Share share{work, job};
    OrtStatus* status = api->KernelContext_ParallelFor(current, run_share, threads, threads, &share);
    if (status != nullptr) {  // what is left to do is done here
        api->ReleaseStatus(status);
        work(job);
    }
}

std::int64_t threads() { return std::max(1u, std::thread::hardware_concurrency()); }

struct Tensor {
    float* data = nullptr;
    Shape shape;

    std::int64_t size(std::size_t axis) const { return shape[axis]; }
};

OrtStatus* fail(const char* message) { return api->CreateStatus(ORT_INVALID_ARGUMENT, message); }

OrtStatus* read_input(const OrtKernelContext* context, std::size_t index, std::size_t rank,
                      Tensor& tensor) {
    const OrtValue* value = nullptr;
    if (OrtStatus* status = api->KernelContext_GetInput(context, index, &value)) return status;
    OrtTensorTypeAndShapeInfo* info = nullptr;
    if (OrtStatus* status = api->GetTensorTypeAndShape(value, &info)) return status;
    std::size_t count = 0;
    OrtStatus* status = api->GetDimensionsCount(info, &count);
    if (status == nullptr) {
        tensor.shape.resize(count);
        status = api->GetDimensions(info, tensor.shape.data(), count);
    }
    api->ReleaseTensorTypeAndShapeInfo(info);
    if (status != nullptr) return status;
    if (count != rank) return fail("rs4d: an input has another number of dimensions than it should.");
    return api->GetTensorMutableData(const_cast<OrtValue*>(value),
                                     reinterpret_cast<void**>(&tensor.data));
}

template <std::size_t N>
OrtStatus* read_inputs(const OrtKernelContext* context, const std::array<std::size_t, N>& ranks,
                       std::array<Tensor, N>& tensors) {
    for (std::size_t i = 0; i < N; ++i) {
        if (OrtStatus* status = read_input(context, i, ranks[i], tensors[i])) return status;
    }
    return nullptr;
}

OrtStatus* make_output(OrtKernelContext* context, const Shape& shape, float** data) {
    OrtValue* value = nullptr;
    if (OrtStatus* status = api->KernelContext_GetOutput(context, 0, shape.data(), shape.size(), &value)) {
        return status;
    }
    return api->GetTensorMutableData(value, reinterpret_cast<void**>(data));
}

rs4d::Rows rows_of(const float* data, std::int64_t length, std::int64_t channels) {
    return rs4d::Rows{const_cast<float*>(data), length * channels, channels};
}

OrtStatus* run_kernel(const OrtKernelContext* context, int (*kernel)(const void*), const void* problem) {
    current = context;
    const int failed = kernel(problem);
    current = nullptr;
    return failed ? api->CreateStatus(ORT_FAIL, "rs4d: no memory for the work space of a kernel.")
                  : nullptr;
}

// Inputs: tokens (B, L, at least D), taps (K, D), bias (D). Output: (2, B, L, D).
struct ConvSilu {
    static constexpr const char* kName = "ConvSilu";
    static constexpr std::size_t kInputs = 3;

    static OrtStatus* compute(OrtKernelContext* context) {
        std::array<Tensor, kInputs> in;
        if (OrtStatus* status = read_inputs<kInputs>(context, {3, 2, 1}, in)) return status;
        const auto& [tokens, taps, bias] = in;
        const std::int64_t batch = tokens.size(0), length = tokens.size(1), channels = taps.size(1);
        if (tokens.size(2) < channels || bias.size(0) != channels) {
            return fail("rs4d: the inputs of ConvSilu differ in their channels.");
        }
        float* out = nullptr;
        if (OrtStatus* status = make_output(context, {2, batch, length, channels}, &out)) return status;
        rs4d::Conv conv{};
        conv.batch = batch;
        conv.length = conv.last = length;
        conv.channels = channels;
        conv.taps = taps.size(0);
        conv.threads = threads();
        conv.x = rows_of(tokens.data, length, tokens.size(2));
        conv.weight = taps.data;
        conv.bias = bias.data;
        conv.forward = rows_of(out, length, channels);
        conv.backward = rows_of(out + batch * length * channels, length, channels);
        conv.type = rs4d::kFloat32;
        return run_kernel(
            context, [](const void* c) { return rs4d_conv_forward(static_cast<const rs4d::Conv*>(c)); },
            &conv);
    }
};

struct ScanProblem {
    rs4d::Scan scan;
    rs4d::Rows y;
};

// Inputs: u (2, B, L, D), projected (2, B, L, R + 2 N), delta_weight (R, D), A (N, D), D (D), bias (D),
// tokens (B, L, 2 D), of which the second half is the gate. Output: (B, L, D).
struct BidirectionalScan {
    static constexpr const char* kName = "BidirectionalScan";
    static constexpr std::size_t kInputs = 7;

    static OrtStatus* compute(OrtKernelContext* context) {
        std::array<Tensor, kInputs> in;
        if (OrtStatus* status = read_inputs<kInputs>(context, {4, 4, 2, 2, 1, 1, 3}, in)) return status;
        const auto& [u, projected, delta_weight, A, D, bias, tokens] = in;
        const std::int64_t batch = u.size(1), length = u.size(2), channels = u.size(3);
        const std::int64_t rank = delta_weight.size(0), states = A.size(1), width = projected.size(3);
        if (u.size(0) != 2 || width != rank + 2 * states || delta_weight.size(1) != channels ||
            A.size(0) != channels || D.size(0) != channels || bias.size(0) != channels ||
            tokens.size(2) != 2 * channels) {
            return fail("rs4d: the inputs of BidirectionalScan do not fit one another.");
        }
        ScanProblem problem{};
        float* out = nullptr;
        if (OrtStatus* status = make_output(context, {batch, length, channels}, &out)) return status;
        problem.y = rows_of(out, length, channels);
        rs4d::Scan& scan = problem.scan;
        scan.batch = batch;
        scan.length = length;
        scan.channels = channels;
        scan.states = states;
        scan.threads = threads();
        scan.directions = scan.last = 2;
        scan.softplus = 1;
        scan.scale = 0.5;
        scan.A = A.data;
        scan.D = D.data;
        scan.delta_bias = bias.data;
        scan.delta_rank = rank;
        scan.delta_weight = delta_weight.data;
        scan.type = rs4d::kFloat32;
        scan.z = rows_of(tokens.data, length, 2 * channels);
        scan.z.data = tokens.data + channels;
        scan.partial = problem.y;
        for (std::int64_t i = 0; i < 2; ++i) {
            const float* rows = projected.data + i * batch * length * width;
            rs4d::Direction& direction = scan.direction[i];
            direction.u = rows_of(u.data + i * batch * length * channels, length, channels);
            direction.delta = rows_of(rows, length, width);
            direction.B = rows_of(rows + rank, length, width);
            direction.C = rows_of(rows + rank + states, length, width);
            direction.reverse = i;
        }
        return run_kernel(
            context,
            [](const void* p) {
                const auto* problem = static_cast<const ScanProblem*>(p);
                return rs4d_scan_forward(&problem->scan, &problem->y);
            },
            &problem);
    }
};

// An operator without attributes or state, all of whose inputs and whose output are floats.
template <typename Op>
OrtCustomOp make_op() {
    OrtCustomOp op{};
    op.version = kApiVersion;
    op.GetName = [](const OrtCustomOp*) { return Op::kName; };
    op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };
    op.GetInputTypeCount = [](const OrtCustomOp*) { return Op::kInputs; };
    op.GetInputType = [](const OrtCustomOp*, std::size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
    op.GetOutputTypeCount = [](const OrtCustomOp*) -> std::size_t { return 1; };
    op.GetOutputType = [](const OrtCustomOp*, std::size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
    op.GetInputCharacteristic = [](const OrtCustomOp*, std::size_t) { return INPUT_OUTPUT_REQUIRED; };
    op.GetOutputCharacteristic = [](const OrtCustomOp*, std::size_t) { return INPUT_OUTPUT_REQUIRED; };
    op.GetInputMemoryType = [](const OrtCustomOp*, std::size_t) { return OrtMemTypeDefault; };
    op.CreateKernelV2 = [](const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*,
                           void** kernel) -> OrtStatus* {
        *kernel = nullptr;
        return nullptr;
    };
    op.KernelComputeV2 = [](void*, OrtKernelContext* context) { return Op::compute(context); };
    op.KernelDestroy = [](void*) {};
    op.GetStartVersion = [](const OrtCustomOp*) { return 1; };
    op.GetEndVersion = [](const OrtCustomOp*) { return 1; };
    return op;
}

const OrtCustomOp conv_silu = make_op<ConvSilu>();
const OrtCustomOp bidirectional_scan = make_op<BidirectionalScan>();

}  // namespace

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(
    OrtSessionOptions* options, const OrtApiBase* base) {
    api = base->GetApi(kApiVersion);
    if (api == nullptr) {
        const OrtApi* oldest = base->GetApi(1);
        return oldest->CreateStatus(ORT_FAIL, "rs4d: the custom operators need ONNX Runtime 1.17 or later.");
    }
    rs4d_set_parallel_entry(reinterpret_cast<void*>(run_in_session));
    OrtCustomOpDomain* domain = nullptr;
    if (OrtStatus* status = api->CreateCustomOpDomain("rs4d", &domain)) return status;
    for (const OrtCustomOp* op : {&conv_silu, &bidirectional_scan}) {
        if (OrtStatus* status = api->CustomOpDomain_Add(domain, op)) return status;
    }
    // The session reads the domain as long as it lives, and with it the process.
    return api->AddCustomOpDomain(options, domain);
}
