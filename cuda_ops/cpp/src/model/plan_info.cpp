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
  info.precision = about.model.precision;
  info.backbones = about.model.backbones;
  info.gpu = about.gpu_name + " " + about.gpu_capability;
  info.tensorrt = about.tensorrt;
  info.bytes = about.plan_bytes;
  info.class_names = about.model.class_names;
  info.category_ids = about.model.category_ids;
  return info;
}

}  // namespace odtk
