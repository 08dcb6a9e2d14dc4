-- What bench/count measures: BENCH_CASE names one of these. The garbage is
-- collected when it says so, that no run holds one round more than another.
local cases = {
  echo = function(message) Gateway.sendToCurrentClient(message) end,
  broadcast = function(message) Gateway.sendToAll(message) end,
  session = function(message)
    _SESSION.said = message
    Gateway.sendToCurrentClient(message)
  end,
  session_read = function() Gateway.sendToCurrentClient(_SESSION.key250) end,
}
local run = cases[os.getenv "BENCH_CASE"] or cases.echo
local watcher -- hears of those that leave

Events = {}

collectgarbage "stop"

function Events.onWebSocketConnect(client_id, request)
  if request.get.watch then
    watcher = client_id
    _SESSION = { uid = "4711", name = "Jane Doe", rooms = { "lobby", "news" }, visits = 17 }
    if run == cases.session_read then
      for i = 1, 500 do _SESSION["key" .. i] = i % 2 == 0 and "value " .. i or i end
    end
  end
  Gateway.sendToClient(client_id, "welcome " .. request.get.name)
end

function Events.onMessage(_, message)
  if message == "collect" then
    collectgarbage()
    Gateway.sendToCurrentClient "collected"
  else
    run(message)
  end
end

function Events.onClose()
  Gateway.sendToClient(watcher, "gone")
end
