// Threads that share the items of a loop.

#pragma once

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace torch_sr {

class ThreadPool {
 public:
  // The calling thread is one of them. If the system permits fewer threads, there are fewer.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int size() const { return static_cast<int>(workers_.size()) + 1; }

  // Calls body(item, thread) for every item in [0, count) and returns when all are done. The body
  // must not throw.
  template <class Body>
  void run(int count, Body&& body) {
    run_erased(count, &body, [](void* context, int item, int thread) {
      (*static_cast<std::remove_reference_t<Body>*>(context))(item, thread);
    });
  }

 private:
  using Call = void (*)(void* context, int item, int thread);

  void run_erased(int count, void* context, Call call);
  void take_items(int thread);
  void work(int thread);

  std::vector<std::thread> workers_;
  void* context_ = nullptr;
  Call call_ = nullptr;
  int count_ = 0;
  alignas(64) std::atomic<int> next_{0};
  alignas(64) std::atomic<int> busy_{0};
  alignas(64) std::atomic<unsigned> round_{0};
  std::mutex mutex_;
  std::condition_variable started_, finished_;
  std::atomic<bool> stopping_{false};
};

}  // namespace torch_sr
