-- The methods of the request that onRequest gets, and the forms in its body.
--
-- Loaded by lualib/linit.c when a script first needs it, with the core
-- (lrequest.c) and what gwrun's modules share. Nothing in a body is trusted: what
-- is not valid is nil and a message.
local core, common = ...
local json = common.json

local methods = {}

local PARTS_MAX = 1000 -- of a multipart form
local PART_HEAD_MAX = 8192 -- bytes of a part's headers
local BOUNDARY_MAX = 70 -- bytes (RFC 2046)

function methods:json() return json.decode(self.body) end

function methods:headerList(name)
  if type(name) ~= "string" then
    error(("headerList: the name is a %s; give a string"):format(type(name)), 2)
  end
  return core.header_list(self, name)
end

local function failed(text, ...) return nil, "form: " .. text:format(...), "eproto" end

-- A parameter of a header: name=token or name="quoted". Browsers write a quote
-- in it as %22, curl as \".
local function parameter(header, name)
  local at = 1
  while true do
    local _, stop, key = header:find(";%s*([%w!#$%%&'*+.^_`|~-]+)=", at)
    if not stop then return nil end
    local value
    if header:sub(stop + 1, stop + 1) == '"' then
      local open = stop + 2
      stop = open
      while true do
        local c = header:sub(stop, stop)
        if c == "" then return nil end
        if c == '"' then break end
        stop = stop + (c == "\\" and 2 or 1)
      end
      value = header:sub(open, stop - 1):gsub('\\([\\"])', "%1"):gsub("%%22", '"')
    else
      _, stop, value = header:find("^([^%s;]*)", stop + 1)
    end
    if key:lower() == name then return value end
    at = stop + 1
  end
end

-- The headers of a part: names in lower case.
local function read_head(text)
  local head = {}
  for line in (text .. "\r\n"):gmatch "(.-)\r\n" do
    local name, value = line:match "^([%w-]+):[ \t]*(.-)[ \t]*$"
    if not name then return nil end
    head[name:lower()] = value
  end
  return head
end

local function escape(text)
  return (text:gsub("[^%w%[%]]", function(c) return ("%%%02X"):format(c:byte()) end))
end

-- A file under its name; name[] is a list of them.
local function add_file(form, name, file)
  local list = name:match "^(.+)%[%]$"
  if not list then
    form[name] = file
  else
    if type(form[list]) ~= "table" then form[list] = {} end
    table.insert(form[list], file)
  end
end

-- The parts of a body, which call take(head, data) each; true, or nil and why.
local function each_part(body, boundary, take)
  local delimiter = "\r\n--" .. boundary
  local at
  if body:sub(1, #delimiter - 2) == delimiter:sub(3) then
    at = #delimiter - 1
  else
    local _, stop = body:find(delimiter, 1, true)
    if not stop then return failed "the first part does not begin" end
    at = stop + 1
  end
  for _ = 1, PARTS_MAX do
    if body:sub(at, at + 1) == "--" then return true end
    local _, line = body:find("^[ \t]*\r\n", at)
    local head_end, data = body:find("\r\n\r\n", line and line - 1 or at, true)
    if not line or not head_end then return failed "a part has no end of its headers" end
    if head_end - at > PART_HEAD_MAX then return failed "a part has too long headers" end
    local head = read_head(body:sub(line + 1, head_end - 1))
    if not head then return failed "a part has a header that is not valid" end
    local stop, next_at = body:find(delimiter, data - 1, true)
    if not stop then return failed "a part has no end" end
    local taken, message, code = take(head, body:sub(data + 1, stop - 1))
    if not taken then return taken, message, code end
    at = next_at + 1
  end
  return failed("more than %d parts", PARTS_MAX)
end

local function read_multipart(body, content_type)
  local boundary = parameter(content_type, "boundary")
  if not boundary or #boundary < 1 or #boundary > BOUNDARY_MAX then
    return failed "the boundary of its parts is missing"
  end
  local texts, files = {}, {}
  local done, message, code = each_part(body, boundary, function(head, data)
    local disposition = head["content-disposition"] or ""
    local is_form = disposition:lower():match "^form%-data"
    local name = is_form and parameter(disposition, "name")
    if not name then return failed "a part has no name" end
    local filename = parameter(disposition, "filename")
    if not filename then
      texts[#texts + 1] = escape(name) .. "=" .. escape(data)
    elseif filename ~= "" or data ~= "" then
      files[#files + 1] = {
        name = name,
        filename = filename,
        type = head["content-type"] or "text/plain",
        data = data,
      }
    end
    return true
  end)
  if not done then return done, message, code end
  local form = core.params(table.concat(texts, "&"))
  for _, file in ipairs(files) do add_file(form, file.name, file) end
  return form
end

function methods:form()
  local content_type = self.headers["content-type"] or ""
  local media = content_type:match("^%s*([^%s;]*)"):lower()
  if media == "application/x-www-form-urlencoded" then
    local form = core.params(self.body)
    if not form then return failed "there is a NUL in it" end
    return form
  end
  if media == "multipart/form-data" then return read_multipart(self.body, content_type) end
  local message = "form: the body is no form, its Content-Type is " .. json.encode(content_type)
  return nil, message, "enotsup"
end

return methods
