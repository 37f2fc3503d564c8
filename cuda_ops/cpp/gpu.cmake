# The part that needs CUDA and TensorRT, and the programs.
#
# Both are looked for in the usual places, and where CUDA_HOME and TENSORRT_HOME say. (CMake's own
# FindCUDAToolkit is not in the 3.16 of JetPack 5.)

set(CUDA_HOME /usr/local/cuda CACHE PATH "Where CUDA is installed")
set(TENSORRT_HOME "" CACHE PATH "Where TensorRT is, if it is not installed in the system")
set(ODTK_ARCHITECTURES "" CACHE STRING
    "Compute capabilities to compile the kernels for, such as 72;87; empty takes what nvcc knows")
option(ODTK_FAKES "Link with stand-ins of CUDA and TensorRT, to test the programs without a GPU" OFF)

set(IMAGES ${CMAKE_CURRENT_BINARY_DIR}/kernels)
file(MAKE_DIRECTORY ${IMAGES})

function(require variable what)
  if(NOT ${variable})
    message(FATAL_ERROR "${what} was not found: set CUDA_HOME or TENSORRT_HOME")
  endif()
endfunction()

# The compute capabilities that nvcc compiles for, from Xavier's 7.2 on.
function(known_architectures result)
  execute_process(COMMAND ${NVCC} --version OUTPUT_VARIABLE text)
  string(REGEX MATCH "release ([0-9]+\\.[0-9]+)" ignored "${text}")
  set(version ${CMAKE_MATCH_1})
  set(known 75 80 86)
  if(version VERSION_LESS 13)
    list(INSERT known 0 72)
  endif()
  foreach(pair 11.4=87 11.8=89 11.8=90 12.8=100 12.8=120 13.0=110)
    string(REPLACE "=" ";" pair ${pair})
    list(GET pair 0 least)
    list(GET pair 1 architecture)
    if(version VERSION_GREATER_EQUAL least)
      list(APPEND known ${architecture})
    endif()
  endforeach()
  # A Jetson needs its own GPU's code alone, and compiles slowly.
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL aarch64)
    list(REMOVE_ITEM known 75 80 86 89 90 100 120)
  endif()
  set(${result} ${known} PARENT_SCOPE)
endfunction()

if(ODTK_FAKES)
  add_library(odtk_libraries STATIC ../../tests/cpp/fake/fake_cuda.cpp
              ../../tests/cpp/fake/fake_tensorrt.cpp)
  target_include_directories(odtk_libraries PUBLIC ../../tests/cpp/fake PRIVATE src)
  foreach(kernel decode nms preprocess)
    file(WRITE ${IMAGES}/${kernel}.fatbin "${kernel}")
  endforeach()
else()
  find_path(CUDA_INCLUDE cuda_runtime_api.h HINTS ${CUDA_HOME}/include)
  require(CUDA_INCLUDE "CUDA's cuda_runtime_api.h")
  find_library(CUDART cudart HINTS ${CUDA_HOME}/lib64 ${CUDA_HOME}/lib)
  require(CUDART "CUDA's runtime, libcudart")
  find_library(CUDA_DRIVER cuda HINTS ${CUDA_HOME}/lib64/stubs ${CUDA_HOME}/lib/stubs)
  require(CUDA_DRIVER "The CUDA driver's libcuda, or its stub,")
  find_path(TENSORRT_INCLUDE NvInfer.h HINTS ${TENSORRT_HOME}/include)
  require(TENSORRT_INCLUDE "TensorRT's NvInfer.h")
  find_library(NVINFER NAMES nvinfer libnvinfer.so.8 HINTS ${TENSORRT_HOME} PATH_SUFFIXES lib)
  require(NVINFER "TensorRT's libnvinfer")
  find_library(NVONNXPARSER NAMES nvonnxparser libnvonnxparser.so.8 HINTS ${TENSORRT_HOME}
               PATH_SUFFIXES lib)
  require(NVONNXPARSER "TensorRT's libnvonnxparser")
  find_program(NVCC nvcc HINTS ${CUDA_HOME}/bin)
  require(NVCC "CUDA's compiler, nvcc,")
  add_library(odtk_libraries INTERFACE)
  target_include_directories(odtk_libraries SYSTEM INTERFACE ${CUDA_INCLUDE} ${TENSORRT_INCLUDE})
  target_link_libraries(odtk_libraries INTERFACE ${NVINFER} ${NVONNXPARSER} ${CUDART}
                        ${CUDA_DRIVER})

  if(NOT ODTK_ARCHITECTURES)
    known_architectures(ODTK_ARCHITECTURES)
  endif()
  message(STATUS "Kernels for compute capabilities ${ODTK_ARCHITECTURES}")
  set(CODE)
  foreach(architecture ${ODTK_ARCHITECTURES})
    list(APPEND CODE -gencode arch=compute_${architecture},code=sm_${architecture})
  endforeach()
  # Later GPUs compile the newest one's intermediate code when the program starts.
  list(GET ODTK_ARCHITECTURES -1 NEWEST)
  list(APPEND CODE -gencode arch=compute_${NEWEST},code=compute_${NEWEST})
  file(GLOB CUDA_HEADERS CONFIGURE_DEPENDS ../*.cuh)
  foreach(kernel decode nms preprocess)
    set(source ${CMAKE_CURRENT_SOURCE_DIR}/../${kernel}.cu)
    # -fmad=false: every operation rounds as it does in Python.
    add_custom_command(
      OUTPUT ${IMAGES}/${kernel}.fatbin
      COMMAND ${NVCC} -fatbin -std=c++14 -fmad=false ${CODE} -o ${IMAGES}/${kernel}.fatbin ${source}
      DEPENDS ${source} ${CUDA_HEADERS} VERBATIM)
  endforeach()
endif()

# Each kernel's fat binary becomes a part of the library, so that the host code needs no nvcc.
set(ODTK_IMAGES ${IMAGES})
configure_file(src/gpu/kernel_images.S.in ${IMAGES}/kernel_images.S @ONLY)
set_source_files_properties(
  ${IMAGES}/kernel_images.S PROPERTIES OBJECT_DEPENDS
  "${IMAGES}/decode.fatbin;${IMAGES}/nms.fatbin;${IMAGES}/preprocess.fatbin")

file(GLOB GPU_SOURCES CONFIGURE_DEPENDS src/gpu/*.cpp src/tensorrt/*.cpp src/detect/*.cpp)
# What TensorRT 11 has no more, TensorRT 10 calls deprecated.
set_source_files_properties(src/tensorrt/build_plan.cpp PROPERTIES COMPILE_OPTIONS
                            -Wno-deprecated-declarations)
add_library(odtk STATIC ${GPU_SOURCES} ${IMAGES}/kernel_images.S)
target_include_directories(odtk PUBLIC include PRIVATE src)
target_link_libraries(odtk PUBLIC odtk_host odtk_libraries)

# The plugin that ends plans in detections, which trtexec, Triton, DeepStream and Python load.
file(GLOB PLUGIN_SOURCES CONFIGURE_DEPENDS src/plugin/*.cpp)
add_library(odtk_plugin_objects OBJECT ${PLUGIN_SOURCES})
# IPluginV2DynamicExt is what TensorRT 8.5 and 11 have in common.
target_compile_options(odtk_plugin_objects PRIVATE -Wno-deprecated-declarations)
target_include_directories(odtk_plugin_objects PRIVATE src)
set_target_properties(odtk_plugin_objects PROPERTIES CXX_VISIBILITY_PRESET hidden
                      VISIBILITY_INLINES_HIDDEN ON)
target_link_libraries(odtk_plugin_objects PUBLIC odtk)
add_library(odtk_plugin SHARED $<TARGET_OBJECTS:odtk_plugin_objects>)
# It shares a process with other programs: no more libraries and names than it needs.
target_link_libraries(odtk_plugin PRIVATE odtk -Wl,--as-needed -Wl,--exclude-libs,ALL)

# A project that adds this folder to its own gets the libraries alone.
if(NOT CMAKE_CURRENT_SOURCE_DIR STREQUAL CMAKE_SOURCE_DIR)
  return()
endif()

# Installed programs find a TensorRT that is not installed in the system.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)
add_library(odtk_program STATIC programs/command_line.cpp programs/detector_options.cpp programs/files_apart.cpp
            programs/program.cpp)
target_include_directories(odtk_program PUBLIC programs include)
add_executable(odtk_build programs/odtk_build.cpp $<TARGET_OBJECTS:odtk_plugin_objects>)
target_link_libraries(odtk_build PRIVATE odtk odtk_program)
add_executable(odtk_infer programs/odtk_infer.cpp programs/benchmark.cpp programs/detect_files.cpp
               programs/drawing.cpp programs/dump.cpp)
target_include_directories(odtk_infer PRIVATE src)
target_link_libraries(odtk_infer PRIVATE odtk odtk_program)
add_executable(detect example/detect.cpp)
target_link_libraries(detect PRIVATE odtk)

find_package(OpenCV QUIET COMPONENTS core imgproc videoio)
if(OpenCV_FOUND)
  add_executable(odtk_video programs/odtk_video.cpp)
  target_include_directories(odtk_video PRIVATE src)
  target_include_directories(odtk_video SYSTEM PRIVATE ${OpenCV_INCLUDE_DIRS})
  target_link_libraries(odtk_video PRIVATE odtk odtk_program ${OpenCV_LIBS})
else()
  message(STATUS "OpenCV was not found: odtk_video is left out")
endif()

install(TARGETS odtk_build odtk_infer RUNTIME DESTINATION bin)
if(OpenCV_FOUND)
  install(TARGETS odtk_video RUNTIME DESTINATION bin)
endif()
install(TARGETS odtk odtk_host ARCHIVE DESTINATION lib)
install(TARGETS odtk_plugin LIBRARY DESTINATION lib)
install(FILES include/odtk.h DESTINATION include)
