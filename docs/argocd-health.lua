-- Argo CD: how a StreamJob or a StreamSnapshot does. docs/gitops.md says where to put it.
-- The first condition that is True decides; tests/stories/gitops.rs reads these rows.
local rules = {
  {"Stalled", "Degraded"},
  {"Reconciling", "Progressing"},
  {"Suspended", "Suspended"},
  {"Ready", "Healthy"},
}
local waiting = {status = "Progressing", message = "waiting for the operator"}
local status = obj.status
if status == nil or status.observedGeneration ~= obj.metadata.generation then
  return waiting
end
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end
for _, rule in ipairs(rules) do
  local condition = conditions[rule[1]]
  if condition ~= nil and condition.status == "True" then
    return {status = rule[2], message = condition.reason .. ": " .. (condition.message or "")}
  end
end
return waiting
