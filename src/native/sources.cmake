# The engine without its Python module, for the module and for the tests.
#
# One translation unit for each instruction set; available_kernels() chooses at run time.

set(NATIVE_DIR ${CMAKE_CURRENT_LIST_DIR})
find_package(Threads REQUIRED)

set(NATIVE_SOURCES
  ${NATIVE_DIR}/compact_net.cpp
  ${NATIVE_DIR}/convolution.cpp
  ${NATIVE_DIR}/convolution_chain.cpp
  ${NATIVE_DIR}/dense_block.cpp
  ${NATIVE_DIR}/instruction_sets.cpp
  ${NATIVE_DIR}/networks.cpp
  ${NATIVE_DIR}/outer_convolutions.cpp
  ${NATIVE_DIR}/rrdb_net.cpp
  ${NATIVE_DIR}/thread_pool.cpp
  ${NATIVE_DIR}/winograd_convolution.cpp
)

function(add_kernels name)
  set(source ${NATIVE_DIR}/kernels/kernels_${name}.cpp)
  set(NATIVE_SOURCES ${NATIVE_SOURCES} ${source} PARENT_SCOPE)
  set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "-ffp-contract=fast;${ARGN}")
endfunction()

add_kernels(portable)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  add_kernels(avx2 -mavx2 -mfma)
  add_kernels(avx512 -mavx512f -mavx512dq -mavx512vl -mavx2 -mfma -mprefer-vector-width=512)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64|ARM64")
  add_kernels(neon)
endif()
