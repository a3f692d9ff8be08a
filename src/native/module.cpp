// The Python module torch_sr._native.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <mutex>

#include "instruction_sets.h"
#include "networks.h"

namespace nb = nanobind;

namespace torch_sr {
namespace {

using Weights = nb::ndarray<const float, nb::numpy, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Vector = nb::ndarray<const float, nb::numpy, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Images = nb::ndarray<float, nb::numpy, nb::ndim<4>, nb::c_contig, nb::device::cpu>;

std::vector<Parameters> to_parameters(const std::vector<Weights>& weights,
                                      const std::vector<Vector>& biases) {
  if (weights.empty() || weights.size() != biases.size())
    throw nb::value_error("there must be one bias for each weight");
  std::vector<Parameters> parameters;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const Weights& w = weights[i];
    if (w.shape(2) != 3 || w.shape(3) != 3 || biases[i].shape(0) != w.shape(0))
      throw nb::value_error("weights must be (out, in, 3, 3), and biases (out,)");
    parameters.push_back({w.data(), biases[i].data(), int(w.shape(0)), int(w.shape(1))});
  }
  return parameters;
}

// A network with its threads. Calls from several threads wait for each other.
class NativeNetwork {
 public:
  NativeNetwork(std::unique_ptr<Network> network, int threads, const std::string& instruction_set)
      : network_(std::move(network)),
        kernels_(instruction_set.empty() ? *available_kernels().front()
                                         : find_kernels(instruction_set)),
        pool_(std::max(1, threads)) {}

  Images run(const Images& images) {
    const int height = int(images.shape(2)), width = int(images.shape(3));
    const Network& network = *network_;
    if (images.shape(1) != std::size_t(network.in_channels) || height < 1 || width < 1)
      throw nb::value_error("images must be (N, channels of the network, height, width)");
    const std::size_t number = images.shape(0), scale = network.scale_factor;
    const std::size_t in_size = std::size_t(network.in_channels) * height * width;
    const std::size_t out_size = std::size_t(network.out_channels) * height * width * scale * scale;
    auto result = std::make_unique<Buffer>(number * out_size);
    {
      nb::gil_scoped_release release;
      std::lock_guard<std::mutex> lock(mutex_);
      for (std::size_t i = 0; i < number; ++i)
        network.run(kernels_, pool_, images.data() + i * in_size, height, width,
                    result->data() + i * out_size);
    }
    float* data = result->data();
    nb::capsule owner(result.release(), [](void* p) noexcept { delete static_cast<Buffer*>(p); });
    return Images(data, {number, std::size_t(network.out_channels), height * scale, width * scale},
                  owner);
  }

  const char* instruction_set() const { return kernels_.name; }
  int threads() const { return pool_.size(); }

 private:
  std::unique_ptr<Network> network_;
  const Kernels& kernels_;
  ThreadPool pool_;
  std::mutex mutex_;
};

std::vector<std::string> instruction_sets() {
  std::vector<std::string> names;
  for (const Kernels* kernels : available_kernels()) names.emplace_back(kernels->name);
  return names;
}

}  // namespace
}  // namespace torch_sr

NB_MODULE(_native, m) {
  using namespace torch_sr;
  // Threads of a program may still compute when it ends, and then hold networks.
  nb::set_leak_warnings(false);
  m.def("instruction_sets", &instruction_sets);
  nb::class_<NativeNetwork>(m, "NativeNetwork")
      .def_static(
          "rrdb_net",
          [](const std::vector<Weights>& weights, const std::vector<Vector>& biases,
             int rrdb_channels, int growth_channels, int num_basic_blocks, int num_dense_blocks,
             int num_residual_blocks, float residual_scaling, bool use_subpixel_conv,
             const std::vector<int>& upscaling_steps, int threads,
             const std::string& instruction_set) {
            const RRDBConfig config{rrdb_channels,     growth_channels,     num_basic_blocks,
                                    num_dense_blocks,  num_residual_blocks, residual_scaling,
                                    use_subpixel_conv, upscaling_steps};
            return new NativeNetwork(make_rrdb_net(config, to_parameters(weights, biases)), threads,
                                     instruction_set);
          },
          nb::arg("weights"), nb::arg("biases"), nb::kw_only(), nb::arg("rrdb_channels"),
          nb::arg("growth_channels"), nb::arg("num_basic_blocks"), nb::arg("num_dense_blocks"),
          nb::arg("num_residual_blocks"), nb::arg("residual_scaling"), nb::arg("use_subpixel_conv"),
          nb::arg("upscaling_steps"), nb::arg("threads"), nb::arg("instruction_set") = "")
      .def_static(
          "compact_net",
          [](const std::vector<Weights>& weights, const std::vector<Vector>& biases,
             const std::vector<Vector>& slopes, int scale_factor, int threads,
             const std::string& instruction_set) {
            std::vector<const float*> pointers;
            for (std::size_t i = 0; i < slopes.size(); ++i) {
              if (i >= weights.size() || slopes[i].shape(0) != weights[i].shape(0))
                throw nb::value_error("there must be one slope for each channel");
              pointers.push_back(slopes[i].data());
            }
            return new NativeNetwork(
                make_compact_net(scale_factor, to_parameters(weights, biases), pointers), threads,
                instruction_set);
          },
          nb::arg("weights"), nb::arg("biases"), nb::arg("slopes"), nb::kw_only(),
          nb::arg("scale_factor"), nb::arg("threads"), nb::arg("instruction_set") = "")
      .def("__call__", &NativeNetwork::run, nb::arg("images"))
      .def_prop_ro("instruction_set", &NativeNetwork::instruction_set)
      .def_prop_ro("threads", &NativeNetwork::threads);
}
