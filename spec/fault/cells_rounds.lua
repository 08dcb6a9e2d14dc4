-- The short rounds of five cells, a list for each spec: every kind of fault is in one of
-- them. Those with a + between them are done at once.
local lab = require "spec.fault.cells_lab"
local net = require "spec.fault.net"
local process = require "process"
local uv = require "luv"

local M = {}

-- What costs nothing stands last: meanwhile scripts are told of what was before.
local free = "cells_cut_from_each_other+cell_cut_from_sentinels+redis_master_cut_from_replica"

M.cells = {
  { "cells that are killed, frozen or cut off for long",
    "cell_killed+cell_frozen_for_long+cell_cut_from_redis_for_long+worker_killed_in_a_cell+reloaded_in_a_cell,"
    .. "master_killed_in_a_cell+cell_stopped_and_started+gateway_killed_in_a_cell+register_killed_in_a_cell,"
    .. "cell_frozen+cell_cut_from_redis+cell_cable_out+worker_ended_in_a_cell,"
    .. "gateway_frozen_in_a_cell+worker_frozen_in_a_cell+all_workers_killed_in_a_cell+packets_to_redis_vanish+packets_from_redis_vanish,"
    .. free },
}

M.redis = {
  { "another master, and what is no harm",
    "redis_master_killed,redis_master_frozen_until_replaced,redis_master_alone_with_two_cells,redis_replica_killed,"
    .. "sentinel_killed" },
  { "a Redis that stops, has lost everything, or does not deliver",
    "redis_frozen_for_long,redis_master_restarted_empty+redis_master_frozen,subscriptions_cut+pubsub_limit_hit" },
}

M.__index = M

--- Machines for the rounds of a list, whose names begin with `name`; where that is not
--- allowed, reason says why.
function M.prepare(name)
  local machines, reason = net.add(("gw%s%d"):format(name, uv.os_getpid()), lab.MACHINES)
  return setmetatable({ machines = machines, out = "",
    reason = not machines and "network namespaces need root: " .. reason }, M)
end

--- Play the rounds, one after the other.
function M:play(rounds)
  if not self.machines then return end
  local command = self.machines:clients()
  for _, word in ipairs { "lua5.4", "spec/fault/cells.lua", self.machines.name, "1" } do command[#command + 1] = word end
  for _, entry in ipairs(rounds) do command[#command + 1] = entry[2] end
  local _
  _, self.out = process.run(command, { seconds = 900, env = { LUA_PATH = "./?.lua;./spec/support/?.lua;;" } })
  for line in self.out:gmatch "[^\n]+" do
    if line:find "^# " then io.stdout:write(line, "\n") end
  end
end

--- Raise what the driver said of that round, and of those behind it, unless it was well.
function M:check(word)
  assert(self.out:find(word .. " ok\n", 1, true), self.out:sub((self.out:find(word .. " broken", 1, true)) or 1))
end

function M:remove()
  if self.machines then self.machines:remove() end
end

return M
