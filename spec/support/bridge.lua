-- Websocket clients (npm's ws) and Chromium pages, through bridge.js.
local cjson = require "cjson"
local loop = require "loop"
local process = require "process"
local running = require "running"
local uv = require "luv"

local M = {}

local node   -- the bridge process, started on first use
local things = {}
local last_id = 0

M.prefix = {} -- words in front of the bridge's command, such as ip netns exec …

local modules = os.getenv "SPEC_NODE_MODULES" or "spec/node_modules"

--- Why there are no websocket clients or, with "playwright-core", no pages: the npm
--- registry may be out of reach. In CI that is an error.
function M.missing(package)
  if uv.fs_stat(modules .. "/" .. package .. "/package.json") then return nil end
  local message = ("%s/%s is missing (npm install in spec/)"):format(modules, package)
  if os.getenv "CI" then error(message, 0) end
  return message
end

local function start()
  local rest = ""
  local words = table.move(M.prefix, 1, #M.prefix, 1, {})
  node = process.spawn(table.move({ "node", "bridge.js" }, 1, 2, #words + 1, words),
    { cwd = "spec/support", stdin = true, env = { NODE_PATH = uv.fs_realpath(modules) } })
  node.on_output = function(_, data)
    rest = rest .. data
    while true do
      local line, after = rest:match "^([^\n]*)\n(.*)$"
      if not line then return end
      rest = after
      local ok, message = pcall(cjson.decode, line)
      if ok and type(message) == "table" and things[message.id] then
        table.insert(things[message.id].events, message)
      end
    end
  end
end

local function command(message) node:write(cjson.encode(message) .. "\n") end

local Thing = {}
Thing.__index = Thing

local function new(op, url, options)
  local missing = M.missing(op == "page" and "playwright-core" or "ws")
  if missing then running.skip(missing) end
  if not node then start() end
  last_id = last_id + 1
  local self = setmetatable({ id = last_id, events = {}, read = 1 }, Thing)
  things[self.id] = self
  command { id = self.id, op = op, url = url, options = options }
  return self
end

--- The next event, or one that filter(event) accepts (others are skipped).
function Thing:event(filter, seconds)
  local found
  loop.wait(function() return "an event; came: " .. cjson.encode(self.events) .. " " .. node.out:sub(-500) end,
    function()
      while self.read <= #self.events do
        local e = self.events[self.read]
        self.read = self.read + 1
        if not filter or filter(e) then
          found = e
          return true
        end
      end
    end, seconds)
  return found
end

--- The text of the next message that holds the plain text (any when nil).
function Thing:receive(text, seconds)
  return self:event(function(e)
    return e.event == "message" and (not text or (e.text or ""):find(text, 1, true))
  end, seconds).text
end

--- The next message as JSON, of that type.
function Thing:receive_type(kind, seconds)
  local message
  self:event(function(e)
    if e.event ~= "message" or not e.text then return false end
    local ok, m = pcall(cjson.decode, e.text)
    message = ok and type(m) == "table" and m
    return message and message.type == kind
  end, seconds)
  return message
end

function Thing:send(text) command { id = self.id, op = "send", text = text } end

function Thing:send_json(value) self:send(cjson.encode(value)) end

function Thing:send_binary(data)
  local mime = require "mime"
  command { id = self.id, op = "send", binary = (mime.b64(data)) }
end

function Thing:close(code, reason)
  command { id = self.id, op = "close", code = code or 1000, reason = reason }
end

function Thing:terminate() command { id = self.id, op = "terminate" } end

function Thing:closed(seconds)
  return self:event(function(e) return e.event == "close" end, seconds)
end

--- Call a method of the Playwright page and return its result.
function Thing:call(method, ...)
  command { id = self.id, op = "do", method = method, args = select("#", ...) > 0 and { ... } or nil }
  local e = self:event(function(e) return e.event == "done" or e.event == "failed" end)
  if e.event == "failed" then error(method .. ": " .. e.message, 2) end
  return e.result
end

--- What axe finds wrong with the page as it is, and how many rules it has passed.
function Thing:axe()
  local missing = M.missing "axe-core"
  if missing then running.skip(missing) end
  local file = assert(io.open(modules .. "/axe-core/axe.min.js", "rb"))
  self:call("evaluate", file:read "a")
  file:close()
  local found = cjson.decode(self:call("evaluate", [[axe.run().then((r) => JSON.stringify({
    violations: r.violations.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target} ${n.failureSummary}`)),
    unsure: r.incomplete.flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target}`)),
    passes: r.passes.length }))]]))
  return found
end

--- A connected websocket client.
function M.connect(url, options)
  local self = new("open", url, options)
  self:event(function(e)
    if e.event == "error" then error("cannot connect to " .. url .. ": " .. e.message) end
    return e.event == "open"
  end)
  return self
end

--- A client whose handshake may be refused.
function M.try(url, options) return new("open", url, options) end

--- A page in Chromium that has loaded.
function M.page(url, options)
  local self = new("page", url, options)
  local e = self:event(function(e) return e.event == "done" or e.event == "failed" end, 60)
  if e.event == "failed" then error(e.message, 2) end
  return self
end

--- Forget everything: call it after each suite.
function M.close()
  if not node then return end
  node.stdin:close()
  node:wait()
  node, things = nil, {}
end

return M
