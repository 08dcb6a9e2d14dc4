
-- What the cells' laboratory has behind scripts/events.lua: sends that may cross, each
-- with a name and the time in it, and joins that other cells must reach. What the
-- script was told is a line of the file CROSSINGS.
-- luacheck: globals CELL CROSSINGS actions mark pause
local CELL, CROSSINGS = CELL, CROSSINGS
local crossings = assert(io.open(CROSSINGS, "a"))
crossings:setvbuf "no"

local function record(...)
  crossings:write(table.concat({ ("%.3f"):format(gwrun.now()), ... }, " ") .. "\n")
end

local function said(ok, how, code) return ok and (how == "local" and "local" or "true") or code or tostring(how) end

local function split(text)
  local list = {}
  for word in text:gmatch "[^,]+" do list[#list + 1] = word end
  return list
end

local calls = {
  all = function(message) return Gateway.sendToAll(message) end,
  client = function(message, target) return Gateway.sendToClient(target, message) end,
  uid = function(message, target) return Gateway.sendToUid(target, message) end,
  group = function(message, target) return Gateway.sendToGroup(target, message) end,
  uids = function(message, target) return Gateway.sendToUid(split(target), message) end,
  groups = function(message, target) return Gateway.sendToGroup(split(target), message) end,
}

for kind, call in pairs(calls) do
  actions[kind] = function(_, _, target)
    local name = ("%s-%s-%.3f"):format(CELL, mark(), gwrun.now())
    record("X", name, kind, target == "" and "-" or target, said(call("o " .. name, target)))
    pause(150)
  end
end

function actions.enter(client_id, _, names)
  local list = split(names)
  local uid = table.remove(list, 1)
  local bound = said(Gateway.bindUid(client_id, uid, { wait = true }))
  local joined = said(Gateway.joinGroup(client_id, list, { wait = true }))
  record("J", client_id, uid, table.concat(list, ","), bound, joined)
end

function Events.onCellGone(cell, since) record("G", cell, ("%.3f"):format(since)) end
function Events.onClusterGap(seconds) record("P", "cell" .. CELL, ("%.3f"):format(seconds)) end
