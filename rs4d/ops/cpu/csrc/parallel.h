// Independent tasks over threads.
#pragma once

#include <cstdint>

namespace rs4d {

// A task: its number and scratch memory of the worker that runs it.
using Task = void (*)(const void* context, std::int64_t task, float* scratch);

// Runs tasks 0 ... count-1 on up to `threads` threads, each with `scratch` floats (64-byte aligned,
// not initialised). Which worker runs which task is left to chance; results may not depend on it.
// Returns 0, or 1 where memory ran out and tasks were left undone.
int run_tasks(Task task, const void* context, std::int64_t count, std::int64_t threads,
              std::int64_t scratch);

}  // namespace rs4d
