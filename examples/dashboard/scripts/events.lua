-- A live dashboard: every second one worker takes a sample and sends it to
-- everybody; who comes later gets the last minute. 实时看板。
local json = require "gwrun.json"
local shared = require "gwrun.shared"

Events = {}

local POINTS = 60 -- kept, one a second

-- Where the point of that second lies: the newest overwrites the oldest.
local function slot(second) return "point:" .. second % POINTS end

local function read_file(path)
  local file <close> = assert(io.open(path)) -- /proc answers at once; a disk would not
  return file:read "a"
end

local function load_average() return tonumber(read_file "/proc/loadavg":match "^%S+") end

-- Memory in use, in MiB.
local function memory_used()
  local info = read_file "/proc/meminfo"
  local total = tonumber(info:match "MemTotal:%s+(%d+)")
  return (total - tonumber(info:match "MemAvailable:%s+(%d+)")) // 1024
end

-- Messages since the last sample, of all workers.
local function take_messages()
  local count
  repeat -- until nobody else has counted meanwhile
    count = shared.get "messages"
  until not count or shared.cas("messages", count, 0)
  return count or 0
end

-- What is measured: add a function and a card in www/index.html.
local sources = {
  clients = Gateway.getAllClientIdCount,
  messages = take_messages,
  memory = memory_used,
  load = load_average,
}

local function sample(second)
  local point = { time = second }
  for name, source in pairs(sources) do point[name] = assert(source()) end
  local text = json.encode(point)
  assert(shared.set(slot(second), text, POINTS + 1))
  Gateway.sendToAll('{"type":"point","point":' .. text .. "}")
end

-- All workers try, every second anew, and the first one has it: nothing stops
-- when one of them ends.
local function tick()
  local second = os.time()
  if shared.add("turn:" .. second, 1, 10) then sample(second) end
end

function Events.onWorkerStart() Timer.add(1, tick) end

function Events.onConnect(client_id)
  local now, points = os.time(), {}
  for second = now - POINTS + 1, now do
    points[#points + 1] = shared.get(slot(second)) -- JSON already
  end
  local text = ('{"type":"history","points":[%s]}'):format(table.concat(points, ","))
  Gateway.sendToClient(client_id, text)
end

-- Whatever the page sends is counted; its heartbeat is answered, too.
function Events.onMessage(client_id, message)
  shared.incr "messages"
  local packet = json.decode(message)
  if type(packet) == "table" and packet.type == "ping" then
    Gateway.sendToClient(client_id, '{"type":"pong"}')
  end
end
