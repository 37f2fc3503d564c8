#include "model/plan_info.h"

namespace odtk {

PlanInfo plan_info(const Sidecar& about) {
  PlanInfo info;
  info.height = about.model.height;
  info.width = about.model.width;
  info.least_batch = about.batches[0];
  info.tuned_batch = about.batches[1];
  info.greatest_batch = about.batches[2];
  info.classes = about.model.classes;
  info.rotated = about.model.rotated();
  info.ends_in_detections = about.model.ends_in_detections();
  info.precision = about.model.precision;
  info.backbones = about.model.backbones;
  if (about.gpu) info.gpu = about.gpu->name + " " + about.gpu->capability;
  info.tensorrt = about.tensorrt;
  info.bytes = about.plan_bytes;
  info.class_names = about.model.class_names.value_or(std::vector<std::string>());
  info.category_ids = about.model.category_ids.value_or(std::vector<std::string>());
  return info;
}

}  // namespace odtk
