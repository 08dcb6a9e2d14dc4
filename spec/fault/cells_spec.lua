-- Five cells on machines of their own, joined by Redis: every kind of fault once, by a
-- fixed seed, and the accounts of what crossed.
local faults = require "spec.fault.cells_faults"
local lab = require "spec.fault.cells_lab"
local net = require "spec.fault.net"
local process = require "process"
local uv = require "luv"

-- Those with a + between them are done at once.
local rounds = {
  { "cells that are killed, frozen or cut off for long",
    "cell_killed+cell_frozen_for_long+cell_cut_from_redis_for_long+worker_killed_in_a_cell+reloaded_in_a_cell,"
    .. "master_killed_in_a_cell+cell_stopped_and_started+gateway_killed_in_a_cell+register_killed_in_a_cell" },
  { "what costs nothing",
    "cells_cut_from_each_other+cell_cut_from_sentinels+redis_master_cut_from_replica,redis_replica_killed,sentinel_killed" },
  { "what is over soon",
    "cell_frozen+cell_cut_from_redis+cell_cable_out+worker_ended_in_a_cell,"
    .. "redis_master_frozen+gateway_frozen_in_a_cell+worker_frozen_in_a_cell+all_workers_killed_in_a_cell,"
    .. "packets_to_redis_vanish+packets_from_redis_vanish,subscriptions_cut,pubsub_limit_hit" },
  { "another master",
    "redis_master_killed,redis_master_frozen_until_replaced,redis_master_alone_with_two_cells" },
  { "a Redis that is frozen for long, or has lost everything", "redis_frozen_for_long,redis_master_restarted_empty" },
}

describe("five cells, after", function()
  local machines, reason = net.add(("gwcells%d"):format(uv.os_getpid()), lab.MACHINES)
  local out = ""

  setup(function()
    if not machines then return end
    local command = machines:clients()
    for _, word in ipairs { "lua5.4", "spec/fault/cells.lua", machines.name, "1" } do command[#command + 1] = word end
    for _, entry in ipairs(rounds) do command[#command + 1] = entry[2] end
    local _
    _, out = process.run(command, { seconds = 900, env = { LUA_PATH = "./?.lua;./spec/support/?.lua;;" } })
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

  -- What the driver said of that round and of those behind it.
  local function of(word) return out:sub((out:find(word .. " broken", 1, true)) or 1) end

  for _, entry in ipairs(rounds) do
    test(entry[1] .. ", account for all that crossed", function()
      assert(out:find(entry[2] .. " ok\n", 1, true), of(entry[2]))
    end)
  end

  test("all of that, end in order", function() assert(out:find("stop ok\n", 1, true), of "stop") end)

  it("every kind of fault there is", function()
    local words = ""
    for _, entry in ipairs(rounds) do words = words .. "," .. entry[2]:gsub("+", ",") .. "," end
    for _, name in ipairs(faults.names()) do assert.is_truthy(words:find("," .. name .. ",", 1, true), name) end
  end)
end)
