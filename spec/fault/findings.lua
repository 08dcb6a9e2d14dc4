-- What an accounting found, by kind: how often, and the first examples.
local Findings = {}
Findings.__index = Findings

local EXAMPLES = 4

function Findings:add(kind, example, count)
  local f = self[kind] or { count = 0, examples = {} }
  self[kind] = f
  f.count = f.count + (count or 1)
  if #f.examples < EXAMPLES then f.examples[#f.examples + 1] = example end
end

function Findings:count(kind) return self[kind] and self[kind].count or 0 end

return { new = function() return setmetatable({}, Findings) end }
