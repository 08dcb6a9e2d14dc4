-- Five cells whose Redis is killed, frozen, replaced and cut off.
local rounds = require "spec.fault.cells_rounds"

describe("five cells and what joins them", function()
  local played = rounds.prepare "redis"

  setup(function() played:play(rounds.redis) end)
  teardown(function() played:remove() end)

  for _, entry in ipairs(rounds.redis) do
    it("account for all that crossed after " .. entry[1], function()
      if played.reason then pending(played.reason) end
      played:check(entry[2])
    end)
  end

  it("end in order afterwards", function()
    if played.reason then pending(played.reason) end
    played:check "stop"
  end)
end)
