-- gwrun.http: HTTP requests. Calls wait while other clients' events go on.
--
-- Loaded by lualib/linit.c when a script first needs it, with the core (lhttp.c),
-- what gwrun's modules share, and the table to fill.
local core, common, M = ...
local json, raise = common.json, common.raise
local error = raise.error

local defaults = {
  timeout = 10, -- seconds, for all of it
  connect_timeout = 5,
  max_size = 8 * 1024 * 1024, -- bytes of the response's body
  max_redirects = 5,
}

local limits = {
  timeout = { 0.001, 86400 },
  connect_timeout = { 0.001, 3600 },
  max_size = { 0, 1024 * 1024 * 1024 },
  max_redirects = { 0, 50 },
  idle_timeout = { 0.001, 86400 },
}

local idle_timeout = 60 -- seconds without a byte of a response that is read in pieces

local known = {
  method = "string", url = "string", headers = "table", ca_file = "string",
  json = true, form = "table", query = "table", body = "string",
  stream = "boolean", onData = "function",
}

local function fail(level, text, ...) error("http: " .. text:format(...), level + 1) end

local function check(options, level)
  for name, value in pairs(options) do
    local limit, kind = limits[name], known[name]
    if not limit and not kind then fail(level + 1, "unknown option '%s'", name) end
    if limit and (type(value) ~= "number" or not (value >= limit[1] and value <= limit[2])) then
      fail(level + 1, "option '%s' must be a number from %s to %s", name, limit[1], limit[2])
    end
    if kind and kind ~= true and type(value) ~= kind then
      fail(level + 1, "option '%s' must be a %s", name, kind)
    end
  end
  if options.idle_timeout and not (options.stream or options.onData) then
    fail(level + 1, "option 'idle_timeout' is for stream = true and onData")
  end
  if not options.url then fail(level + 1, "option 'url' is missing") end
  if options.method and not options.method:match "^%u+$" then
    fail(level + 1, "option 'method' must be in capitals, such as GET")
  end
  if options.url:find "[%z\1-\32\127]" then
    fail(level + 1, "the url has blanks or control characters")
  end
end

local texts = { string = true, number = true, boolean = true }

-- A value as text: 1001.0, as cjson decodes it, is "1001". What has no text
-- would be sent as "table: 0x5586…".
local function text_of(value, what)
  if math.type(value) == "float" and value - value == 0 then return json.encode(value) end
  local meta = getmetatable(value)
  if texts[type(value)] or type(meta) == "table" and meta.__tostring then return tostring(value) end
  fail(2, "%s is a %s; give text, a number or a boolean", what, type(value))
end

local function escape(value, what)
  return (text_of(value, what):gsub("[^%w%-._~]", function(c)
    return ("%%%02X"):format(c:byte())
  end))
end

-- A text as part of a url.
function M.escape(text) return (escape(text, "the text")) end

-- "a=1&b=2" of a table, keys in order.
function M.encode(values)
  raise.check(values, "table", 1, "encode")
  local list = {}
  for key, value in pairs(values) do
    local name = escape(key, "a name")
    list[#list + 1] = name .. "=" .. escape(value, ("the value of '%s'"):format(name))
  end
  table.sort(list)
  return table.concat(list, "&")
end

-- The lines "Name: value" of a table; a value may be a list.
local function header_lines(headers, level)
  local lines, seen = {}, {}
  for name, value in pairs(headers or {}) do
    if type(name) ~= "string" or not name:match "^[%w!#$%%&'*+%-.^_`|~]+$" then
      fail(level + 1, "bad header name '%s'", tostring(name))
    end
    seen[name:lower()] = true
    for _, v in ipairs(type(value) == "table" and value or { value }) do
      v = text_of(v, ("header '%s'"):format(name))
      if v:find "[%z\r\n]" then fail(level + 1, "header '%s' has a line break", name) end
      lines[#lines + 1] = v == "" and name .. ";" or name .. ": " .. v
    end
  end
  table.sort(lines)
  return lines, seen
end

local function parse_headers(head)
  local headers = {}
  for name, value in head:gmatch "\n([^:\r\n]+):[ \t]*([^\r\n]*)" do
    name = name:lower()
    value = value:gsub("[ \t]+$", "")
    if name == "set-cookie" then
      headers[name] = headers[name] or {}
      table.insert(headers[name], value)
    else
      headers[name] = headers[name] and headers[name] .. ", " .. value or value
    end
  end
  return headers
end

local Response = {}
Response.__index = Response

-- The body as JSON: value | nil, message, code.
function Response:json()
  if self.core then fail(2, "this response comes in pieces, and they are no JSON each") end
  local value, message, code = json.decode(self.body)
  if value == nil then return nil, "http: the response is no JSON: " .. message, code end
  return value
end

-- Of a response with stream = true: the next piece of the body, or nil, message,
-- code; "eof" when it is whole.
function Response:read(timeout)
  if not self.core then fail(2, "this response has a body; stream = true gives one in pieces") end
  if timeout ~= nil and (type(timeout) ~= "number" or not (timeout >= 0 and timeout <= 86400)) then
    fail(2, "a timeout in seconds expected, from 0 to 86400")
  end
  return core.read(self.core, timeout or self.idle_timeout)
end

-- for chunk in response:chunks() do … end; what ended it stays in response.ended.
function Response:chunks()
  return function()
    local chunk, message, code = self:read()
    if chunk then return chunk end
    self.ended = { message = message, code = code }
    self:close()
    return nil
  end
end

-- The rest of the body is not wanted.
function Response:close()
  if self.core then core.close(self.core) end
end

Response.__close = Response.close

-- The body to send and its type.
local function body_of(options, level)
  if options.json ~= nil then
    local ok, text = pcall(json.encode, options.json)
    if not ok then fail(level + 1, "option 'json': %s", text) end
    return text, "application/json"
  end
  if options.form then return M.encode(options.form), "application/x-www-form-urlencoded" end
  return options.body, options.body and "application/octet-stream"
end

-- A response whose body comes in pieces; with onData, once it has.
local function open_stream(raw, options)
  raw.max_size = options.max_size or 2 ^ 52
  local stream, status, head, final = core.stream(raw)
  if not stream then return nil, status, head end
  local response = setmetatable({
    status = status,
    ok = status >= 200 and status < 300,
    headers = parse_headers(head),
    url = final,
    core = stream,
    idle_timeout = options.idle_timeout or idle_timeout,
  }, Response)
  if not options.onData then return response end
  local self <close> = response
  for chunk in self:chunks() do options.onData(chunk, response) end
  if response.ended.code ~= "eof" then return nil, response.ended.message, response.ended.code end
  return response
end

local function request(options, level)
  check(options, level + 1)
  local lines, seen = header_lines(options.headers, level + 1)
  local body, kind = body_of(options, level + 1)
  if kind and not seen["content-type"] then lines[#lines + 1] = "Content-Type: " .. kind end
  local url = options.url
  if options.query then
    url = url .. (url:find("?", 1, true) and "&" or "?") .. M.encode(options.query)
  end
  local raw = {
    method = options.method or "GET",
    url = url,
    headers = lines,
    body = body,
    ca_file = options.ca_file,
    timeout = options.timeout or defaults.timeout,
    connect_timeout = options.connect_timeout or defaults.connect_timeout,
    max_size = options.max_size or defaults.max_size,
    max_redirects = options.max_redirects or defaults.max_redirects,
  }
  if options.stream or options.onData then return open_stream(raw, options) end
  local status, head, text, final = core.request(raw)
  if not status then return nil, head, text end
  return setmetatable({
    status = status,
    ok = status >= 200 and status < 300,
    headers = parse_headers(head),
    body = text,
    url = final,
  }, Response)
end

-- Http.request { url = …, method = …, … } -> response | nil, message, code
function M.request(options)
  if type(options) ~= "table" then fail(2, "a table of options expected") end
  local response, message, code = request(options, 2) -- no tail call: errors name the caller
  return response, message, code
end

local function with(method, url, options, body)
  local all = { method = method, url = url }
  if type(url) ~= "string" then fail(3, "a url expected, got a %s", type(url)) end
  if type(body) == "table" then all.json = body else all.body = body end
  if options ~= nil and type(options) ~= "table" then fail(3, "a table of options expected") end
  for name, value in pairs(options or {}) do all[name] = value end
  return all
end

for name, method in pairs { get = "GET", head = "HEAD", delete = "DELETE" } do
  M[name] = function(url, options)
    local response, message, code = request(with(method, url, options), 2)
    return response, message, code
  end
end

-- body: a string, or a table that is sent as JSON.
for name, method in pairs { post = "POST", put = "PUT", patch = "PATCH" } do
  M[name] = function(url, body, options)
    local response, message, code = request(with(method, url, options, body), 2)
    return response, message, code
  end
end
