-- A gwrun system whose clients send Lua text: it runs in the worker, and what it
-- returns comes back.
local assert = require "luassert"
local cjson = require "cjson"
local tcp = require "tcp"
local testbed = require "testbed"

local M = {}
M.__index = M

local script = [[
local cjson = require "cjson"
cjson.encode_sparse_array(true)
cjson.encode_invalid_numbers "null"
Events = {}
function Events.onMessage(client_id, text)
  local chunk, message = load(text, "=spec")
  local results = chunk and table.pack(pcall(chunk, client_id)) or { false, message, n = 2 }
  local list = {}
  for i = 1, results.n do list[i] = results[i] == nil and cjson.null or results[i] end
  Gateway.sendToCurrentClient(cjson.encode(list))
end
]]

--- options as for testbed.new; prefix is Lua text in front of the script.
function M.start(options)
  options = options or {}
  local self = setmetatable({}, M)
  self.app = testbed.start {
    script = (options.prefix or "") .. script,
    gateways = { { listen = "text" } },
    workers = options.workers,
    config = options.config,
  }
  self.clients = {}
  return self
end

local function connect(self)
  local client = tcp.connect(self.app.port[1])
  self.clients[#self.clients + 1] = client
  return client
end

--- Begin to run the text as another client, which nobody hears of again.
function M:send(text) connect(self):send((text:gsub("\n", " ")) .. "\n") end

--- Begin to run the text as another client; call the result to wait for what it
--- returned (nil is cjson.null there).
function M:begin(text, ...)
  local client = connect(self)
  client:send((#{ ... } > 0 and text:format(...) or text):gsub("%s*%-%-[^\n]*\n", "\n"):gsub("\n", " ") .. "\n")
  return function(seconds)
    local line = client:receive("\n", seconds)
    client:close()
    local results = cjson.decode(line)
    if not results[1] then error(results[2], 2) end
    return table.unpack(results, 2)
  end
end

--- Run the text and return what it returns.
function M:run(text, ...) return self:begin(text, ...)() end

--- Run the expression, which gives nil, a message that matches pattern, and code.
function M:fails(code, pattern, text, ...)
  local none, message, got = self:run("return " .. text, ...)
  assert.equal(cjson.null, none)
  assert.matches(pattern, message)
  assert.equal(code, got)
end

function M:stop()
  for _, client in ipairs(self.clients) do client:close() end
  self.app:stop()
end

return M
