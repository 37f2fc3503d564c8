// Upsampling outside INT8, for a TensorRT that cannot do it inside.
#pragma once

#include <NvInfer.h>

namespace odtk {

// Gives resizes the tensor that was quantised instead of the dequantised one: TensorRT 8.6 has no
// kernel for a resize between Quantize and Dequantize.
void resize_floats(nvinfer1::INetworkDefinition& network);

}  // namespace odtk
