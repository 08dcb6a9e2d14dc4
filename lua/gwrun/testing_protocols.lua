-- A client's side of each protocol, for gwrun.testing: bytes to messages and
-- back. A protocol has
--
--   greeting(options)  the bytes that a connection begins with
--   encode(text, binary)  a message as bytes
--   feed(client, data)  takes what came: client:message(text, binary),
--                       client:reply(bytes), client:ended(code, reason); binary
--                       is nil where messages have no types
local M = {}

-- Lines; a message has none in it.

M.text = {}

function M.text.greeting() return "" end

function M.text.encode(text) return text .. "\n" end

function M.text.feed(client, data)
  client.rest = client.rest .. data
  local from = 1
  for line, next_line in client.rest:gmatch "([^\n]*)\n()" do
    client:message(line)
    from = next_line
  end
  client.rest = client.rest:sub(from)
end

-- A length of four bytes, which counts itself.

M.frame = {}

M.frame.greeting = M.text.greeting

function M.frame.encode(text) return (">I4"):pack(#text + 4) .. text end

function M.frame.feed(client, data)
  client.rest = client.rest .. data
  while #client.rest >= 4 do
    local length = (">I4"):unpack(client.rest)
    if #client.rest < length then return end
    client:message(client.rest:sub(5, length))
    client.rest = client.rest:sub(length + 1)
  end
end

-- Whatever arrives.

M.tcp = {}

M.tcp.greeting = M.text.greeting

function M.tcp.encode(text) return text end

function M.tcp.feed(client, data)
  if data ~= "" then client:message(data) end
end

-- WebSocket (RFC 6455).

M.websocket = {}

local CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

-- A mask of zeros is one, too: the bytes stay as they are.
local function frame(opcode, text)
  local size = #text
  local head
  if size < 126 then
    head = ("BB"):pack(0x80 | opcode, 0x80 | size)
  elseif size < 65536 then
    head = (">BBI2"):pack(0x80 | opcode, 0x80 | 126, size)
  else
    head = (">BBI8"):pack(0x80 | opcode, 0x80 | 127, size)
  end
  return head .. "\0\0\0\0" .. text
end

function M.websocket.greeting(options)
  local lines = {
    ("GET %s HTTP/1.1"):format(options.path or "/"),
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: Z3dydW4ncyBvd24ga2V5IQ==",
  }
  local given = {}
  for name, value in pairs(options.headers or {}) do
    given[name:lower()] = true
    lines[#lines + 1] = name .. ": " .. value
  end
  if not given.host then table.insert(lines, 2, "Host: 127.0.0.1") end
  if options.subprotocol then
    lines[#lines + 1] = "Sec-WebSocket-Protocol: " .. options.subprotocol
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

function M.websocket.encode(text, binary) return frame(binary and BINARY or TEXT, text) end

function M.websocket.ping(text) return frame(PING, text) end

function M.websocket.goodbye(code, reason)
  return frame(CLOSE, code and (">I2"):pack(code) .. (reason or "") or "")
end

-- Names in lower case; set-cookie is a list.
local function parse_headers(head)
  local headers = {}
  for name, value in head:gmatch "\r\n([^:\r]+):[ \t]*([^\r]*)" do
    name = name:lower()
    if name == "set-cookie" then
      headers[name] = headers[name] or {}
      table.insert(headers[name], value)
    else
      headers[name] = value
    end
  end
  return headers
end

-- The answer to the greeting.
local function take_answer(client)
  local head, rest = client.rest:match "^(.-\r\n)\r\n(.*)$"
  if not head then return false end
  client.status = tonumber(head:match "^HTTP/1%.1 (%d+)")
  client.headers = parse_headers(head)
  client.subprotocol = client.headers["sec-websocket-protocol"]
  if client.status == 101 then
    client.upgraded, client.rest = true, rest
    return true
  end
  client.body = rest
  return false
end

local function take_frame(client, opcode, text, final)
  if opcode == PING then
    if not client.frozen then client:reply(frame(PONG, text)) end
  elseif opcode == CLOSE then
    if not client.said_goodbye then client:reply(frame(CLOSE, text:sub(1, 2))) end
    if #text >= 2 then
      client:ended((">I2"):unpack(text), text:sub(3))
    else
      client:ended(1005, "")
    end
  elseif opcode < CLOSE then
    if opcode ~= CONTINUATION then client.binary = opcode == BINARY end
    client.pieces[#client.pieces + 1] = text
    if not final then return end
    client:message(table.concat(client.pieces), client.binary)
    client.pieces = {}
  end
end

-- One frame, or false when it is not whole yet.
local function next_frame(client)
  local data = client.rest
  if #data < 2 then return false end
  local first, size = data:byte(1, 2)
  local from = 3
  if size == 126 then
    if #data < 4 then return false end
    size, from = (">I2"):unpack(data, 3)
  elseif size == 127 then
    if #data < 10 then return false end
    size, from = (">I8"):unpack(data, 3)
  end
  if #data < from + size - 1 then return false end
  client.rest = data:sub(from + size)
  take_frame(client, first & 15, data:sub(from, from + size - 1), first >= 0x80)
  return true
end

-- Requests (RFC 9112): the answer to one.

M.http = {}

function M.http.greeting() return "" end

function M.http.encode(text) return text end

function M.http.feed(client, data)
  client.rest = client.rest .. data
  local head, body = client.rest:match "^(.-\r\n)\r\n(.*)$"
  if not head then return end
  client.status = tonumber(head:match "^HTTP/1%.1 (%d+)")
  client.headers = parse_headers(head)
  client.body = body
  client.answered = client.headless or #body >= tonumber(client.headers["content-length"] or 0)
end

-- Event streams: what an EventSource makes of them.

M.sse = {}

function M.sse.greeting(options)
  local lines = { ("GET %s HTTP/1.1"):format(options.path or "/"), "Connection: close" }
  local given = {}
  for name, value in pairs(options.headers or {}) do
    given[name:lower()] = true
    lines[#lines + 1] = name .. ": " .. value
  end
  if not given.host then table.insert(lines, 2, "Host: 127.0.0.1") end
  if not given.accept then lines[#lines + 1] = "Accept: text/event-stream" end
  return table.concat(lines, "\r\n") .. "\r\n\r\n"
end

function M.sse.encode() error("a client with an event stream cannot send", 0) end

-- One event; event "close" is gwrun's own word.
local function take_event(client, text)
  local data, event, id = {}, nil, nil
  for line in text:gmatch "[^\n]+" do
    local name, value = line:match "^([^:]*):? ?(.*)$"
    if name == "data" then data[#data + 1] = value end
    if name == "event" then event = value end
    if name == "id" then id = value end
    if name == "" then client.comments = (client.comments or 0) + 1 end
  end
  if #data == 0 then return end
  data = table.concat(data, "\n")
  local code, reason = data:match '^{"code":(%d+),"reason":"(.*)"}$'
  if event == "close" and code then
    client:ended(tonumber(code), reason)
  else
    client:message(data, nil, event, id)
  end
end

function M.sse.feed(client, data)
  client.rest = client.rest .. data
  if not client.upgraded then
    local head, body = client.rest:match "^(.-\r\n)\r\n(.*)$"
    if not head then return end
    client.status = tonumber(head:match "^HTTP/1%.1 (%d+)")
    client.headers = parse_headers(head)
    if client.headers["content-type"] ~= "text/event-stream" then
      client.body = body
      return
    end
    client.upgraded, client.rest = true, body
  end
  local from = 1
  for text, next_one in client.rest:gmatch "(.-\n)\n()" do
    take_event(client, text)
    from = next_one
  end
  client.rest = client.rest:sub(from)
end

function M.websocket.feed(client, data)
  client.rest = client.rest .. data
  if not client.upgraded and not take_answer(client) then return end
  while next_frame(client) do end
end

return M
