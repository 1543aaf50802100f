-- Health of an ApiKey in Argo CD. A key that is refused is Degraded; one that waits for something that comes by itself is
-- Progressing; everything else is at rest, and Healthy: a key that was revoked or suspended, or has expired, is what was
-- asked for. Suspended would fit in name, but Argo CD waits for such a resource as for one that is Progressing, so that a
-- suspended key would hold up every later sync wave.

local function health(status, message)
  return {status = status, message = message}
end

local function explained(condition)
  return condition.reason .. ": " .. condition.message
end

local labels = obj.metadata.labels or {}
if labels["keys.nexuscommerce.io/canary"] ~= nil then
  return health("Healthy", "The verifiers' canary is no key.")
end

local status = obj.status or {}
if status.observedGeneration ~= obj.metadata.generation then
  return health("Progressing", "The controller has not seen the latest change yet.")
end

local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(name, value)
  return conditions[name] ~= nil and conditions[name].status == value
end

if is("Stalled", "True") then
  return health("Degraded", explained(conditions.Stalled))
end
if is("Reconciling", "True") then
  return health("Progressing", explained(conditions.Reconciling))
end
for _, name in ipairs({"Revoked", "Expired", "Suspended", "Ready"}) do
  if is(name, "True") then
    return health("Healthy", explained(conditions[name]))
  end
end
return health("Healthy", "The key is in the state that was asked for.")
