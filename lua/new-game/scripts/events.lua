-- Noughts and crosses: who comes waits for the next one, and they play. The server
-- has the board; pages only show it. Messages are JSON:
--   to a page    {"type":"wait"}  {"type":"state","you":"X","turn":"X","board":"X........"}
--                {"type":"over","winner":"X"}   ("-": nobody; with "left", "late")
--   from a page  {"move":1}, a square from 1 to 9
local json = require "gwrun.json"
local rules = require "rules"

Events = {}

local MOVE_SECONDS = 30

local matches = {} -- by client id
local waiting -- the client id of who waits for a partner

local function send(client_id, packet) Gateway.sendToClient(client_id, json.encode(packet)) end

local function show(match)
  for mark, client_id in pairs(match.players) do
    send(client_id, { type = "state", you = mark, turn = match.turn, board = match.board })
  end
end

local function finish(match, winner, why)
  if match.timer then Timer.del(match.timer) end
  for _, client_id in pairs(match.players) do
    matches[client_id] = nil
    send(client_id, { type = "over", winner = winner, why = why })
  end
end

-- Whose turn it is has so long.
local function watch(match)
  if match.timer then Timer.del(match.timer) end
  match.timer = Timer.once(MOVE_SECONDS, function()
    match.timer = nil
    finish(match, rules.other(match.turn), "late")
  end)
end

local function begin(first, second)
  local match = { players = { X = first, O = second }, board = rules.empty, turn = "X" }
  matches[first], matches[second] = match, match
  watch(match)
  show(match)
end

local function seek(client_id)
  local partner = waiting
  waiting = nil
  if partner then return begin(partner, client_id) end
  waiting = client_id
  send(client_id, { type = "wait" })
end

function Events.onConnect(client_id) seek(client_id) end

function Events.onMessage(client_id, message)
  local packet, match = json.decode(message), matches[client_id]
  if type(packet) ~= "table" then return end
  if not match then
    if packet.again and waiting ~= client_id then seek(client_id) end
    return
  end
  if match.players[match.turn] ~= client_id then return end
  local board = rules.play(match.board, packet.move, match.turn)
  if not board then return end
  match.board, match.turn = board, rules.other(match.turn)
  show(match)
  local winner = rules.winner(board)
  if winner then finish(match, winner) else watch(match) end
end

function Events.onClose(client_id)
  if waiting == client_id then waiting = nil end
  local match = matches[client_id]
  if match then finish(match, match.players.X == client_id and "O" or "X", "left") end
end
