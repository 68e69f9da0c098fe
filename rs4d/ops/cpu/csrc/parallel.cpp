// Threads come from the OpenMP runtime that PyTorch has loaded, whose entry point the loader hands
// over. A pool of our own would compete with it: its idle workers spin for a while after each of
// PyTorch's operators, on the very cores that ours need. Where there is no such entry point, threads
// are started for each call and end with it.
#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

namespace rs4d {
namespace {

// libgomp's documented ABI, also exported by LLVM's and Intel's runtimes.
using ParallelEntry = void (*)(void (*)(void*), void*, unsigned, unsigned);
ParallelEntry parallel_entry = nullptr;

struct Job {
    Task task;
    const void* context;
    std::int64_t count;
    std::size_t scratch_bytes;
    std::atomic<std::int64_t> next{0};
};

void work(void* pointer) {
    Job& job = *static_cast<Job*>(pointer);
    if (job.next.load() >= job.count) return;
    float* scratch = static_cast<float*>(std::aligned_alloc(64, job.scratch_bytes));
    if (scratch == nullptr) {
        return;
    }
    for (std::int64_t i = job.next++; i < job.count; i = job.next++) {
        job.task(job.context, i, scratch);
    }
    std::free(scratch);
}

void run_on_own_threads(Job& job, std::int64_t threads) {
    std::vector<std::thread> workers;
    try {
        workers.reserve(threads - 1);
        while (static_cast<std::int64_t>(workers.size()) + 1 < threads) {
            workers.emplace_back(work, &job);
        }
    } catch (const std::system_error&) {
        // No more threads to be had: those that run, and this one, do the work.
    } catch (const std::bad_alloc&) {
        // The same.
    }
    work(&job);
    for (std::thread& worker : workers) worker.join();
}

}  // namespace

int run_tasks(Task task, const void* context, std::int64_t count, std::int64_t threads,
              std::int64_t scratch) {
    Job job;
    job.task = task;
    job.context = context;
    job.count = count;
    job.scratch_bytes = (static_cast<std::size_t>(scratch) * sizeof(float) / 64 + 1) * 64;
    threads = std::min(threads, count);
    if (threads <= 1) {
        work(&job);
    } else if (parallel_entry != nullptr) {
        parallel_entry(work, &job, static_cast<unsigned>(threads), 0);
    } else {
        run_on_own_threads(job, threads);
    }
    // A worker without memory is no loss while another finished its share.
    return job.next.load() < job.count ? 1 : 0;
}

}  // namespace rs4d

extern "C" __attribute__((visibility("default"))) void rs4d_set_parallel_entry(void* entry) {
    rs4d::parallel_entry = reinterpret_cast<rs4d::ParallelEntry>(entry);
}
