#include "thread_pool.h"

#include <system_error>

namespace torch_sr {

namespace {

// About 20 microseconds: two loops of a network follow each other more closely. Sleeping and
// waking takes longer than that.
constexpr int kSpins = 2000;

void pause_briefly() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

template <class Condition>
bool spin_until(Condition&& holds) {
  for (int i = 0; i < kSpins; ++i) {
    if (holds()) return true;
    pause_briefly();
  }
  return false;
}

}  // namespace

ThreadPool::ThreadPool(int threads) {
  for (int thread = 1; thread < threads; ++thread) {
    try {
      workers_.emplace_back([this, thread] { work(thread); });
    } catch (const std::system_error&) {
      return;  // the system permits no more of them
    }
  }
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_.store(true, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
  }
  started_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::run_erased(int count, void* context, Call call) {
  context_ = context;
  call_ = call;
  count_ = count;
  next_.store(0, std::memory_order_relaxed);
  if (workers_.empty() || count < 2) {
    take_items(0);
    return;
  }
  busy_.store(static_cast<int>(workers_.size()), std::memory_order_relaxed);
  {
    // The lock, so that no worker falls asleep between its last look at round_ and its wait.
    std::lock_guard<std::mutex> lock(mutex_);
    round_.fetch_add(1, std::memory_order_release);
  }
  started_.notify_all();
  take_items(0);
  const auto finished = [this] { return busy_.load(std::memory_order_acquire) == 0; };
  if (!spin_until(finished)) {
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, finished);
  }
}

void ThreadPool::take_items(int thread) {
  for (;;) {
    const int item = next_.fetch_add(1, std::memory_order_relaxed);
    if (item >= count_) return;
    call_(context_, item, thread);
  }
}

void ThreadPool::work(int thread) {
  unsigned seen = 0;
  for (;;) {
    const auto started = [this, seen] { return round_.load(std::memory_order_acquire) != seen; };
    if (!spin_until(started)) {
      std::unique_lock<std::mutex> lock(mutex_);
      started_.wait(lock, started);
    }
    ++seen;
    if (stopping_.load(std::memory_order_relaxed)) return;
    take_items(thread);
    if (busy_.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      std::lock_guard<std::mutex> lock(mutex_);
      finished_.notify_one();
    }
  }
}

}  // namespace torch_sr
