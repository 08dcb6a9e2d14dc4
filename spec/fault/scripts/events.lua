-- The script of the laboratory's systems: each callback's beginning and end is a
-- line of the file LOG, appended with one write(), so that what a worker did
-- outlives its kill -9 and the lines of all workers stand in one order.
-- spec/fault/ledger.lua reads it; LOG is set in front of this text.
local LOG = LOG -- luacheck: globals LOG

local worker -- its pid
do
  local file = assert(io.open("/proc/self/stat"))
  worker = tostring(file:read "n")
  file:close()
end
local log = assert(io.open(LOG, "a"))
log:setvbuf "no"

local function note(...) log:write(table.concat({ ... }, " ") .. "\n") end

-- A name that no other send has: a reload begins to count again.
local sends, loaded = 0
do
  local file = assert(io.open "/dev/urandom")
  loaded = ("%08x"):format(string.unpack("I4", file:read(4)))
  file:close()
end
local function mark()
  sends = sends + 1
  return ("%s-%s-%d"):format(worker, loaded, sends)
end

-- A send with a name, and what the script was told.
local function send(target, call, ...)
  local name = mark()
  local ok, _, code = call(target, "o " .. name, ...)
  note("S", worker, name, target, ok and "true" or code)
end

local function pause(milliseconds) Timer.sleep(milliseconds / 1000) end

-- What a message asks for; its answer comes last, in one write with all else.
local actions = {
  echo = function() end,
  pause = function(_, _, milliseconds) pause(milliseconds) end,
  flood = function() pause(2) end,
  compute = function(_, _, seconds) -- holds up all of its worker
    local goal = os.time() + tonumber(seconds)
    while os.time() < goal do end
  end,
  session = function(_, number) _SESSION.n = number end,
  other = function(_, _, target) send(target, Gateway.sendToClient) end,
  ask = function(client_id) Gateway.getSession(client_id) end,
  join = function(client_id, _, group)
    Gateway.joinGroup(client_id, group)
    Gateway.bindUid(client_id, "u" .. client_id)
  end,
}

Events = {}

function Events.onWorkerStart() note("W", worker) end

function Events.onConnect(client_id)
  note("B", worker, "connect", client_id)
  Gateway.sendToCurrentClient("hello " .. client_id)
  note("E", worker, "connect", client_id)
end

function Events.onClientBound(client_id) note("N", worker, "bound", client_id) end

function Events.onMessage(client_id, message)
  local life, number, action, rest = message:match "^(%S+) (%d+) (%a+) ?(%S*)$"
  note("B", worker, "message", client_id, life or "?", number or -1)
  actions[action](client_id, number, rest)
  Gateway.sendToCurrentClient("r " .. number)
  note("E", worker, "message", client_id, life, number)
end

function Events.onClose(client_id, info)
  info = info or {}
  note("B", worker, "close", client_id, info.by or "-", info.cause or "-",
    info.certain == false and "uncertain" or "certain",
    info.session and info.session.n or "-", info.uid or "-", table.concat(info.groups or {}, ","))
  note("E", worker, "close", client_id)
end

function Events.onWorkerStop() note("X", worker) end
