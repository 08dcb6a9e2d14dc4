-- Five cells that are killed, frozen and cut off, and the accounts of what crossed.
local faults = require "spec.fault.cells_faults"
local rounds = require "spec.fault.cells_rounds"

describe("five cells", function()
  local played = rounds.prepare "cells"

  setup(function() played:play(rounds.cells) end)
  teardown(function() played:remove() end)

  for _, entry in ipairs(rounds.cells) do
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

describe("the short rounds of cells", function()
  it("have every kind of fault", function()
    local words = ""
    for _, list in ipairs { rounds.cells, rounds.redis } do
      for _, entry in ipairs(list) do words = words .. "," .. entry[2]:gsub("+", ",") .. "," end
    end
    for _, name in ipairs(faults.names()) do assert.is_truthy(words:find("," .. name .. ",", 1, true), name) end
  end)
end)
