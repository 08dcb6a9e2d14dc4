-- A gateway that is started again asks workers whose handlers still answer for its
-- predecessor: nobody gets what was meant for somebody else.
local loop = require "loop"
local process = require "process"
local tcp = require "tcp"
local testbed = require "testbed"

-- Ann's handler ends while Eve's waits, and its answer leaves in front of Eve's.
local script = [[
Events = {}
local eve, ann_has_ended

local function decide(path, ann, other)
  Log.notice("decides " .. path)
  if path == "/ann" then
    while not eve do Timer.sleep(0.02) end
    ann_has_ended = true
    return ann
  end
  eve = true
  while not ann_has_ended do Timer.sleep(0.02) end
  Timer.sleep(0.1)
  return other
end

function Events.onRequest(request) return decide(request.path, "Ann's secret", "for Eve") end
function Events.onHandshake(request) return decide(request.path, { uid = "ann" }, false) end
function Events.onConnect(id) Gateway.sendToCurrentClient("you are " .. tostring(Gateway.getUidByClientId(id))) end
]]

local UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" ..
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
local PLAIN = "Connection: close\r\n\r\n"

--- What Eve gets, who asks the next gateway while Ann's handler runs on.
local function ask(headers)
  local app = testbed.new { script = script, gateways = { { listen = "websocket" } }, workers = { count = 1 } }
  app:up(60)
  local function get(path)
    local ok, client = pcall(tcp.connect, app.port[1])
    if not ok then return nil end
    client:send("GET " .. path .. " HTTP/1.1\r\nHost: x\r\n" .. headers)
    return client
  end
  get "/ann"
  app:wait_log("decides /ann", 60)
  local before = app:pids "gateway"[1]
  process.run { "kill", "-9", tostring(before) }
  loop.poll("the end of the gateway", function() return app:pids("gateway")[1] ~= before end, 60)
  local eve = loop.poll("the next gateway", function() return get "/eve" end, 60)
  app:wait_log("decides /eve", 60)
  local answer = eve:wait_end(60)
  app:stop()
  app:remove()
  return answer
end

describe("a gateway's successor", function()
  it("gives nobody the answer to another's request", function()
    local answer = ask(PLAIN)
    assert.truthy(answer:find("for Eve", 1, true), answer)
    assert.falsy(answer:find("Ann", 1, true), answer)
  end)

  it("lets nobody in for what another's handshake said", function()
    local answer = ask(UPGRADE)
    assert.truthy(answer:find "^HTTP/1.1 403", answer)
    assert.falsy(answer:find("you are", 1, true), answer)
  end)
end)
