#include "networks.h"

#include <stdexcept>
#include <string>

namespace torch_sr {

void check_shapes(const std::vector<Parameters>& parameters, const std::vector<Shape>& expected) {
  if (parameters.size() != expected.size())
    throw std::invalid_argument("the network has " + std::to_string(expected.size()) +
                                " convolutions, not " + std::to_string(parameters.size()));
  for (std::size_t i = 0; i < expected.size(); ++i)
    if (parameters[i].out != expected[i].out || parameters[i].in != expected[i].in)
      throw std::invalid_argument(
          "convolution " + std::to_string(i) + " has " + std::to_string(parameters[i].in) + " to " +
          std::to_string(parameters[i].out) + " channels, not " + std::to_string(expected[i].in) +
          " to " + std::to_string(expected[i].out));
}

}  // namespace torch_sr
