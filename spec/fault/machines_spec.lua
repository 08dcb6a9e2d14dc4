-- Whole systems on machines of their own: cables, lost packets, lost power.
local faults = require "spec.fault.faults"
local net = require "spec.fault.net"
local process = require "process"
local uv = require "luv"

local rounds = {
  { "a cable that is out for a moment", "cable_out" },
  { "links that the kernel destroys", "links_destroyed" },
  { "packets that vanish", "packets_vanish,packets_to_workers_vanish,packets_to_gateways_vanish" },
  { "a machine of workers off and on", "workers_machine_off" },
  { "a cable that is out until the workers are missed", "cable_out_until_noticed" },
}

describe("machines with a cable between them", function()
  local machines, reason = net.add(("gwlab%d"):format(uv.os_getpid()))
  local out = ""

  setup(function()
    if not machines then return end
    local command = machines:clients()
    for _, word in ipairs { "lua5.4", "spec/fault/machines.lua", machines.name } do command[#command + 1] = word end
    for _, entry in ipairs(rounds) do command[#command + 1] = entry[2] end
    local _
    _, out = process.run(command, { seconds = 600, env = { LUA_PATH = "./?.lua;./spec/support/?.lua;;" } })
    for line in out:gmatch "[^\n]+" do
      if line:find "^# " then io.stdout:write(line, "\n") end
    end
  end)

  teardown(function()
    if machines then machines:remove() end
  end)

  local function test(what, body)
    if machines then it(what, body) else pending(what .. " (network namespaces need root: " .. reason .. ")") end
  end

  for _, entry in ipairs(rounds) do
    test("account for every message after " .. entry[1], function()
      assert.is_truthy(out:find(entry[2] .. " ok\n", 1, true), out)
    end)
  end

  test("end in order afterwards", function() assert.is_truthy(out:find("stop ok\n", 1, true), out) end)

  it("have every kind of fault in a round", function()
    local words = ""
    for _, entry in ipairs(rounds) do words = words .. "," .. entry[2] .. "," end
    for _, name in ipairs(faults.names(faults.net)) do
      assert.is_truthy(words:find("," .. name .. ",", 1, true), name)
    end
  end)
end)
