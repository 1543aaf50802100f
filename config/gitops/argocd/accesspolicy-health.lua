-- Health of an AccessPolicy in Argo CD. One with a rule that is never in effect is Degraded; everything else that the
-- controller has seen is Healthy.

local function health(status, message)
  return {status = status, message = message}
end

local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "The controller has not seen the latest change yet.")
end

local answer = health("Healthy", "Every rule is in effect.")
for _, condition in ipairs(status.conditions or {}) do
  local message = condition.reason .. ": " .. condition.message
  if condition.type == "Stalled" and condition.status == "True" then
    return health("Degraded", message)
  end
  if condition.type == "Ready" then
    answer = health("Healthy", message)
  end
end
return answer
