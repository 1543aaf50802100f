-- Health of a Tenant in Argo CD. One that can have no keys is Degraded; everything else that the controller has seen is
-- Healthy: a suspended tenant is what was asked for. For why it isn't Suspended, see apikey-health.lua.

local function health(status, message)
  return {status = status, message = message}
end

local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "The controller has not seen the latest change yet.")
end

local answer = health("Healthy", "The tenant is in the state that was asked for.")
for _, condition in ipairs(status.conditions or {}) do
  local message = condition.reason .. ": " .. condition.message
  if condition.type == "Stalled" and condition.status == "True" then
    return health("Degraded", message)
  end
  if condition.status == "True" then
    answer = health("Healthy", message)
  end
end
return answer
