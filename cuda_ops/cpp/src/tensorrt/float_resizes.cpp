#include "tensorrt/float_resizes.h"

#include <map>

namespace odtk {

void resize_floats(nvinfer1::INetworkDefinition& network) {
  std::map<const nvinfer1::ITensor*, nvinfer1::ILayer*> made_by;
  for (int i = 0; i < network.getNbLayers(); i++) {
    nvinfer1::ILayer* layer = network.getLayer(i);
    for (int k = 0; k < layer->getNbOutputs(); k++) made_by[layer->getOutput(k)] = layer;
  }
  const auto maker = [&](nvinfer1::ILayer* layer, nvinfer1::LayerType type) {
    const auto found = made_by.find(layer->getInput(0));
    const bool right = found != made_by.end() && found->second->getType() == type;
    return right ? found->second : nullptr;
  };
  for (int i = 0; i < network.getNbLayers(); i++) {
    nvinfer1::ILayer* layer = network.getLayer(i);
    if (layer->getType() != nvinfer1::LayerType::kRESIZE) continue;
    nvinfer1::ILayer* dequantize = maker(layer, nvinfer1::LayerType::kDEQUANTIZE);
    if (dequantize == nullptr) continue;
    nvinfer1::ILayer* quantize = maker(dequantize, nvinfer1::LayerType::kQUANTIZE);
    if (quantize != nullptr) layer->setInput(0, *quantize->getInput(0));
  }
}

}  // namespace odtk
