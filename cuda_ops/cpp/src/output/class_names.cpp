#include "output/class_names.h"

#include "text/json.h"

namespace odtk {
namespace {

const std::string* at(const std::vector<std::string>& list, std::int32_t index) {
  const bool known = index >= 0 && static_cast<std::size_t>(index) < list.size();
  return known ? &list[static_cast<std::size_t>(index)] : nullptr;
}

// An id is a string or an integer of any length, which is shown as it is written.
std::string shown_id(const std::string& id) {
  const Json json = parse_json(id);
  const std::string* text = json.get<std::string>();
  return text != nullptr ? *text : id;
}

}  // namespace

std::string class_name(const PlanInfo& info, std::int32_t label) {
  if (const std::string* name = at(info.class_names, label)) return *name;
  const std::string* id = at(info.category_ids, label);
  return "class " + (id != nullptr ? shown_id(*id) : std::to_string(label));
}

}  // namespace odtk
