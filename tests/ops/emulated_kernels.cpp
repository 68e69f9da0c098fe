// Calls the kernels for the process that emulated_kernels.py is part of: requests come in by the standard
// input, answers go out by the standard output. What arguments point to lies in one arena, whose address
// is told first.
#include <cstdint>
#include <cstdio>
#include <cstring>

// All arguments are integers or pointers; a function that takes fewer does not see the others.
#define FUNCTIONS(X)                                                                  \
    X(rs4d_abi_version) X(rs4d_set_simd_level) X(rs4d_simd_level) X(rs4d_chunk_steps) \
    X(rs4d_scan_blocks) X(rs4d_scan_forward) X(rs4d_scan_backward) X(rs4d_conv_blocks) \
    X(rs4d_conv_forward) X(rs4d_conv_backward) X(rs4d_exp_loop) X(rs4d_exp_buffer)    \
    X(rs4d_set_parallel_entry)
#define DECLARE(name) extern "C" std::int64_t name(std::int64_t, std::int64_t, std::int64_t);
#define NAMED(name) {#name, name},
FUNCTIONS(DECLARE)

namespace {

struct Named {
    const char* name;
    std::int64_t (*function)(std::int64_t, std::int64_t, std::int64_t);
};

struct Request {
    char name[32];
    std::int64_t arguments[3];
    std::int64_t bytes;  // of the arena, which follow, and which go back behind the result
};

alignas(64) char arena[64 << 20];

}  // namespace

int main() {
    const Named table[] = {FUNCTIONS(NAMED)};
    const char* const address = arena;
    std::fwrite(&address, sizeof address, 1, stdout);
    std::fflush(stdout);
    for (Request request; std::fread(&request, sizeof request, 1, stdin) == 1;) {
        const auto bytes = static_cast<std::size_t>(request.bytes);
        if (bytes > sizeof arena || std::fread(arena, 1, bytes, stdin) != bytes) return 1;
        const Named* found = table;
        while (std::strcmp(found->name, request.name) != 0) ++found;
        const auto [a, b, c] = request.arguments;
        const std::int64_t result = found->function(a, b, c);
        std::fwrite(&result, sizeof result, 1, stdout);
        std::fwrite(arena, 1, bytes, stdout);
        std::fflush(stdout);
    }
}
